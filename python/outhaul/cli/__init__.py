"""The command `outhaul`: parses, calls `WorkManager`, renders. Knows nothing below the manager.

One file per verb, and `app` lists them. `place` says where the work is, here or on a server, and
`works` what the verbs need of it. `session` holds what they share, `render`, `report` and `bars`
what people and programs see, `streams` and `signals` what a process is given by its parent.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Runs the command. Its exit status tells the truth; `session.ExitStatus` says which."""
    # Imported here: they load typer and rich, which nobody needs who only imports outhaul.
    from outhaul.cli.signals import leave_quietly  # noqa: PLC0415

    leave_quietly()
    from outhaul.cli.streams import prepare  # noqa: PLC0415

    prepare()
    from outhaul.cli.app import run  # noqa: PLC0415

    try:
        run()
    except SystemExit as ended:
        if isinstance(ended.code, int):
            # Whatever has to be closed is. Python would go on to wait for its threads, and one may
            # hang for good in a disk that is gone.
            sys.stderr.flush()
            os._exit(ended.code)
        raise
