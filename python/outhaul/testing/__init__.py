"""For users' own tests: a server that fails on purpose, a clock and a network that you move."""

from __future__ import annotations

from outhaul.testing.fake_clock import FakeClock
from outhaul.testing.fake_signals import FakeSignals
from outhaul.testing.flaky_server import Answer, FlakyServer, ReceivedFile, ReceivedRequest

__all__ = ["Answer", "FakeClock", "FakeSignals", "FlakyServer", "ReceivedFile", "ReceivedRequest"]
