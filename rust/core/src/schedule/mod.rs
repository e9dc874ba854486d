//! What runs next: the run queue over all waiting tasks. Pure: it reads no clock and opens nothing.
//!
//! ```text
//! push ──▶ delay (by due time) ──advance──▶ lanes (due: by mask, by rank) ──take──▶ an attempt
//!             delay.rs                         lanes.rs, parked.rs
//! ```
//!
//! A due task whose mask meets an unmet bit is parked where it stands: it keeps its place, and a
//! signal that changes moves no task.

mod delay;
mod heap;
mod lanes;
mod parked;
mod ring;
mod spread;
mod tasks;

pub use delay::DelayHeap;
pub use heap::Slot;
pub use lanes::LaneId;

use crate::model::constraint::Needs;
use crate::model::{TaskKey, UnixMillis};
use heap::Node;
use lanes::{Lanes, Stand};
use parked::Parked;
pub(crate) use spread::spread;
use tasks::{Task, Tasks};

/// One task that waits to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which task.
    pub key: TaskKey,
    /// Not before this. Among due tasks the one that has been due longest is the most senior, so a
    /// time long past goes ahead of nearly everything.
    pub due_ms: UnixMillis,
    /// Larger goes first inside a lane.
    pub priority: i32,
    /// Whose limit it counts against and with whom it takes turns.
    pub lane: LaneId,
    /// The constraint bits that must all be met.
    pub needs: Needs,
}

/// The bounds of a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// At most this many waiting tasks (running ones are not counted).
    pub capacity: usize,
    /// At most this many attempts at once, over all lanes.
    pub running_max: usize,
    /// At most this many at once in a lane that has no limit of its own.
    pub lane_running_max: usize,
    /// One level of priority is worth this much waiting, in milliseconds. 0, or less, is strict: a
    /// lower priority waits for as long as a higher one is there.
    pub ageing_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            capacity: 1_000_000,
            running_max: 64,
            lane_running_max: usize::MAX,
            ageing_ms: 60_000,
        }
    }
}

/// Why a task was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleError {
    /// It already waits.
    Duplicate(TaskKey),
    /// As many tasks wait as may.
    Full {
        /// The bound that is reached.
        capacity: usize,
    },
}

impl std::fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Duplicate(key) => write!(f, "task {key} is already waiting"),
            Self::Full { capacity } => {
                write!(f, "the queue is full: {capacity} tasks are waiting; try again later")
            }
        }
    }
}

impl std::error::Error for ScheduleError {}

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Its due time.
    Time,
    /// These constraint bits, which it needs and which are unmet; never 0.
    Constraint(Needs),
    /// A slot: its lane's, or one of all.
    Slot,
}

/// How many tasks are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Wait for their time.
    pub delayed: usize,
    /// Could run as soon as there is a slot.
    pub ready: usize,
    /// Are due and wait for a constraint.
    pub parked: usize,
    /// Attempts under way.
    pub running: usize,
}

/// In which structure a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Delayed,
    Due,
}

/// The run queue.
///
/// A waiting task costs about 75 bytes, at most 150 just after arrays have grown; a lane with
/// nothing due, nothing running and no limit of its own costs nothing.
///
/// The order inside a lane: smallest `due_ms - priority * ageing_ms` first (with `ageing_ms` 0:
/// largest priority), then who became due first. It never changes while a task waits, so it needs
/// no sweep. Between lanes: each gives one task in turn; a lane that can run again goes last.
#[derive(Debug)]
pub struct Schedule {
    config: Config,
    tasks: Tasks,
    delay: DelayHeap,
    lanes: Lanes,
    parked: Parked,
    running: usize,
    turns: u64,
}

