"""What the README says is so: its examples run, its commands and paths exist."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer.main
from tests.service.kit import Service

from outhaul.cli.app import app
from outhaul.testing import FlakyServer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
URL = "https://api.example.com/upload"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def shell_lines() -> list[str]:
    return [line for block in blocks("") for line in block.splitlines()]


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[1]


async def said_by(code: str, folder: Path) -> str:
    script = folder / "example.py"
    script.write_text(code)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-Werror",
        str(script),
        cwd=folder,
        env={**os.environ, "API_TOKEN": "made up"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()


async def test_the_first_example_runs_as_it_stands(tmp_path: Path) -> None:
    said = (await said_by(blocks("python")[0], tmp_path)).splitlines()
    assert said[0] == "ScheduleResult.ACCEPTED"
    assert said[-2].startswith("100% ")
    assert said[-1] == "True None "


async def test_the_second_example_runs_against_a_server(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(bytes(1000))
    async with FlakyServer() as server:
        said = await said_by(blocks("python")[1].replace(URL, server.url), tmp_path)
        (request,) = server.requests
    assert said.splitlines() == [
        "made of photo.jpg in attempt 1",
        "True",
        *(f"{seq} EventKind.{kind} upload_43" for seq, kind in SEEN),
    ]
    assert request.complete
    assert "Bearer made up" in request.headers.values()


SEEN = [(1, "ENQUEUED"), (5, "STARTED"), (6, "COMPLETED")]  # 2 to 4 are the thumbnail's


async def test_the_mounted_service_is_one_line(tmp_path: Path) -> None:
    assert await said_by(blocks("python")[2], tmp_path) == ""


async def test_the_payload_arrives_in_a_session_of_ones_own(tmp_path: Path) -> None:
    said = (await said_by(blocks("python")[3], tmp_path)).splitlines()
    assert "percent=0" in said[0]
    assert said[-1].startswith("200 ")
    assert '"size": 3000000' in said[-1]


def test_no_example_is_left_out() -> None:
    assert len(blocks("python")) == 4


async def test_the_service_answers_what_curl_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "made up")
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    curl = next(block for block in blocks("") if "curl" in block)
    found = re.search(r"-d '(.*?)'", curl, re.DOTALL)
    assert found
    async with (
        FlakyServer() as server,
        Service(tmp_path / "work.db", tmp_path, allow_secrets=["API_TOKEN"]) as service,
    ):
        body = found[1].replace("/srv/photos", str(tmp_path)).replace(URL, server.url)
        assert (await service.enqueue(body.encode())).status == 201
        handle = await service.manager.get_handle("upload_44")
        assert handle is not None
        assert (await handle.result()).success
        assert server.requests[0].headers["Authorization"] == "Bearer made up"
        for path in re.findall(
            r"curl +(?:-N +)?'?localhost:8420(/\S+?)'?(?:  .*)?$", curl, re.MULTILINE
        ):
            follow = {"follow": "false"} if "events" in path else {}
            if "progress" not in path:
                assert (await service.ask("GET", path, params=follow)).status == 200
        delete = re.search(r"-X DELETE localhost:8420(\S+)", curl)
        assert delete
        assert (await service.ask("DELETE", delete[1])).status == 404  # it has ended


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("outhaul ")])
def test_a_command_line_is_understood(line: str) -> None:
    _, verb, *words = shlex.split(line, comments=True)
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined] # a group
    command.make_context(verb, words)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make (\w+)`?\n?", README))))
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "path", re.findall(r"^\| `([^`]+)`", section("Where things are"), re.MULTILINE)
)
def test_the_codemap_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()
    assert (ROOT / path).is_dir() == path.endswith("/")


def test_the_codemap_knows_every_folder_of_the_core() -> None:
    core = ROOT / "rust" / "core" / "src"
    for folder in (path for path in core.iterdir() if path.is_dir()):
        assert f"`{folder.relative_to(ROOT)}/`" in README
