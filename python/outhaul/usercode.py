"""What the user's own functions may do to who calls them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def called(function: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 — whatever it returns
    """Calls a user's function in a thread. No future can carry `StopIteration`."""
    try:
        return function(*args)
    except StopIteration as error:
        raise RuntimeError("raised StopIteration") from error


def is_being_cancelled() -> bool:
    """Whether somebody cancels this `asyncio.Task`; else a `CancelledError` is its own code's."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
