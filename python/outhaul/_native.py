"""The one door to the native core: nothing else imports `outhaul._core`."""

from outhaul._core import Core, ManualClock, Schedule

__all__ = ["Core", "ManualClock", "Schedule"]
