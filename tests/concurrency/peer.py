"""A process with a manager that does as it is told: `python -m tests.concurrency.peer`.

A request is a line of JSON, `{"number": 1, "verb": "enqueue", "given": {…}}`; so is its answer,
`{"number": 1, "value": …}` or `{"number": 1, "error": "StoreFullError", "message": …}`. Requests
do not wait for each other.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from outhaul import NativeWorker, PythonWorker, RetryPolicy, WorkManager

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Request(msgspec.Struct, frozen=True):
    number: int
    verb: str
    given: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    number: int
    value: Any = None
    error: str = ""
    message: str = ""


class Peer:
    """The verbs. Each takes and gives what JSON can carry."""

    async def open(self, store: str, **options: Any) -> None:  # noqa: ANN401 — WorkManager's
        manager = WorkManager(store, workers="elsewhere", **options)
        self.manager = await manager.__aenter__()

    async def close(self) -> None:
        await self.manager.close()

    async def enqueue(self, task_id: str, url: str, file: str) -> str:
        worker = NativeWorker.http_upload(url=url, file_path=file)
        retry = RetryPolicy(max_retries=1, initial_delay=0.05)
        handle = await self.manager.enqueue(task_id, worker, retry=retry)
        return handle.schedule_result

    async def ballast(self, task_id: str, size: int) -> str:
        """Enqueues something large that never runs."""
        handle = await self.manager.enqueue(task_id, PythonWorker("elsewhere", os.urandom(size)))
        return handle.schedule_result

    async def cancel(self, task_id: str) -> bool:
        return await self.manager.cancel(task_id)

    async def status(self, task_id: str) -> str | None:
        return await self.manager.get_task_status(task_id)

    async def attempt(self, task_id: str) -> int:
        record = await self.manager.get_task(task_id)
        assert record is not None
        return record.attempt

    async def result(self, task_id: str) -> str:
        handle = await self.manager.get_handle(task_id)
        assert handle is not None
        return (await handle.result()).kind

    async def events(self, task_id: str, until: str = "", after: int = 0) -> list[str]:
        """What happened to a task so far; or, followed as it happens, up to an event."""
        kinds: list[str] = []
        events = self.manager.events(after=after, task_id=task_id, follow=bool(until))
        async for event in events:
            kinds.append(event.kind.value)
            if event.kind == until:
                break
        return kinds

    async def limit_file_size(self, size: int | None) -> None:
        """From now on no file can grow beyond `size`, as if the disk were full."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        soft = resource.RLIM_INFINITY if size is None else size
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    async def fork(self) -> int:
        """A child that lives on and does nothing."""
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        return pid


async def serve() -> None:
    requests = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(requests), sys.stdin
    )
    peer = Peer()
    under_way = set()

    async def answer(request: Request) -> None:
        verb: Callable[..., Awaitable[Any]] = getattr(peer, request.verb)
        try:
            answer = Answer(request.number, await verb(**request.given))
        except Exception as error:  # noqa: BLE001 — the test judges it
            answer = Answer(request.number, error=type(error).__name__, message=str(error))
        os.write(1, msgspec.json.encode(answer) + b"\n")

    async for line in requests:
        task = asyncio.create_task(answer(msgspec.json.decode(line, type=Request)))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


if __name__ == "__main__":
    asyncio.run(serve())
