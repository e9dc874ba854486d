"""The other end of `peer.py`: processes that a test talks to."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Self

import msgspec
from tests.concurrency.peer import Answer, Request
from tests.crash.processes import Child


class RefusedError(Exception):
    """The peer's verb raised: `refusal.kind` is the class, the text is the message."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {message}")


class PeerProcess(Child):
    """`async with PeerProcess() as peer: await peer.ask("open", store=…)`."""

    def __init__(self) -> None:
        super().__init__("tests.concurrency.peer")
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        await self._listener
        await super().__aexit__()

    async def ask(self, verb: str, **given: Any) -> Any:  # noqa: ANN401 — the verb's own
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.say(msgspec.json.encode(Request(number, verb, given)).decode())
        return await answer

    async def _listen(self) -> None:
        async for line in self.raw_lines():
            answer = msgspec.json.decode(line, type=Answer)
            future = self._waiting.pop(answer.number)
            if future.done():
                continue
            if answer.error:
                future.set_exception(RefusedError(answer.error, answer.message))
            else:
                future.set_result(answer.value)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(f"process {self.pid} has ended"))
