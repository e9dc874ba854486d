"""Opening what is no store of ours, or cannot be used: says what to do, and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.crash.processes import said_by_nobody

from outhaul import PythonWorker, WorkManager
from outhaul.errors import StoreCorruptError, StoreError, StoreTooNewError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 4096


@pytest.fixture(scope="module")
def a_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store that was closed in good order, with some tasks in it."""
    path = tmp_path_factory.mktemp("sound") / "work.db"

    async def fill() -> None:
        async with WorkManager(path, workers="elsewhere", run=False) as manager:
            for number in range(20):
                await manager.enqueue(f"t{number}", PythonWorker("elsewhere", bytes(1000)))

    asyncio.run(fill())
    return path.read_bytes()


def contents(folder: Path) -> dict[str, bytes | None]:
    return {p.name: p.read_bytes() if p.is_file() else None for p in folder.iterdir()}


async def refusal(path: Path) -> StoreError:
    """What opening raises."""
    with pytest.raises(StoreError) as caught:
        async with WorkManager(path):
            pass
    assert str(path) in str(caught.value), "the message does not name the file"
    return caught.value


def with_database(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def foreign(path: Path, _: bytes) -> None:
    with_database(
        path, "CREATE TABLE photos(id INTEGER PRIMARY KEY)", "INSERT INTO photos VALUES(1)"
    )


def foreign_marked(path: Path, _: bytes) -> None:
    with_database(path, "PRAGMA application_id=42")


def foreign_with_a_version(path: Path, _: bytes) -> None:
    with_database(path, "CREATE TABLE photos(id)", "PRAGMA user_version=1")


def text(path: Path, _: bytes) -> None:
    path.write_text("Dear diary,\n" * 1000)


def short_text(path: Path, _: bytes) -> None:
    path.write_text("hello")


def garbage_header(path: Path, store: bytes) -> None:
    path.write_bytes(random.Random(1).randbytes(100) + store[100:])


def cut_in_the_header(path: Path, store: bytes) -> None:
    path.write_bytes(store[:50])


def cut_in_half(path: Path, store: bytes) -> None:
    path.write_bytes(store[: len(store) // PAGE // 2 * PAGE])


def cut_to_a_page(path: Path, store: bytes) -> None:
    path.write_bytes(store[:PAGE])


def garbage_schema(path: Path, store: bytes) -> None:
    path.write_bytes(store[:100] + random.Random(2).randbytes(PAGE - 100) + store[PAGE:])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(foreign, id="a database of somebody else's"),
        pytest.param(foreign_marked, id="an empty database of somebody else's"),
        pytest.param(foreign_with_a_version, id="a database with a version like ours"),
        pytest.param(text, id="a text"),
        pytest.param(short_text, id="a short text"),
        pytest.param(garbage_header, id="garbage for a header"),
        pytest.param(cut_in_the_header, id="cut within the header"),
        pytest.param(cut_in_half, id="cut in half"),
        pytest.param(cut_to_a_page, id="cut to its first page"),
        pytest.param(garbage_schema, id="garbage for a schema"),
    ],
)
async def test_what_is_no_store_is_refused_and_left_as_it_was(
    tmp_path: Path, a_store: bytes, make: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "work.db"
    make(path, a_store)
    before = contents(tmp_path)
    error = await refusal(path)
    assert isinstance(error, StoreCorruptError)
    assert any(words in str(error) for words in ("give the path", "restore a backup"))
    assert contents(tmp_path) == before


async def test_a_newer_store_is_refused_and_left_as_it_was(tmp_path: Path, a_store: bytes) -> None:
    path = tmp_path / "work.db"
    path.write_bytes(a_store)
    with_database(path, "PRAGMA user_version=999")
    before = contents(tmp_path)
    with pytest.raises(StoreTooNewError, match=r"version 999, .* upgrade outhaul"):
        async with WorkManager(path):
            pass
    assert contents(tmp_path) == before


async def test_a_damaged_page_is_an_error_and_never_a_wrong_answer(
    tmp_path: Path, a_store: bytes
) -> None:
    """Which page is damaged decides who notices: opening, or the first to need it."""
    path = tmp_path / "work.db"
    pages = len(a_store) // PAGE
    noticed = 0
    for page in range(1, pages):
        content = bytearray(a_store)
        content[page * PAGE : (page + 1) * PAGE] = random.Random(page).randbytes(PAGE)
        path.write_bytes(content)
        try:
            async with WorkManager(path, workers="elsewhere") as manager:
                tasks = await manager.get_tasks_by_status()
                events = [event async for event in manager.events(after=0, follow=False)]
                assert len(tasks) == len(events) == 20, f"page {page}"
        except StoreCorruptError as error:
            assert "restore a backup" in str(error)  # noqa: PT017 — not each page raises
            noticed += 1
        for leftover in contents(tmp_path):
            (tmp_path / leftover).unlink()
    assert noticed > pages // 2


@pytest.mark.parametrize("garbage", [b"", b"garbage", bytes(5000)], ids=["empty", "text", "zeros"])
async def test_a_wal_that_is_none_takes_nothing_from_the_store(
    tmp_path: Path, a_store: bytes, garbage: bytes
) -> None:
    path = tmp_path / "work.db"
    path.write_bytes(a_store)
    path.with_name("work.db-wal").write_bytes(garbage)
    async with WorkManager(path, workers="elsewhere") as manager:
        assert len(await manager.get_tasks_by_status()) == 20


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "work.db"
    path.mkdir()
    assert isinstance(await refusal(path), StoreUnavailableError)
    assert contents(path) == {}


async def test_a_missing_directory_is_named_and_not_made(tmp_path: Path) -> None:
    error = await refusal(tmp_path / "missing" / "work.db")
    assert isinstance(error, StoreUnavailableError)
    assert "check that its directory exists" in str(error)
    assert contents(tmp_path) == {}


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Makes a directory that nobody can write, root included."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mounted = False

    def freeze() -> Path:
        nonlocal mounted
        bind = ["mount", "--bind", str(folder), str(folder)]
        remount = ["mount", "-o", "remount,bind,ro", str(folder)]
        try:
            subprocess.run(bind, check=True, capture_output=True)
            mounted = True
            subprocess.run(remount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a read-only file system takes the right to mount one")
        return folder

    yield freeze
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_read_only_file_system_is_named(
    tmp_path: Path, a_store: bytes, read_only: Callable[[], Path]
) -> None:
    (tmp_path / "read-only" / "work.db").write_bytes(a_store)
    folder = read_only()
    for name in ("work.db", "new.db"):
        error = await refusal(folder / name)
        assert isinstance(error, StoreUnavailableError)
        assert "can be written" in str(error)
    assert contents(folder) == {"work.db": a_store}


OPENING = """
from outhaul import WorkManager
from outhaul.errors import StoreUnavailableError

async def main():
    try:
        async with WorkManager(sys.argv[1]):
            pass
    except StoreUnavailableError as error:
        print(error)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("folder_mode", "file_mode"),
    [
        pytest.param(0o755, 0o444, id="a file that may only be read"),
        pytest.param(0o555, 0o444, id="neither file nor directory may be written"),
        pytest.param(0o777, 0o000, id="a file that may not be read"),
        pytest.param(0o555, None, id="a directory that may only be read"),
    ],
)
def test_a_lack_of_rights_is_named_and_changes_nothing(
    a_store: bytes, folder_mode: int, file_mode: int | None
) -> None:
    # Not in tmp_path, which is root's alone.
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        folder = Path(top, "folder")
        folder.mkdir()
        path = folder / "work.db"
        if file_mode is not None:
            path.write_bytes(a_store)
        before = contents(folder)
        if file_mode is not None:
            path.chmod(file_mode)
        folder.chmod(folder_mode)
        said = said_by_nobody(OPENING, str(path))
        assert str(path) in said
        assert "can be written" in said
        folder.chmod(0o755)
        if file_mode is not None:
            path.chmod(0o644)
        assert contents(folder) == before


async def test_managers_that_make_the_same_store_at_once_all_open_it(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / f"{number}.db"
        managers = [WorkManager(path, workers="elsewhere") for _ in range(8)]
        await asyncio.gather(*(manager.__aenter__() for manager in managers))
        work = PythonWorker("elsewhere")
        handles = await asyncio.gather(*(manager.enqueue("same", work) for manager in managers))
        assert sorted(handle.schedule_result for handle in handles) == ["accepted", *["kept"] * 7]
        await asyncio.gather(*(manager.close() for manager in managers))
