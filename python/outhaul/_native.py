"""The one door to the native core: nothing else imports `outhaul._core`."""

from outhaul._core import (
    Core,
    ManualClock,
    MultipartEncoder,
    ProgressMeter,
    Schedule,
    release_locks_after_fork,
    serve_sink,
)

__all__ = [
    "Core",
    "ManualClock",
    "MultipartEncoder",
    "ProgressMeter",
    "Schedule",
    "release_locks_after_fork",
    "serve_sink",
]
