"""No path leads out of the roots, and no address around the policy (F-11, F-12, S-347, S-349)."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest
from tests.service.kit import NOWHERE, Service, ending, is_untouched

from outhaul import AddressPolicy, ErrorCode, EventKind
from outhaul.testing import Answer, FlakyServer

SECRET = b"not for strangers"


@pytest.fixture
def outside(folder: Path) -> Path:
    """A file beside the root, which `link`, `dir` and `proc` in it lead to."""
    secret = folder.parent / "secret.txt"
    secret.write_bytes(SECRET)
    (folder.parent / "root-old").mkdir()
    (folder.parent / "root-old" / "a.txt").write_bytes(SECRET)
    (folder / "link").symlink_to(secret)
    (folder / "relative").symlink_to("../secret.txt")
    (folder / "dir").symlink_to(folder.parent)
    (folder / "proc").symlink_to(f"/proc/{os.getpid()}/cwd")
    (folder / "loop").symlink_to("loop")
    (folder / "pipe").unlink(missing_ok=True)
    os.mkfifo(folder / "pipe")
    return secret


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        pytest.param("{root}/../secret.txt", {403}, id="up and out"),
        pytest.param("{root}/./../root/../secret.txt", {403}, id="up and down and out"),
        pytest.param("{root}/dir/secret.txt", {403}, id="through a linked directory"),
        pytest.param("{root}/link", {403}, id="a link that is absolute"),
        pytest.param("{root}/relative", {403}, id="a link that is relative"),
        pytest.param("{root}/proc/etc/passwd", {403, 422}, id="a magic link"),
        pytest.param("{root}/loop", {403, 422}, id="a link to itself"),
        pytest.param("{root}-old/a.txt", {403}, id="a sibling with the same beginning"),
        pytest.param("/etc/passwd", {403}, id="an absolute path"),
        pytest.param("/nowhere/at/all", {403}, id="whether it exists is nobody's business"),
        pytest.param("/proc/self/root{root}/../secret.txt", {403}, id="around through proc"),
        pytest.param("//{root}/../secret.txt", {403}, id="two slashes"),
        pytest.param("a.txt", {422}, id="relative"),
        pytest.param("../secret.txt", {422}, id="relative and up"),
        pytest.param("~/.ssh/id_rsa", {422}, id="a home"),
        pytest.param("file:///etc/passwd", {422}, id="a URL"),
        pytest.param("", {422}, id="empty"),
        pytest.param("{root}/a.txt\0.jpg", {422}, id="NUL"),
        pytest.param("{root}/" + "a" * 10_000, {422}, id="too long a name"),
        pytest.param("{root}/" + "a/" * 50_000, {422}, id="too long a path"),
        pytest.param("{root}", {422}, id="the root itself"),
        pytest.param("{root}/pipe", {422}, id="a pipe"),
        pytest.param("{root}/none", {422}, id="nothing"),
        pytest.param("{root}/a.txt/b", {403, 422}, id="a file as a directory"),
        pytest.param("{root}/%2e%2e/secret.txt", {422}, id="percent signs are just that"),
        pytest.param("{root}\\..\\secret.txt", {403, 422}, id="backslashes are just that"),
    ],
)
@pytest.mark.usefixtures("outside")
async def test_no_path_leads_out_of_the_root(
    service: Service, folder: Path, path: str, statuses: set[int]
) -> None:
    answer = await service.enqueue(service.upload(NOWHERE, path.replace("{root}", str(folder))))
    assert answer.status in statuses, answer
    assert answer.field == "worker.file_path"
    assert await is_untouched(service)


async def test_a_path_that_leads_out_is_told_to_the_operator_on_one_line(
    service: Service, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S-348."""
    path = f"{folder}/../forged\nERROR:root: all is lost"
    assert (await service.enqueue(service.upload(NOWHERE, path))).status == 403
    (said,) = [record for record in caplog.records if record.name == "outhaul.security"]
    assert said.levelname == "WARNING"
    message = said.getMessage()
    assert message.startswith("127.0.0.1 POST: ")
    assert "forged\ufffdERROR:root: all is lost" in message


async def test_swapping_a_link_during_the_check_does_not_escape(
    service: Service, server: FlakyServer, folder: Path, outside: Path
) -> None:
    """The kernel judges what is opened, at the enqueue and again when it is sent (S-347)."""
    victim, spare = folder / "victim", folder / "spare"
    victim.write_bytes(b"mine!")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            spare.unlink(missing_ok=True)
            spare.symlink_to(outside)
            os.replace(spare, victim)
            spare.write_bytes(b"mine!")
            os.replace(spare, victim)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        answers = [
            (await service.enqueue(service.upload(server.url, victim))).status for _ in range(300)
        ]
        assert set(answers) <= {201, 403, 422}
        assert {201, 403} <= set(answers)  # both sides of the race were seen
        await service.manager.wait_idle()
    finally:
        stop.set()
        swapping.join()
    assert all(request.size != len(SECRET) for request in server.requests)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "LOCALHOST.", "a.localhost", "0x7f.1", "0x7f000001", "2130706433",
        "0177.0.0.1", "127.1", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "10.0.0.1", "192.168.1.1",
        "172.16.0.1", "100.64.0.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[fc00::1]",
        "①②⑦.⓪.⓪.①", "127。0。0。1", "224.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
async def test_no_spelling_of_an_address_gets_around_the_policy(
    tmp_path: Path, folder: Path, host: str
) -> None:
    async with Service(tmp_path / "w.db", folder, address_policy=AddressPolicy.strict()) as service:
        for url in (f"https://{host}/", f"https://{host}:8443/x", f"https://user@{host}/"):
            answer = await service.enqueue(service.upload(url))
            assert answer.status in {403, 422}, (url, answer)
            assert answer.field == "worker.url"
        assert await is_untouched(service)


@pytest.mark.parametrize(
    "url",
    ["", "x", "//host/", "ftp://example.com/", "file:///etc/passwd", "https://", "https:///x",
     "javascript:alert(1)", "http://example.com/", "https://user:password@example.com/",
     "https://exa mple.com/", "https://example.com:99999/", "https://example.com/\r\nX: y",
     "https://" + "a" * 70_000],
)  # fmt: skip
async def test_what_is_no_address_is_refused(service: Service, url: str) -> None:
    answer = await service.enqueue(service.upload(url))
    assert (answer.status, answer.field) == (422, "worker.url")
    assert await is_untouched(service)


async def test_a_name_that_leads_inside_is_found_out_when_it_is_connected_to(
    tmp_path: Path, folder: Path
) -> None:
    """As a name does that was rebound after the enqueue: what is judged is what is connected to."""
    name = socket.gethostname()
    try:
        found = {info[4][0] for info in await asyncio.get_running_loop().getaddrinfo(name, 80)}
    except OSError:
        pytest.skip("this host's own name does not resolve")
    policy = AddressPolicy.strict()
    async with Service(tmp_path / "w.db", folder, address_policy=policy) as service:
        event = await ending(service, service.upload(f"https://{name}/"))
    assert (event.kind, event.error_code) == (EventKind.FAILED, ErrorCode.SECURITY_VIOLATION), found


async def test_a_redirect_to_a_forbidden_address_is_not_followed(service: Service) -> None:
    for target in ("http://169.254.169.254/latest/", "http://[::1]:1/", "https://10.0.0.1/"):
        move = Answer(status=307, headers={"Location": target})
        async with FlakyServer(script=[move]) as server:
            task = service.upload(server.url) | {"retry": {"max_retries": 0}}
            event = await ending(service, task)
        assert event.kind is EventKind.FAILED
        assert len(server.requests) == 1
