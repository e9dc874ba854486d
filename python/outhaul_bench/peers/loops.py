"""The same measurement on another loop than uvloop: `{"target": "module:function"}` says which."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

import uvloop

Loop = asyncio.AbstractEventLoop


def on_asyncio(target: str, **arguments: str) -> dict[str, Any]:
    """The loop that comes with Python."""
    return _run(asyncio.new_event_loop, target, arguments)


def on_aiofastnet(target: str, **arguments: str) -> dict[str, Any]:
    """The transports of aiofastnet on uvloop."""
    import aiofastnet  # noqa: PLC0415 — where it is asked for

    return _run(aiofastnet.loop_factory(uvloop.new_event_loop), target, arguments)


def _run(make_loop: Callable[[], Loop], target: str, arguments: dict[str, str]) -> dict[str, Any]:
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    with asyncio.Runner(loop_factory=make_loop) as runner:
        figures: dict[str, Any] = runner.run(function(**arguments))
    return figures
