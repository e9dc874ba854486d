"""One measurement, one fresh process: `python -m outhaul_bench.child module:function '{…}'`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from outhaul_bench.measure import run

TIMEOUT_S = 300


class ChildFailedError(Exception):
    """The measurement broke; the message is the end of what it said."""


def environment() -> dict[str, str]:
    """What children see, and when they were started."""
    inherited = dict(os.environ)
    # An installed package has its bytecode; a checkout must be allowed to keep its own.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    # Some clients would send what is for this host through a proxy, and others not.
    direct = {name: text for name, text in inherited.items() if not name.lower().endswith("_proxy")}
    return {**direct, "NO_PROXY": "*", "no_proxy": "*", "BENCH_SPAWNED": repr(time.monotonic())}


def measure(target: str, arguments: dict[str, Any], within: tuple[str, ...] = ()) -> dict[str, Any]:
    """Runs `module:function` in a child, through `within`; returns the figures it printed last."""
    command = [*within, sys.executable, "-m", "outhaul_bench.child", target, json.dumps(arguments)]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as child:  # fmt: skip
        try:
            said, complained = child.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ChildFailedError(f"{target}: not done after {TIMEOUT_S} s") from None
        finally:  # also when the run is interrupted: no server or worker of its outlives it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode != 0:
        raise ChildFailedError(f"{target}: {complained.strip()[-2000:]}")
    try:
        figures: dict[str, Any] = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        raise ChildFailedError(f"{target}: said no figures last: {said[-500:]!r}") from None
    return figures


def main() -> None:
    module, _, name = sys.argv[1].partition(":")
    function = getattr(importlib.import_module(module), name)
    figures = function(**json.loads(sys.argv[2]))
    if inspect.iscoroutine(figures):
        figures = run(figures)
    assert not asyncio.iscoroutine(figures)
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
