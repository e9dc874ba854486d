"""Runs the service by itself: listens, says where, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import resource
import signal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiohttp import web
from aiohttp.http import HttpProcessingError

from outhaul.arguments import duration_ms
from outhaul.errors import InvalidArgumentError, ServiceError
from outhaul.service.app import HANDLERS, create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from datetime import timedelta

    from outhaul.manager import WorkManager

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

# Connections that do nothing any more are given this long to go away.
_GOODBYE_S: Final = 1.0

# And those on which nothing is asked, or not all of a head arrives.
_IDLE_S: Final = 75.0

# Enough for the streams and the transfers, where the system allows it. 1024 is common.
_FILES_MAX: Final = 65_536

_LOG: Final = logging.getLogger("outhaul.service.http")


class Address(NamedTuple):
    """Where the service listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, listen: str) -> Address:
        """An address as the command line spells it: `127.0.0.1:8420` or `[::1]:8420`.

        Raises:
            InvalidArgumentError: It is none.
        """
        host, colon, port = listen.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        with contextlib.suppress(ValueError):
            number = int(port)
            literal = "127.0.0.1" if host == "localhost" else str(ipaddress.ip_address(host))
            if colon and 0 <= number < 2**16:
                return cls(literal, number)
        raise InvalidArgumentError(
            f"is {listen!r}: write HOST:PORT, as in 127.0.0.1:8420 or [::1]:8420",
            argument="listen",
        )

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this host reaches it."""
        return ipaddress.ip_address(self.host).is_loopback


async def serve(
    manager: WorkManager,
    address: Address,
    *,
    token: str | None,
    allow_secrets: Iterable[str],
    drain_timeout: timedelta | float,
    say: Callable[[str], None],
) -> None:
    """Serves until SIGTERM or SIGINT; then finishes what runs, and ends. A second one ends at once.

    Args:
        manager: Not open yet.
        address: Where to listen; beyond loopback only with a token.
        token: What clients have to bear.
        allow_secrets: As in `create_app`.
        drain_timeout: How long what runs may take to finish: a timedelta or seconds. Then it is
            interrupted, and goes on at the next start.
        say: Told what a person should know.

    Raises:
        InvalidArgumentError: It would listen to strangers without a token; or an argument of
            `create_app` or of the manager is refused.
        ServiceError: It cannot listen there.
    """
    drain_timeout_s = duration_ms("drain_timeout", drain_timeout) / 1000
    if token is None and not address.is_loopback:
        raise InvalidArgumentError(
            f"{address.host} is not loopback, and there is no token: anybody could send your "
            "files; give --token-file, or listen on 127.0.0.1",
            argument="listen",
        )
    hosts = {*_LOOPBACK_NAMES, address.host} if token is None else None
    app = create_app(manager, token=token, allow_secrets=allow_secrets, hosts=hosts)
    runner = _runner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port)
        try:
            await site.start()
        except OSError as error:
            why = error.strerror or error
            raise ServiceError(f"cannot listen on {address}: {why}") from error
        with _signals() as told:
            say(f"listening on http://{Address(*runner.addresses[0][:2])}")
            await told.wait_for(1)
            app[HANDLERS].is_draining = True
            await site.stop()
            say("finishing what runs; once more ends at once")
            await _either(manager.drain(), told.wait_for(2), timeout_s=drain_timeout_s)
    finally:
        await runner.cleanup()


def _runner(app: web.Application) -> web.AppRunner:
    """What serves it: a stream ends, and frees its place, as soon as its client is gone."""
    _allow_files()
    _LOG.addFilter(_is_ours)
    return web.AppRunner(
        app,
        access_log=None,
        logger=_LOG,
        keepalive_timeout=_IDLE_S,
        handler_cancellation=True,
        shutdown_timeout=_GOODBYE_S,
    )


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):  # then there are fewer
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether it may be logged. What is no HTTP is a stranger's mistake, and might hold a token."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (HttpProcessingError, web.RequestPayloadError))


class _Told:
    """How often the process was told to end."""

    def __init__(self) -> None:
        self._times = 0
        self._changed = asyncio.Event()

    def once_more(self) -> None:
        self._times += 1
        self._changed.set()

    async def wait_for(self, times: int) -> None:
        while self._times < times:
            self._changed.clear()
            await self._changed.wait()


@contextlib.contextmanager
def _signals() -> Iterator[_Told]:
    loop, told = asyncio.get_running_loop(), _Told()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.once_more)
    try:
        yield told
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _either(*ways: Coroutine[Any, Any, None], timeout_s: float) -> None:
    """Waits for the first of these, for at most that long."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
