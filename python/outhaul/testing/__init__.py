"""For users' own tests: a server that fails on purpose, and a host whose network you switch."""

from __future__ import annotations

from outhaul.testing.fake_signals import FakeSignals
from outhaul.testing.flaky_server import Answer, FlakyServer, ReceivedFile, ReceivedRequest

__all__ = ["Answer", "FakeSignals", "FlakyServer", "ReceivedFile", "ReceivedRequest"]
