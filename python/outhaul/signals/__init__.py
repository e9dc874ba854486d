"""Facts about the host that constraints are judged by."""

from __future__ import annotations

from outhaul.signals.battery import BatterySignal
from outhaul.signals.host import Facts, HostSignals, Signal, SystemSignals, unmet
from outhaul.signals.network import NetworkSignal

__all__ = [
    "BatterySignal",
    "Facts",
    "HostSignals",
    "NetworkSignal",
    "Signal",
    "SystemSignals",
    "unmet",
]
