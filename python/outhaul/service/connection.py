"""One server, and how it is asked: a session, questions, streams that go on after a break."""

from __future__ import annotations

import contextlib
import io
import ipaddress
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final, Self, TypeVar

import aiohttp
import msgspec
from aiohttp.http import HttpProcessingError
from yarl import URL

from outhaul.arguments import text
from outhaul.errors import InvalidArgumentError, OuthaulError, ServiceError
from outhaul.service.patience import PassingError, Patience
from outhaul.service.problems import TOO_MANY_STREAMS
from outhaul.service.translate import problem_in, refusal
from outhaul.wire import public_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from types import TracebackType

# For an answer, not for a stream: those last.
ANSWER_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 10.0

# A stream that says nothing for this long is dead: the server sends a heartbeat more often.
SILENCE_MAX_S: Final = 60.0

# The first line of a request: the service reads no longer one.
ADDRESS_CHARS_MAX: Final = 8000

# One line of a stream holds an event, with at most 64 KiB of an answer in base64.
_BUFFER_BYTES: Final = 256 * 1024

# A server that ends or begins, or a proxy before one that does, answers so.
_PASSING: Final = frozenset({502, 503, 504})

_Answer = TypeVar("_Answer")
_BROKEN: Final = (aiohttp.ClientError, TimeoutError)


class Connection:
    """Asks one server, and raises what it refuses."""

    def __init__(self, url: str, *, token: str | None) -> None:
        """Connects to nothing yet.

        Args:
            url: Where the service is, as in `http://127.0.0.1:8420`.
            token: What it wants to see. Over `http://` only a server on this host gets it.

        Raises:
            InvalidArgumentError: That is no address of a server, or the token would be readable.
        """
        self._url = _base(url)
        if token is not None and self._url.scheme != "https" and not _is_loopback(self._url):
            raise InvalidArgumentError(
                "http:// sends the token readable: use https://, or http:// to this host",
                argument="url",
            )
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None
        self._was_reached = False

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            read_bufsize=_BUFFER_BYTES,
            # No question waits for a connection that a stream holds.
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self, path: str, into: type[_Answer], want: Sequence[tuple[str, str]] = ()
    ) -> _Answer:
        """Asks a question. Where the server is away for a moment, it is asked again."""
        patience = Patience()
        while True:
            try:
                return await self._told("GET", path, into, want)
            except PassingError as passing:
                await patience.wait(passing)

    async def tell(
        self,
        method: str,
        path: str,
        into: type[_Answer],
        want: Sequence[tuple[str, str]] = (),
        *,
        body: bytes | None = None,
    ) -> _Answer:
        """Has something done. Once: whether it was done, where that breaks, is not known."""
        try:
            return await self._told(method, path, into, want, body=body)
        except PassingError as passing:
            raise passing.why from passing.__cause__

    async def stream(
        self,
        path: str,
        into: msgspec.json.Decoder[_Answer],
        want: dict[str, str],
        *,
        follow: bool = True,
    ) -> AsyncGenerator[_Answer]:
        """What a stream says. Where it breaks, it goes on after the last that was heard.

        Args:
            path: Its address.
            into: What it says.
            want: The parameters. `after` is where it begins, if that is a number.
            follow: Whether it ends only when it breaks.
        """
        patience = Patience()
        while True:
            try:
                async with aclosing(self._blocks(path, want)) as blocks:
                    async for number, data in blocks:
                        patience = Patience()
                        if number is not None:
                            want = want | {"after": str(number)}
                        if data is not None:
                            yield self._decoded(into, data)
                if not follow:
                    return
                await patience.pause()
            except PassingError as passing:
                await patience.wait(passing)

    async def _blocks(
        self, path: str, want: dict[str, str]
    ) -> AsyncGenerator[tuple[int | None, bytes | None]]:
        """The number and the data of each event. SOURCE: WHATWG HTML §9.2.6; ours are one line."""
        async with self._answer(
            "GET", path, list(want.items()), silence_s=SILENCE_MAX_S
        ) as response:
            if response.content_type != "text/event-stream":
                raise self._stranger("that is no stream of events")
            number = data = None
            while line := await self._line(response.content):
                name, _, value = line.rstrip(b"\n").partition(b": ")
                if name == b"id":
                    number = int(value) if value.isdigit() else None
                elif name == b"data":
                    data = value
                elif line == b"\n":  # before that it may have been cut off
                    yield number, data
                    number = data = None

    async def _line(self, content: aiohttp.StreamReader) -> bytes:
        try:
            return await content.readline()
        except (HttpProcessingError, ValueError) as error:
            raise self._stranger("a line of its stream is too long") from error

    async def _told(
        self,
        method: str,
        path: str,
        into: type[_Answer],
        want: Sequence[tuple[str, str]],
        *,
        body: bytes | None = None,
    ) -> _Answer:
        async with self._answer(
            method, path, want, body=body, silence_s=ANSWER_TIMEOUT_S
        ) as response:
            answer = await response.read()
        return self._decoded(msgspec.json.Decoder(into), answer)

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        want: Sequence[tuple[str, str]],
        *,
        body: bytes | None = None,
        silence_s: float,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is no refusal.

        Raises:
            PassingError: It may be another one soon, since there was one before.
        """
        if self._session is None:
            raise ServiceError("the client is not open: use `async with Client(...)`")
        url = self._address(path).with_query(want or None)
        if len(url.raw_path_qs) > ADDRESS_CHARS_MAX:
            raise InvalidArgumentError("what is asked for is too long: no task is named like that")
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=silence_s
        )
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method,
                url,
                data=body and io.BytesIO(body),
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if not 200 <= response.status < 300:  # noqa: PLR2004 — what is no refusal
                    raise self._refusal(response, await response.read())
                self._was_reached = True
                yield response
        except _BROKEN as error:
            why = f"{self._url} cannot be reached: {str(error) or type(error).__name__}"
            raise self._passing(ServiceError(why)) from error

    def _refusal(self, response: aiohttp.ClientResponse, answer: bytes) -> Exception:
        problem = problem_in(answer)
        error = refusal(response.status, problem)
        if response.status not in _PASSING:
            return error
        is_busy = problem is not None and problem.code == TOO_MANY_STREAMS
        return self._passing(error, busy_s=_retry_after_s(response) if is_busy else None)

    def _passing(self, why: OuthaulError, *, busy_s: float | None = None) -> Exception:
        # A server that was never there is not worth another try.
        return PassingError(why, busy_s=busy_s) if self._was_reached else why

    def _decoded(self, decoder: msgspec.json.Decoder[_Answer], answer: bytes) -> _Answer:
        try:
            return decoder.decode(answer)
        except msgspec.DecodeError as error:
            raise self._stranger(str(error)) from error

    def _address(self, path: str) -> URL:
        # Encoded: else an id of dots alone, as `path_of` gives it, would mean another address.
        return self._url.with_path(self._url.raw_path.rstrip("/") + path, encoded=True)

    def _stranger(self, why: str) -> ServiceError:
        return ServiceError(f"{self._url} is no outhaul service: {why}")


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else 0.0


def _base(url: str) -> URL:
    with contextlib.suppress(ValueError):
        base = URL(text("url", url))
        says_more = base.query_string or base.user or base.password
        if base.scheme in {"http", "https"} and base.host and not says_more:
            return base
    raise InvalidArgumentError(f"is {public_url(url)!r}: write http://HOST:PORT", argument="url")


def _is_loopback(url: URL) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(url.host or "").is_loopback
    return url.host == "localhost"
