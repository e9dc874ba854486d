"""The native half of outhaul. Import it through `outhaul._native` only."""

from typing import Literal, final

__all__ = ["Schedule"]

@final
class Schedule:
    """The run queue by itself: what runs next, in memory, without a clock and without a store.

    A task waits for its due time, then for its constraints, then for a slot: one of all, and one of
    its lane. Inside a lane the smallest `due_ms - priority * ageing_ms` goes first, then who became
    due first. Between lanes each gives one task in turn.

    Thread-safe: every method releases the GIL and none calls back into Python. A waiting task costs
    about 75 bytes, at most twice that; a lane with nothing due, nothing running and no limit costs
    nothing. Memory is given back when the last task leaves.

    Numbers are 64-bit milliseconds since the Unix epoch where the name ends in `_ms`; task ids are
    unsigned 64-bit; lanes and constraint bits are unsigned 32-bit; priorities are signed 32-bit.
    Every method raises `OverflowError` for a number that does not fit its width.
    """

    def __new__(
        cls, *, capacity: int = 1_000_000, running_max: int = 64, ageing_ms: int = 60_000
    ) -> Schedule:
        """An empty one. Allocates nothing.

        Args:
            capacity: At most this many waiting tasks; running ones are not counted.
            running_max: At most this many attempts at once, over all lanes. 0 runs nothing.
            ageing_ms: One level of priority is worth this much waiting, in milliseconds, unsigned
                32-bit. 0 is strict: a lower priority waits for as long as a higher one is there.
        """

    def push(
        self,
        task_id: int,
        *,
        due_ms: int,
        priority: int = 0,
        lane: int = 0,
        needs: int = 0,
        now_ms: int = 0,
    ) -> None:
        """Takes a task in. O(log n).

        Args:
            task_id: As assigned by the store.
            due_ms: Not before this. It also ranks the task among due ones: the longer ago, the more
                senior.
            priority: Larger goes first inside a lane.
            lane: Whose limit it counts against, and with whom it takes turns.
            needs: The constraint bits that must all be met.
            now_ms: What is due by now goes straight to its lane.

        Raises:
            AlreadyQueuedError: `task_id` is already waiting.
            QueueFullError: `capacity` tasks are waiting.
        """

    def cancel(self, task_id: int) -> bool:
        """Takes a waiting task out, wherever it waits. False where it does not wait. O(log n)."""

    def reschedule(self, task_id: int, *, due_ms: int, now_ms: int = 0) -> bool:
        """Gives a waiting task another due time; it counts as arriving anew. O(log n).

        Returns:
            False, and nothing changes, where it does not wait.
        """

    def reprioritise(self, task_id: int, *, priority: int) -> bool:
        """Gives a waiting task another priority; among equals it keeps its turn. O(log n).

        Returns:
            False, and nothing changes, where it does not wait.
        """

    def set_unmet(self, unmet: int) -> None:
        """Says which constraint bits do not hold now; due tasks that need one of them are parked.

        No task moves: O(lanes), however many tasks are waiting.
        """

    def set_lane_limit(self, lane: int, *, running_max: int | None) -> None:
        """Bounds the attempts of one lane: `None` is no limit, 0 holds the lane.

        Attempts above a lowered limit go on.
        """

    def take(self, *, now_ms: int) -> int | None:
        """The task to run next, or `None` when all slots are taken or nothing is ready. O(log n).

        The task is forgotten, but for its slots: give them back with `release(lane)`.
        """

    def release(self, lane: int) -> bool:
        """An attempt of `lane` ended: its slots are free again. False where none was counted."""

    def occupy(self, lane: int) -> None:
        """Counts an attempt of `lane` that runs already, above the limits if need be."""

    def pop_due(self, *, now_ms: int, limit: int) -> list[int]:
        """Takes at most `limit` tasks and gives each one's slots back at once. O(log n) for each.

        So a limit of 1 or more attempts does not bound the batch.
        """

    def next_due_ms(self) -> int | None:
        """When the earliest task that waits for its time is due, exactly. O(1)."""

    def waiting(self, task_id: int) -> Literal["time", "constraint", "slot"] | None:
        """What a task waits for; `None` where it does not wait. O(1)."""

    def counts(self) -> tuple[int, int, int, int]:
        """How many tasks are delayed, ready, parked (due, a constraint is unmet) and running."""

    def __len__(self) -> int:
        """How many tasks wait, for whatever. O(1)."""
