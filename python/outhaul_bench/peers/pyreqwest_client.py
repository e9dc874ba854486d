"""pyreqwest (reqwest from Python), its own form: the file's path, its bytes, or 1 MiB pieces."""

from __future__ import annotations

from pathlib import Path

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.multipart import FormBuilder, PartBuilder

from outhaul_bench.peers import in_loop
from outhaul_bench.peers.bodies import pieces_of


def _client(ca_file: str) -> Client:
    builder = ClientBuilder().http1_only()
    if ca_file:
        builder = builder.add_root_certificate_pem(Path(ca_file).read_bytes())
    return builder.build()


async def _by_path(client: Client, url: str, path: Path) -> int:
    form = await FormBuilder().file("file", path)
    return (await client.post(url).multipart(form).build().send()).status


async def _by_pieces(client: Client, url: str, path: Path) -> int:
    part = PartBuilder.from_stream_with_length(pieces_of(path), path.stat().st_size)
    form = FormBuilder().part("file", part.file_name(path.name).mime("application/octet-stream"))
    return (await client.post(url).multipart(form).build().send()).status


async def _by_bytes(client: Client, url: str, path: Path) -> int:
    part = PartBuilder.from_bytes(path.read_bytes())
    form = FormBuilder().part("file", part.file_name(path.name).mime("application/octet-stream"))
    return (await client.post(url).multipart(form).build().send()).status


upload = in_loop.uploader(_client, _by_path)
upload_bytes = in_loop.uploader(_client, _by_bytes)
upload_pieces = in_loop.uploader(_client, _by_pieces)
