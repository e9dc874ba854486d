"""`outhaul bench`: the benchmark suite, which parses its own arguments."""

from __future__ import annotations

import typer

from outhaul.cli.signals import interruptible


def bench(context: typer.Context) -> None:
    """Compare with what you would pick instead, here: `outhaul bench --help`."""
    # Imported here: nobody else needs it, and what it needs is an extra.
    try:
        from outhaul_bench.run import main  # noqa: PLC0415
    except ModuleNotFoundError as error:
        typer.echo(f"{error.name} is missing: pip install 'outhaul[bench]'", err=True)
        raise typer.Exit(2) from None
    with interruptible():  # it has children, and folders on the disk; typer makes a 130 of it
        status = main(context.args)
    raise typer.Exit(status)
