"""`outhaul serve`: the work of a store, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outhaul.cli.place import token_in
from outhaul.cli.session import ExitStatus, complain, run, usage

if TYPE_CHECKING:
    from outhaul.cli.place import Place


def serve(
    context: typer.Context,
    *,
    root: Annotated[
        list[str],
        typer.Option(metavar="DIR", help="Files beneath it may be sent; may be repeated."),
    ],
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Beyond loopback only with a token.")
    ] = "127.0.0.1:8420",
    token_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Holds the token that clients must send.")
    ] = None,
    allow_secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A secret that tasks may name: API_TOKEN or env:API_TOKEN, file:/run/key.",
        ),
    ] = None,
    allow_address: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="A private network that files may be sent to."),
    ] = None,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Let http:// leave this host: anybody can read it.")
    ] = False,
    drain_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long the end waits for what runs.")
    ] = 30.0,
) -> None:
    """Takes tasks over HTTP, and does them.

    SIGTERM lets what runs finish within --drain-timeout, and ends. The rest goes on at the next
    start.
    """
    place: Place = context.obj.only_here("serve")
    token = token_in(token_file) or place.token
    for each in root:
        if not Path(each).is_dir():
            usage(f"--root: {each} is no directory")

    async def work() -> int:
        # Imported here: they load aiohttp.
        from outhaul import AddressPolicy, WorkManager  # noqa: PLC0415
        from outhaul.service import serve as service  # noqa: PLC0415

        manager = WorkManager(
            place.db,
            allowed_roots=root,
            address_policy=AddressPolicy.strict(allow=allow_address or ()),
            allow_http=allow_http,
        )
        await service.serve(
            manager,
            service.Address.parse(listen),
            token=token,
            allow_secrets=allow_secret or (),
            drain_timeout=drain_timeout,
            say=complain,
        )
        return ExitStatus.OK

    run(work())
