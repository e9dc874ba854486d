"""Somebody sets the wall clock: then no time has passed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.http.conftest import Made
from tests.http.peers import verdict
from tests.http.test_constraints import PROXIES, address_of_a_card

from outhaul import Constraints, EventKind, NativeWorker, NetworkType, RetryPolicy, WorkManager
from outhaul.testing import FakeClock, FakeSignals

HOUR = timedelta(hours=1)
ONLINE = Constraints(network_type=NetworkType.CONNECTED)
ONCE_MORE = RetryPolicy(max_retries=1, initial_delay=3 * HOUR)


@pytest.mark.parametrize(
    ("moves", "kind"),
    [
        pytest.param(lambda clock: clock.jump(HOUR), EventKind.RETRY_SCHEDULED, id="set on"),
        pytest.param(lambda clock: clock.jump(-HOUR), EventKind.RETRY_SCHEDULED, id="set back"),
        pytest.param(lambda clock: clock.advance(HOUR), EventKind.FAILED, id="time passes"),
    ],
)
async def test_a_jump_lets_no_time_pass(
    tmp_path: Path,
    make: Made,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    moves: Callable[[FakeClock], None],
    kind: EventKind,
) -> None:
    """A failure does not count where the network is lost a moment later, in time that passed."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    host, signals = address_of_a_card(), FakeSignals()
    with socket.socket() as nobody_listens:
        nobody_listens.bind((host, 0))
        url = f"https://{host}:{nobody_listens.getsockname()[1]}/"
        worker = NativeWorker.http_upload(url=url, file_path=make())
        async with WorkManager(tmp_path / "w.db", clock=clock, signals=signals) as manager:
            task = await manager.enqueue("x", worker, constraints=ONLINE, retry=ONCE_MORE)
            assert (await verdict(task, attempt=1)).kind is EventKind.RETRY_SCHEDULED
            before = clock.now
            moves(clock)
            assert abs(clock.now - before) == HOUR
            signals.set_network(up=False)
            signals.set_network(up=True)
            assert (await verdict(task, attempt=2)).kind is kind
