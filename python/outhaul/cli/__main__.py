"""`python -m outhaul.cli`, for where no script is on the path."""

from __future__ import annotations

from outhaul.cli import main

if __name__ == "__main__":
    main()
