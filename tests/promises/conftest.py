"""The same manager, clock and servers as the HTTP tests have."""

from __future__ import annotations

from tests.http.conftest import clock, make, manager, server

__all__ = ["clock", "make", "manager", "server"]
