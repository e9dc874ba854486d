"""Where the work is: a store here, or a server."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from outhaul.cli.session import usage

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from outhaul import WorkManager as Manager
    from outhaul.cli.works import Works

TOKEN_BYTES_MAX: Final = 64 * 1024


class Place(NamedTuple):
    """What the options before the verb say.

    Attributes:
        db: The store, where there is no server.
        server: Its address.
        token: What the server wants to see.
    """

    db: str
    server: str | None = None
    token: str | None = None

    def __str__(self) -> str:
        return self.server or self.db

    def existing(self) -> Self:
        """The same place, whose store must be there: a question should not create an empty one."""
        if self.server is None and not os.path.exists(self.db):  # noqa: PTH110 — a string is what the manager wants
            usage(f"no store at {self.db}: give --db, or set OUTHAUL_DB")
        return self

    def opened(self) -> AbstractAsyncContextManager[Works]:
        """What answers questions, to be entered."""
        if self.server is None:
            return self.manager(run=False)
        # Imported here: it loads aiohttp.
        from outhaul.service.client import Client  # noqa: PLC0415

        return Client(self.server, token=self.token)

    def manager(self, *, run: bool, allow_http: bool = False) -> Manager:
        """The manager of the store, to be entered. With `run=False` it only asks and enqueues."""
        from outhaul import WorkManager  # noqa: PLC0415 — tests put theirs there

        return WorkManager(self.db, run=run, allow_http=allow_http)

    def only_here(self, verb: str) -> Self:
        """The same place. Leaves if a server is meant: this verb is about a store."""
        if self.server is not None:
            usage(f"{verb}: works on a store, not on a server: leave out --server")
        return self

    @property
    def safe(self) -> str:
        """What is said to a user whose verb is cut short when the work is stored."""
        if self.server is not None:
            return f"the work is safe at {self.server}, which goes on with it"
        again = f"outhaul --db {shlex.quote(self.db)} run --until-idle"
        return f"the work is safe in {self.db}; `{again}` goes on with it"

    @property
    def unsure(self) -> str:
        """What is said to a user who stops before it is known that the work is stored."""
        return f"{self} has not said that it has the work; give the command again"


def token_in(path: str | None) -> str | None:
    """The token in a file, without its trailing newline. Leaves if there is none in it."""
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 — as `secrets` reads them
            found = file.read(TOKEN_BYTES_MAX).strip()
    except OSError as error:
        usage(f"--token-file: {path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        found = ""
    if not found or not found.isascii() or not found.isprintable():
        usage(f"--token-file: {path} holds no token: write one line of printable ASCII")
    return found
