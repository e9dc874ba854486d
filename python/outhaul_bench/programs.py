"""Programs that contests need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Debian keeps PostgreSQL's out of the path.
_HIDDEN = Path("/usr/lib/postgresql")


def find(name: str) -> str | None:
    """Where a program is, if it is installed."""
    hidden = sorted(map(str, _HIDDEN.glob("*/bin")), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *hidden]))
