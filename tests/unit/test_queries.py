"""Questions that mean nothing are one typed error, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from outhaul import OuthaulError, TaskEvent, WorkManager
from outhaul.errors import InvalidArgumentError, InvalidTypeError

Question = Callable[[WorkManager], Awaitable[object]]


def events(**options: Any) -> Question:  # noqa: ANN401 — the table's
    async def ask(manager: WorkManager) -> list[TaskEvent]:
        return [event async for event in manager.events(follow=False, **options)]

    return ask


def progress(**options: Any) -> Question:  # noqa: ANN401 — the table's
    return lambda manager: anext(manager.progress(**options))


@pytest.mark.parametrize(
    ("ask", "error", "argument"),
    [
        pytest.param(events(after=-1), InvalidArgumentError, "after", id="before the first event"),
        pytest.param(events(after=2**63), InvalidArgumentError, "after", id="after the last one"),
        pytest.param(events(after="1"), InvalidTypeError, "after", id="a number as text"),
        pytest.param(events(after=0, tag=5), InvalidTypeError, "tag", id="a number as tag"),
        pytest.param(events(task_id=5), InvalidTypeError, "task_id", id="a number as id"),
        pytest.param(events(prefix="\udcff"), InvalidArgumentError, "prefix", id="no UTF-8"),
        pytest.param(progress(task_id=5), InvalidTypeError, "task_id", id="progress of one"),
        pytest.param(progress(tag=5), InvalidTypeError, "tag", id="progress of a tag"),
        pytest.param(
            lambda manager: manager.get_tasks_by_status("done"),
            InvalidArgumentError,
            "statuses",
            id="a status that does not exist",
        ),
        pytest.param(
            lambda manager: manager.get_tasks_by_tag("t", statuses=[5]),
            InvalidTypeError,
            "statuses",
            id="a number as status",
        ),
    ],
)
async def test_a_question_that_means_nothing_is_one_typed_error(
    tmp_path: Path, ask: Question, error: type[OuthaulError], argument: str
) -> None:
    async with WorkManager(tmp_path / "w.db") as manager:
        with pytest.raises(error) as refused:
            await ask(manager)
        assert refused.value.argument == argument
        assert not manager._here()._waiting


async def test_an_id_that_only_looks_made_by_us_belongs_to_no_task(tmp_path: Path) -> None:
    """Thirteen digits can say more than a key can: such an id is somebody's own."""
    async with WorkManager(tmp_path / "w.db") as manager:
        assert await manager.get_task("oh_zzzzzzzzzzzzz") is None
        assert await manager.cancel("oh_zzzzzzzzzzzzz") is False
        assert await events(after=0, task_id="oh_zzzzzzzzzzzzz")(manager) == []
