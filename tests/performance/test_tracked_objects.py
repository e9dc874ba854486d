"""What runs a callback leaves the garbage collector little.

With 16 objects each, thousands of callbacks a second had it look through the whole process, for
9 ms of the event loop, four times a second.
"""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from outhaul import PythonWorker, Task, WorkManager

CALLBACKS = 64
OBJECTS_MAX = 11


async def test_a_callback_that_waits_is_few_objects_to_the_garbage_collector(
    tmp_path: Path,
) -> None:
    begun, go = 0, asyncio.get_running_loop().create_future()
    all_begun = asyncio.Event()

    async def wait(payload: object, context: object) -> None:  # noqa: ARG001 — a callback's two
        nonlocal begun
        begun += 1
        if begun % CALLBACKS == 0:
            all_begun.set()
        await go  # of which two are the future's and the waiting task's

    workers = {"wait": wait}
    store = tmp_path / "work.db"
    async with WorkManager(store, workers=workers, max_concurrent=2 * CALLBACKS) as manager:
        counted = []
        for _ in range(2):  # the first also makes what is made once
            all_begun.clear()
            tasks = [Task(None, PythonWorker("wait", {"of": 1})) for _ in range(CALLBACKS)]
            await manager.enqueue_all(tasks)
            await all_begun.wait()
            del tasks
            gc.collect()
            counted.append(len(gc.get_objects()))
        go.set_result(None)
        await manager.wait_idle()
    first, second = counted
    assert (second - first) / CALLBACKS <= OBJECTS_MAX
