"""An upload server on loopback that receives, counts and hashes, and fails as planned.

It reads bodies as a stream, so the size of a file costs it no memory.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import random
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDictProxy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Sequence

REQUESTS_KEPT: Final = 100_000
_CHUNK_BYTES: Final = 256 * 1024
_CATCH_UP_S: Final = 0.05
_SUCCESS: Final = range(200, 300)
_ENDED = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, ConnectionError, ValueError)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How one request is treated. The default is a success.

    Attributes:
        status: The status of the response.
        delay_s: How long to wait after the body, before the response.
        retry_after: The `Retry-After` header, where there is to be one.
        drop_after_bytes: Close the connection once that many bytes of the file have arrived.
        early: Answer without reading the body, as a server does that refuses by size.
        headers: More response headers.
        body: The response body; by default JSON that names what was received.
    """

    status: int = 200
    delay_s: float = 0.0
    retry_after: str | None = None
    drop_after_bytes: int | None = None
    early: bool = False
    headers: dict[str, str] = {}
    body: bytes | None = None


OK: Final = Answer()
FAILURES: Final = (Answer(status=503), Answer(drop_after_bytes=1000), Answer(status=500))


class ReceivedRequest(msgspec.Struct, kw_only=True):
    """One request, as far as it arrived. Of a form with several files, the last one that did.

    Attributes:
        headers: Whatever the case of a name.
        attempt: 1 for the first request with this idempotency key (or, without one, this file).
        size: Bytes of the file that arrived.
        sha256: Of those bytes, in hexadecimal; empty where the file was not complete.
        complete: Whether the body arrived to its end.
        dropped: Whether the server closed the connection on purpose.
        status: What was answered; `None` where the connection was dropped.
    """

    method: str
    path: str
    headers: CIMultiDictProxy[str]
    attempt: int = 1
    idempotency_key: str = ""
    filename: str = ""
    field_name: str = ""
    mime_type: str = ""
    fields: list[tuple[str, str]] = []
    size: int = 0
    sha256: str = ""
    complete: bool = False
    dropped: bool = False
    status: int | None = None


class ReceivedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was answered with success.

    Attributes:
        times: How often it was. More than once is right only under one idempotency key.
    """

    filename: str
    size: int
    sha256: str
    times: int


class FlakyServer:
    """Receives uploads on loopback; fails by a script, or by chance with a seed.

    `async with FlakyServer(failure_rate=0.3) as server:` and upload to `server.url`.

    Attributes:
        requests: Every request so far, oldest first; the last 100,000.
        files: What was received with success, by file name.
    """

    def __init__(
        self,
        *,
        script: Iterable[Answer] = (),
        failure_rate: float = 0.0,
        failures: Sequence[Answer] = FAILURES,
        seed: int = 0,
        bytes_per_s: float | None = None,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Plans the answers; nothing listens yet.

        Args:
            script: The answers to the first requests, in order of their arrival.
            failure_rate: After the script, the share of requests that fail, 0 to 1. Which do
                depends on the seed, the file name and the attempt alone, not on their order.
            failures: What a failure is: one of these, by chance.
            seed: Makes the chance repeatable.
            bytes_per_s: How fast it reads files, all connections together; `None` is unbounded.
            port: Where to listen; 0 is any free port.
            ssl_context: For HTTPS.
        """
        self.requests: collections.deque[ReceivedRequest] = collections.deque(maxlen=REQUESTS_KEPT)
        self.files: dict[str, ReceivedFile] = {}
        self._script = iter(script)
        self._failure_rate = failure_rate
        self._failures = failures
        self._seed = seed
        self._bytes_per_s = bytes_per_s
        self._read_until = 0.0
        self._port = port
        self._ssl_context = ssl_context
        self._attempts: collections.Counter[str] = collections.Counter()
        self._runner: web.AppRunner | None = None
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        # No bound: it receives files of any size.
        app = web.Application(client_max_size=2**62)
        app.router.add_route("*", "/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._ssl_context)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops listening and drops every connection: for tests, the server going away."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """Where to upload to. Any other path is received as well."""
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://127.0.0.1:{self._port}/upload"

    async def wait_requests(self, number: int = 1) -> None:
        """Waits until that many requests have begun to arrive."""
        while len(self.requests) < number:
            self._arrived.clear()
            await self._arrived.wait()

    async def _receive(self, request: web.Request) -> web.Response:
        received = ReceivedRequest(
            method=request.method,
            path=request.path_qs,
            headers=request.headers,
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        self.requests.append(received)
        self._arrived.set()
        whole: list[ReceivedFile] = []
        try:
            answer = await self._read(request, received, whole)
        except web.RequestPayloadError:  # it is not encoded as its Content-Encoding says
            received.status = 400
            return web.Response(status=400)
        except _ENDED:  # the client went away, or sent what is no body
            return self._drop(request)
        if answer.drop_after_bytes is not None:
            received.dropped = True
            return self._drop(request)
        await asyncio.sleep(answer.delay_s)
        received.status = answer.status
        if received.complete and answer.status in _SUCCESS:
            self._keep(whole)
        return _response(received, answer)

    async def _read(
        self, request: web.Request, received: ReceivedRequest, whole: list[ReceivedFile]
    ) -> Answer:
        """Reads as much of the body as the answer wants, and says which answer that is.

        One for all files of a form, by the first of them.
        """
        if not request.content_type.startswith("multipart/"):
            received.filename = request.path.rpartition("/")[2]
            received.mime_type = request.content_type
            answer = self._next_answer(received)
            await self._read_file(request.content, received, answer, whole)
            return answer
        received.fields = []
        planned: Answer | None = None
        async for part in _FormReader(request.headers, request.content):
            assert isinstance(part, aiohttp.BodyPartReader)
            if part.filename is None:
                received.fields.append((part.name or "", await _text(part)))
                continue
            received.filename, received.field_name = part.filename, part.name or ""
            received.mime_type = part.headers.get("Content-Type", "")
            if planned is None:
                planned = self._next_answer(received)
            await self._read_file(part, received, planned, whole)
            if not received.complete:
                return planned
        return self._next_answer(received) if planned is None else planned

    async def _read_file(
        self,
        body: aiohttp.BodyPartReader | aiohttp.StreamReader,
        received: ReceivedRequest,
        answer: Answer,
        whole: list[ReceivedFile],
    ) -> None:
        received.size, received.sha256, received.complete = 0, "", False
        if answer.early:
            return
        digest = hashlib.sha256()
        while chunk := await _chunk(body):
            digest.update(chunk)
            received.size += len(chunk)
            await self._pace(len(chunk))
            if answer.drop_after_bytes is not None and received.size >= answer.drop_after_bytes:
                return
        received.sha256 = digest.hexdigest()
        received.complete = True
        size, sha256 = received.size, received.sha256
        file = ReceivedFile(filename=received.filename, size=size, sha256=sha256, times=1)
        whole.append(file)

    async def _pace(self, size: int) -> None:
        if self._bytes_per_s is None:
            return
        now = asyncio.get_running_loop().time()
        # A sleep is never exact: what it overslept may be made up for, within bounds.
        behind = max(self._read_until, now - _CATCH_UP_S)
        self._read_until = behind + size / self._bytes_per_s
        await asyncio.sleep(self._read_until - now)

    def _next_answer(self, received: ReceivedRequest) -> Answer:
        identity = received.idempotency_key or received.filename
        self._attempts[identity] += 1
        received.attempt = self._attempts[identity]
        scripted = next(self._script, None)
        if scripted is not None:
            return scripted
        chance = random.Random(f"{self._seed} {received.filename} {received.attempt}")  # noqa: S311 — repeatable, not secret
        if chance.uniform(0, 1) < self._failure_rate:
            return chance.choice(self._failures)
        return OK

    def _keep(self, whole: Iterable[ReceivedFile]) -> None:
        for file in whole:
            before = self.files.get(file.filename)
            times = before.times + 1 if before else 1
            self.files[file.filename] = msgspec.structs.replace(file, times=times)

    def _drop(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # goes nowhere


class _FormReader(aiohttp.MultipartReader):
    """Takes every part for a field or a file, also one that is a multipart itself."""

    def _get_part_reader(self, headers: CIMultiDictProxy[str]) -> aiohttp.BodyPartReader:
        return self.part_reader_cls(
            self._boundary,
            headers,
            self._content,
            subtype=self._mimetype.subtype,
            default_charset=self._default_charset,
        )


async def _text(part: aiohttp.BodyPartReader) -> str:
    """A field's value; as UTF-8 where it is not encoded as it says."""
    raw = await part.read()
    try:
        return bytes(part.decode(raw)).decode(part.get_charset("utf-8"))
    except (LookupError, RuntimeError, ValueError):
        return raw.decode(errors="replace")


async def _chunk(body: aiohttp.BodyPartReader | aiohttp.StreamReader) -> bytes:
    if isinstance(body, aiohttp.BodyPartReader):
        return await body.read_chunk(_CHUNK_BYTES)
    return await body.readany()


def _response(received: ReceivedRequest, answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    if answer.retry_after is not None:
        headers["Retry-After"] = answer.retry_after
    if answer.body is not None:
        return web.Response(status=answer.status, headers=headers, body=answer.body)
    said = {"filename": received.filename, "size": received.size, "sha256": received.sha256}
    return web.json_response(said, status=answer.status, headers=headers)