impl Schedule {
    /// An empty one. Allocates nothing.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            tasks: Tasks::default(),
            delay: DelayHeap::new(),
            lanes: Lanes::new(config.lane_running_max),
            parked: Parked::default(),
            running: 0,
            turns: 0,
        }
    }

    /// Takes a task in: to wait for its time or, if that has come, for its constraints and a slot.
    /// O(log n).
    pub fn push(&mut self, entry: Entry, now_ms: UnixMillis) -> Result<(), ScheduleError> {
        if self.tasks.slot(entry.key).is_some() {
            return Err(ScheduleError::Duplicate(entry.key));
        }
        let full = ScheduleError::Full { capacity: self.config.capacity };
        if self.tasks.len() >= self.config.capacity {
            return Err(full);
        }
        let Entry { key, due_ms, priority, lane, needs } = entry;
        let task = Task { key, due_ms, priority, lane, needs, place: Place::Delayed };
        let slot = self.tasks.insert(task).ok_or(full)?;
        self.admit(slot, task, now_ms);
        Ok(())
    }

    /// Takes a waiting task out, wherever it waits; false where it does not. O(log n).
    pub fn cancel(&mut self, key: TaskKey) -> bool {
        let Some((slot, task)) = self.tasks.find(key) else { return false };
        self.withdraw(slot, &task);
        self.forget(slot);
        true
    }

    /// Gives a waiting task another due time; it counts as arriving again. False where it does not
    /// wait. O(log n).
    pub fn reschedule(&mut self, key: TaskKey, due_ms: UnixMillis, now_ms: UnixMillis) -> bool {
        let Some((slot, task)) = self.tasks.find(key) else { return false };
        let task = Task { due_ms, ..task };
        if task.place == Place::Delayed && due_ms > now_ms {
            let turn = self.next_turn();
            self.delay.reschedule(slot, due_ms, turn);
            self.tasks.replace(slot, task);
        } else {
            self.withdraw(slot, &task);
            self.admit(slot, task, now_ms);
        }
        true
    }

    /// Gives a waiting task another priority; among equals it keeps its turn. False where it does
    /// not wait. O(log n).
    pub fn reprioritise(&mut self, key: TaskKey, priority: i32) -> bool {
        let Some((slot, task)) = self.tasks.find(key) else { return false };
        let task = Task { priority, ..task };
        self.tasks.replace(slot, task);
        if task.place == Place::Due {
            self.lanes.rerank(slot, task.stand(), rank(&task, self.config.ageing_ms));
        }
        true
    }

    /// Says which constraint bits do not hold now. Tasks that need one of them are parked, all
    /// others can run. O(lanes) if it concerns a due task; no task moves.
    pub fn set_unmet(&mut self, unmet: Needs) {
        if self.parked.set_unmet(unmet) {
            self.lanes.settle_all(unmet);
        }
    }

    /// Bounds the attempts of one lane; `usize::MAX` is no limit, 0 holds the lane, and what the
    /// configuration says is no limit of its own. Attempts above a lowered limit go on.
    pub fn set_lane_limit(&mut self, lane: LaneId, running_max: usize) {
        self.lanes.set_limit(lane, running_max, self.parked.unmet());
    }

    /// Moves what is due at `now_ms` into its lane, earliest first. O(log n) for each.
    pub fn advance(&mut self, now_ms: UnixMillis) {
        while let Some(slot) = self.delay.pop_due(now_ms) {
            if let Some(task) = self.tasks.get(slot).copied() {
                self.line_up(slot, task);
            }
        }
    }

    /// The task to run next; it takes a slot of all and one of its lane, and is forgotten but for
    /// those. `None` when all slots are taken or nothing is ready. O(log n) of its lane.
    pub fn take(&mut self) -> Option<TaskKey> {
        self.take_task().map(|task| task.key)
    }

    /// An attempt of `lane` ended: its slots are free again. False, and nothing changes, where none
    /// was counted.
    pub fn release(&mut self, lane: LaneId) -> bool {
        let counted = self.lanes.release(lane, self.parked.unmet());
        if counted {
            self.running = self.running.saturating_sub(1);
        }
        counted
    }

    /// Counts an attempt of `lane` that runs already, above the limits if need be.
    pub fn occupy(&mut self, lane: LaneId) {
        self.lanes.occupy(lane, self.parked.unmet());
        self.running = self.running.saturating_add(1);
    }

    /// Advances, then takes up to `limit` tasks and releases each one's slots at once: limits on
    /// attempts do not bound the batch, unless one of them is 0. For use without an engine.
    pub fn pop_due(&mut self, now_ms: UnixMillis, limit: usize) -> Vec<TaskKey> {
        self.advance(now_ms);
        let mut keys = Vec::with_capacity(limit.min(self.lanes.len()));
        while keys.len() < limit
            && let Some(task) = self.take_task()
        {
            self.release(task.lane);
            keys.push(task.key);
        }
        keys
    }

    /// When [`advance`](Self::advance) next has something to move, exactly. O(1).
    pub fn next_due_ms(&self) -> Option<UnixMillis> {
        self.delay.next_due_ms()
    }

    /// How many tasks wait, for whatever. O(1).
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no task waits. O(1).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many attempts are under way. O(1).
    pub fn running(&self) -> usize {
        self.running
    }

    /// What `key` waits for; `None` where it does not wait. O(1).
    pub fn waiting(&self, key: TaskKey) -> Option<Waiting> {
        let (_, task) = self.tasks.find(key)?;
        let unmet = task.needs & self.parked.unmet();
        Some(match task.place {
            Place::Delayed => Waiting::Time,
            Place::Due if unmet != 0 => Waiting::Constraint(unmet),
            Place::Due => Waiting::Slot,
        })
    }

    /// How many tasks are where. O(1).
    pub fn counts(&self) -> Counts {
        let parked = self.parked.len();
        Counts {
            delayed: self.delay.len(),
            ready: self.lanes.len().saturating_sub(parked),
            parked,
            running: self.running,
        }
    }

    /// Bytes on the heap, spare room included. O(lanes).
    pub fn allocated_bytes(&self) -> usize {
        let indexes = self.delay.allocated_bytes().saturating_add(self.lanes.allocated_bytes());
        self.tasks.allocated_bytes().saturating_add(indexes)
    }

    /// Puts a task that is nowhere where it belongs at `now_ms`.
    fn admit(&mut self, slot: Slot, task: Task, now_ms: UnixMillis) {
        if task.due_ms > now_ms {
            let turn = self.next_turn();
            self.delay.push(slot, task.due_ms, turn);
            self.tasks.replace(slot, Task { place: Place::Delayed, ..task });
        } else {
            self.line_up(slot, task);
        }
    }

    /// Puts a task that is due into its lane.
    fn line_up(&mut self, slot: Slot, task: Task) {
        let turn = self.next_turn();
        self.tasks.replace(slot, Task { place: Place::Due, ..task });
        let node = Node { at: rank(&task, self.config.ageing_ms), turn, slot };
        self.parked.join(task.needs);
        self.lanes.add(node, task.stand(), self.parked.unmet());
    }

    /// Takes a task out of where it waits.
    fn withdraw(&mut self, slot: Slot, task: &Task) {
        match task.place {
            Place::Delayed => {
                self.delay.remove(slot);
            }
            Place::Due => {
                self.parked.leave(task.needs);
                self.lanes.remove(slot, task.stand(), self.parked.unmet());
            }
        }
    }

    fn take_task(&mut self) -> Option<Task> {
        if self.running >= self.config.running_max {
            return None;
        }
        let slot = self.lanes.take(self.parked.unmet())?;
        let task = self.forget(slot)?;
        self.parked.leave(task.needs);
        self.running = self.running.saturating_add(1);
        Some(task)
    }

    fn forget(&mut self, slot: Slot) -> Option<Task> {
        let task = self.tasks.remove(slot);
        if self.tasks.release_memory() {
            self.delay.release_memory();
            self.lanes.release_memory();
        }
        task
    }

    fn next_turn(&mut self) -> u64 {
        self.turns = self.turns.wrapping_add(1);
        self.turns
    }
}

impl Task {
    fn stand(&self) -> Stand {
        Stand { lane: self.lane, needs: self.needs }
    }
}

/// The static key of a due task: smaller goes first. Saturates, so extremes tie.
fn rank(task: &Task, ageing_ms: i64) -> i64 {
    let priority = i64::from(task.priority);
    if ageing_ms <= 0 {
        -priority
    } else {
        task.due_ms.saturating_sub(priority.saturating_mul(ageing_ms))
    }
}

#[cfg(test)]
mod tests;
