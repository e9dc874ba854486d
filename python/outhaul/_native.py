"""The one door to the native core: nothing else imports `outhaul._core`."""

from outhaul._core import (
    Core,
    ManualClock,
    MultipartEncoder,
    ProgressMeter,
    Schedule,
    let_go_of_locks,
    serve_sink,
)

__all__ = [
    "Core",
    "ManualClock",
    "MultipartEncoder",
    "ProgressMeter",
    "Schedule",
    "let_go_of_locks",
    "serve_sink",
]
