"""What `import outhaul` gives, and what it costs."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import outhaul

PACKAGE = Path(outhaul.__file__).parent
HEAVY = ("aiohttp", "typer", "rich", "uvloop", "hashlib", "pathlib", "difflib")


def test_all_is_sorted_and_complete() -> None:
    public = {
        name
        for name, value in vars(outhaul).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert outhaul.__all__ == sorted(outhaul.__all__, key=lambda name: (name.islower(), name))
    assert set(outhaul.__all__) == public


def test_the_public_list_is_nothing_else() -> None:
    lines = (PACKAGE / "__init__.py").read_text().splitlines()
    assert len(lines) <= 60


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_a_module_is_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    assert importlib.import_module(name.removesuffix(".__init__")).__doc__


def test_importing_outhaul_loads_nothing_heavy() -> None:
    script = (
        "import asyncio, sqlite3, sys; before = set(sys.modules); import outhaul; "
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "outhaul.model" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in HEAVY]
