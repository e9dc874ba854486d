"""What runs in a child process: memory is measured where nothing else takes any."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from datetime import timedelta
from pathlib import Path

from outhaul import NativeWorker, Task, TaskTrigger, WorkManager


def status_kb(name: str) -> int:
    """A line of `/proc/self/status` in KiB: `VmRSS` is now, `VmHWM` the most there ever was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


async def upload(store: str, small: str, large: str, url: str) -> dict[str, int]:
    """How much more memory a large upload takes at most than a small one."""
    async with WorkManager(store) as manager:
        for path in (small, small, large):
            if path == large:
                gc.collect()
                before = status_kb("VmRSS")
                Path("/proc/self/clear_refs").write_text("5")
            worker = NativeWorker.http_upload(url=url, file_path=path)
            event = await (await manager.enqueue(None, worker)).result()
            assert event.success, event
        return {"grown_kb": status_kb("VmHWM") - before}


async def pending(store: str, small: str, number: str, url: str) -> dict[str, float]:
    """What a task that waits costs, beyond the fixed cost of a manager that has some."""
    later = TaskTrigger.one_time(timedelta(days=1))

    async def fill(manager: WorkManager, first: int, last: int) -> None:
        for start in range(first, last, 1000):
            worker = NativeWorker.http_upload(url=url, file_path=small)
            ids = (f"photo-{n}" for n in range(start, start + 1000))
            await manager.enqueue_all([Task(id_, worker, trigger=later, tag="t") for id_ in ids])

    async with WorkManager(store, durability="os") as manager:
        warm = 10_000  # SQLite's page cache is full, and the allocator has its arenas
        await fill(manager, 0, warm)
        gc.collect()
        before = status_kb("VmRSS")
        await fill(manager, warm, warm + int(number))
        gc.collect()
        grown = status_kb("VmRSS") - before
        assert (await manager.stats()).pending == warm + int(number)
        return {"bytes_per_task": grown * 1024 / int(number)}


if __name__ == "__main__":
    which, *arguments = sys.argv[1:]
    print(json.dumps(asyncio.run({"upload": upload, "pending": pending}[which](*arguments))))  # noqa: T201 — how the parent learns it
