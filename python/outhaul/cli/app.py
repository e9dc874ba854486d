"""The verbs, and the one option they share."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from outhaul.cli import bench, cancel, events, list_tasks, run_tasks, serve, show, upload
from outhaul.cli.place import Place, token_in
from outhaul.cli.session import ExitStatus, complain
from outhaul.cli.streams import OutputError

app = typer.Typer(
    name="outhaul",
    help="Durable uploads: they survive crashes, restarts and lost networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("upload")(upload.upload)
app.command("run")(run_tasks.run_tasks)
app.command("list")(list_tasks.list_tasks)
app.command("show")(show.show)
app.command("cancel")(cancel.cancel)
app.command("events")(events.events)
app.command("serve")(serve.serve)
app.command(
    "bench",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(bench.bench)


def _leave_with_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"outhaul {importlib.metadata.version('outhaul')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    db: Annotated[
        str,
        typer.Option("--db", metavar="FILE", envvar="OUTHAUL_DB", help="Where the work is kept."),
    ] = "outhaul.db",
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", envvar="OUTHAUL_SERVER", help="Ask this `outhaul serve` instead."
        ),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", envvar="OUTHAUL_TOKEN_FILE", help="Holds the token of the server."
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 — it has left before it gets here
        bool, typer.Option("--version", callback=_leave_with_version, is_eager=True, help="Say it.")
    ] = False,
) -> None:
    """Durable uploads: they survive crashes, restarts and lost networks."""
    context.obj = Place(db, server, token_in(token_file))


def run() -> None:
    """Runs the command line."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OutputError as error:  # a verb's own is said by `session`, this is what typer writes
        complain(str(error))
        sys.exit(ExitStatus.FAILED)
    except BrokenPipeError:  # its reader has seen enough
        sys.exit(ExitStatus.FAILED)
