"""The honest opponent: group commit as one would write it in Python in an afternoon.

One thread owns the database. It takes whatever has gathered, commits it once, and resolves the
futures of the whole batch with one wake-up of the loop. No checks, no events, no recovery, no
constraints, no retries: the price of everything else is the distance between this and outhaul.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from typing import Any

import msgspec

BATCH_MAX = 1024
_encode = msgspec.msgpack.Encoder().encode
Op = tuple[int, Any, "asyncio.Future[int]"]
PUT, PUT_ALL, DONE, STOP = range(4)


class GroupCommit:
    def __init__(self, path: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[Op] = queue.SimpleQueue()
        self._path = path
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def put(self, payload: object) -> int:
        """Stores a job; returns its id once it is on disk."""
        return await self._ask(PUT, _encode(payload))

    async def put_all(self, payloads: list[dict[str, Any]]) -> list[int]:
        """Stores several; returns their ids once all are on disk."""
        last = await self._ask(PUT_ALL, [_encode(payload) for payload in payloads])
        return list(range(last - len(payloads) + 1, last + 1))

    async def done(self, job: int) -> int:
        """Notes that a job is done; returns once that is on disk."""
        return await self._ask(DONE, job)

    async def close(self) -> None:
        await self._ask(STOP, None)
        self._thread.join()

    def _ask(self, verb: int, value: object) -> asyncio.Future[int]:
        future: asyncio.Future[int] = self._loop.create_future()
        self._inbox.put((verb, value, future))
        return future

    def _run(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("pragma journal_mode=wal")
        db.execute("pragma synchronous=full")
        db.execute("create table job (id integer primary key, payload blob, done integer)")
        last, verb = 0, PUT
        while verb != STOP:
            batch = [self._inbox.get()]
            while len(batch) < BATCH_MAX and not self._inbox.empty():
                batch.append(self._inbox.get())
            answers, rows, ended = [], [], []
            for verb, value, future in batch:
                if verb == PUT:
                    last += 1
                    rows.append((last, value))
                elif verb == PUT_ALL:
                    rows.extend(enumerate(value, last + 1))
                    last += len(value)
                elif verb == DONE:
                    ended.append((value,))
                answers.append((future, last))
            db.execute("begin immediate")
            db.executemany("insert into job values (?, ?, 0)", rows)
            db.executemany("update job set done = 1 where id = ?", ended)
            db.execute("commit")
            self._loop.call_soon_threadsafe(_resolve, answers)
        db.close()


def _resolve(answers: list[tuple[asyncio.Future[int], int]]) -> None:
    for future, job in answers:
        future.set_result(job)
