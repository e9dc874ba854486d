"""The program that is killed: all of outhaul that an application needs.

    python -m demo.uploads STORE FOLDER URL

Started for the first time it enqueues every file. Started again it only goes on.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from rich.console import Console

from demo.files import FILES
from demo.views import BarsView, LinesView
from outhaul import NativeWorker, RetryPolicy, Task, TaskStatus, WorkManager

if TYPE_CHECKING:
    from demo.views import View

TAG: Final = "demo"
UNDER_WAY_MAX: Final = 3
RETRY: Final = RetryPolicy(max_retries=10, initial_delay=0.2, max_delay=1.0)


async def upload_all(store: str, folder: Path, url: str) -> bool:
    """Uploads what is not yet there; says whether everything arrived."""
    async with WorkManager(store, max_per_host=UNDER_WAY_MAX) as manager:
        if not await manager.get_tasks_by_tag(TAG, statuses=TaskStatus):
            await manager.enqueue_all(tasks(folder, url))
        console = Console()
        with BarsView(console) if console.is_terminal else LinesView(console) as view:
            return await follow(manager, view)


def tasks(folder: Path, url: str) -> list[Task]:
    return [
        Task(
            name,
            NativeWorker.http_upload(
                url=url, file_path=folder / name, fields={"number": str(number)}
            ),
            tag=TAG,
            retry=RETRY,
        )
        for number, (name, _) in enumerate(FILES)
    ]


async def follow(manager: WorkManager, view: View) -> bool:
    """Shows how it goes until every task has ended."""
    ended = {}
    cursor = 0
    async for event in manager.events(after=0, tag=TAG, follow=False):
        cursor = event.seq
        view.happened_before(event)
        if event.is_terminal:
            ended[event.key] = event.success is True
    view.goes_on()
    watcher = asyncio.create_task(show_progress(manager, view))
    events = manager.events(after=cursor, tag=TAG)
    while len(ended) < len(FILES):
        event = await anext(events)
        view.happened(event)
        if event.is_terminal:
            ended[event.key] = event.success is True
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
    return all(ended.values())


async def show_progress(manager: WorkManager, view: View) -> None:
    async for progress in manager.progress(tag=TAG):
        view.progress(progress)


if __name__ == "__main__":
    try:
        arrived = uvloop.run(upload_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(not arrived)
