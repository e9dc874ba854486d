"""The wheel: one file for every Python from 3.11, and all that a user needs.

`make test` builds it. Nothing is built here.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = sorted((ROOT / "dist").glob("outhaul-*.whl"))
WITHOUT_A_REGISTRY = ("NewConnectionError", "Temporary failure in name resolution", "ProxyError")
UPLOAD = """
import asyncio, pathlib, outhaul
from outhaul.testing import Answer, FlakyServer

async def main():
    pathlib.Path("a.bin").write_bytes(bytes(range(256)) * 1000)
    script = [Answer(status=503)]
    async with FlakyServer(script=script) as server, outhaul.WorkManager("work.db") as manager:
        worker = outhaul.NativeWorker.http_upload(url=server.url, file_path="a.bin")
        retry = outhaul.RetryPolicy(initial_delay=0.01)
        event = await (await manager.enqueue("t", worker, retry=retry)).result()
        print(event.kind.value, event.attempt, server.files["a.bin"].size, outhaul.__file__)

asyncio.run(main())
"""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(len(WHEELS) != 1, reason=f"{len(WHEELS)} wheels in dist/: run `make wheel`"),
]


@pytest.fixture(scope="module")
def wheel() -> Path:
    return WHEELS[0]


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of an environment are that has the wheel, and what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install(folder / "bin", wheel)
    return folder / "bin"


def install(scripts: Path, *what: str | Path) -> None:
    pip: list[str | Path] = [
        scripts / "python",
        "-Im",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
    ]
    done = subprocess.run([*pip, *what], check=False, capture_output=True, text=True)
    if any(sign in done.stderr for sign in WITHOUT_A_REGISTRY):
        pytest.skip("no package registry can be reached for what the wheel depends on")
    assert done.returncode == 0, done.stderr


def output(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_it_is_for_every_python_from_3_11(wheel: Path) -> None:
    _, _, python, abi, platform = wheel.stem.split("-")
    assert (python, abi) == ("cp311", "abi3")
    assert platform != "any"


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    inside = {name.partition("/")[2] for name in names if name.startswith("outhaul/")}
    assert {"_core.abi3.so", "_core.pyi", "py.typed", "testing/flaky_server.py"} <= inside
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} <= {
        "outhaul",
        "outhaul_bench",
        "outhaul.libs",
    }
    assert len([name for name in names if name.endswith(".so")]) == 1


def test_it_names_its_licences_and_has_their_texts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        assert b"License-Expression: Apache-2.0 OR MIT" in archive.read(metadata)
        for text in ("LICENSE-APACHE", "LICENSE-MIT"):
            found = archive.read(metadata.replace("METADATA", f"licenses/{text}"))
            assert found == (ROOT / text).read_bytes()


def test_an_upload_works_where_only_the_wheel_is(scripts: Path, tmp_path: Path) -> None:
    said = output(scripts / "python", "-IWerror", "-c", UPLOAD, cwd=tmp_path).split()
    assert said[:3] == ["completed", "2", "256000"]
    assert Path(said[3]).is_relative_to(scripts.parent)


def test_the_command_is_installed(scripts: Path, tmp_path: Path, wheel: Path) -> None:
    version = wheel.stem.split("-")[1]
    assert output(scripts / "outhaul", "--version", cwd=tmp_path) == f"outhaul {version}\n"
    assert "upload" in output(scripts / "outhaul", "--help", cwd=tmp_path)


def test_the_benchmarks_run_from_it_and_say_what_they_need(
    scripts: Path, tmp_path: Path, wheel: Path
) -> None:
    command = (scripts / "outhaul", "bench", "--tiny", "--rounds", "1", "upload-small")
    alone = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert alone.returncode == 2
    assert "pip install 'outhaul[bench]'" in alone.stderr
    install(scripts, f"{wheel}[bench]")
    said = output(*command, cwd=tmp_path)
    assert "files/s / aiohttp" in said
    assert "failed" not in said
