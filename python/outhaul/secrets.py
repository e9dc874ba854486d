"""References to credentials. The reference is stored; the value is looked up for each attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from outhaul.arguments import absolute_path, text
from outhaul.errors import InvalidArgumentError
from outhaul.wire import SecretRef

if TYPE_CHECKING:
    import os

    from outhaul.wire import SecretSource

Provider = Callable[[], str | Awaitable[str]]
"""Answers a secret when asked: a function (called in a thread) or a coroutine function.

All secrets of one attempt are answered within 30 seconds of the event loop's clock. If a provider
raises or takes longer, the attempt ends and the task's policy says when the next one asks again.
"""


class Secret:
    """Makes references to secrets, for headers: `Secret.env("API_TOKEN", prefix="Bearer ")`."""

    @staticmethod
    def env(name: str, *, prefix: str = "") -> SecretRef:
        """The environment variable `name`, read when an attempt begins."""
        return _reference("env", name, prefix)

    @staticmethod
    def file(path: str | os.PathLike[str], *, prefix: str = "") -> SecretRef:
        """The contents of a regular file (UTF-8, at most 64 KiB) without its trailing newline."""
        return _reference("file", absolute_path("path", path), prefix)

    @staticmethod
    def provider(name: str, *, prefix: str = "") -> SecretRef:
        """What `WorkManager(secrets={name: …})` answers: a function or a coroutine function."""
        return _reference("provider", name, prefix)


def _reference(source: SecretSource, name: str, prefix: str) -> SecretRef:
    name = text("name", name)
    if not name:
        raise InvalidArgumentError("is empty: say where the secret is found", argument="name")
    return SecretRef(source=source, name=name, prefix=text("prefix", prefix))
