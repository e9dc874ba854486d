"""Who may ask: a token, the hosts that are ours; and what a service must not be opened with."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.service.kit import JSON, Answer, Service

from outhaul import AddressPolicy, WorkManager
from outhaul.errors import InvalidArgumentError, InvalidTypeError
from outhaul.service import create_app

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
async def guarded(tmp_path: Path, folder: Path) -> AsyncIterator[Service]:
    async with Service(tmp_path / "w.db", folder, token=TOKEN) as service:
        yield service


def bearing(value: str) -> dict[str, str]:
    return {"Authorization": value}


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
     f"Bearer {TOKEN.upper()}", f"Bearer x {TOKEN}", "Bearer \udcff"],
)  # fmt: skip
async def test_whoever_bears_no_token_is_kept_out(guarded: Service, given: str) -> None:
    headers = bearing(given.encode("utf-8", "surrogateescape").decode("latin-1")) if given else {}
    asked: list[Answer] = [
        await guarded.ask("GET", path, headers=headers)
        for path in ("/v1/tasks", "/v1/events", "/v1/tasks/healthz", "/nowhere", "/v1/openapi.json")
    ]
    body = {"data": b"[]", "headers": headers | JSON}
    asked.append(await guarded.ask("POST", "/v1/tasks", **body))
    asked.append(await guarded.ask("DELETE", "/v1/tasks?all=true", headers=headers))
    for answer in asked:
        assert (answer.status, answer.field) == (401, "Authorization")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in str(answer.body)


async def test_whoever_bears_the_token_gets_in(guarded: Service) -> None:
    for given in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
        assert (await guarded.ask("GET", "/v1/stats", headers=bearing(given))).status == 200
    nowhere = await guarded.ask("GET", "/nowhere", headers=bearing(f"Bearer {TOKEN}"))
    assert nowhere.status == 404


async def test_who_watches_may_ask_for_the_status_alone(guarded: Service) -> None:
    for path in ("/healthz", "/readyz"):
        async with guarded.session.head(path) as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert await answer.read() == b""


async def test_health_and_the_document_are_open(guarded: Service) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert (await guarded.ask("GET", path)).status == 200
    said = (await guarded.ask("GET", "/openapi.json")).body
    assert said["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "security" not in said["paths"]["/healthz"]["get"]
    assert said["paths"]["/v1/tasks"]["post"]["security"] == [{"token": []}]


def test_the_token_is_not_kept(tmp_path: Path, folder: Path) -> None:
    secret = "".join(reversed(TOKEN))
    strict = AddressPolicy.strict()
    manager = WorkManager(tmp_path / "w.db", allowed_roots=[folder], address_policy=strict)
    app = create_app(manager, token=secret)
    seen: set[int] = set()
    todo: list[object] = [app]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or len(seen) > 20_000:
            continue
        seen.add(id(thing))
        assert thing != secret
        todo += [each for each in gc.get_referents(thing) if not isinstance(each, type)]
    assert len(seen) > 100


async def test_tokens_are_compared_by_digest_in_a_time_that_tells_nothing(
    guarded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr("hmac.compare_digest", noted)
    for given in (TOKEN, "x", "x" * 8000):
        await guarded.ask("GET", "/v1/stats", headers=bearing(f"Bearer {given}"))
    digest = hashlib.sha256(TOKEN.encode()).digest()
    assert [other for _, other in compared] == [digest] * 3
    assert [len(one) for one, _ in compared] == [len(digest)] * 3


def test_one_name_where_several_are_meant_is_refused(tmp_path: Path, folder: Path) -> None:
    """A string would be as many names as it has characters."""
    strict = AddressPolicy.strict()
    manager = WorkManager(tmp_path / "w.db", allowed_roots=[folder], address_policy=strict)
    for wrong in ({"hosts": "localhost"}, {"allow_secrets": "API_TOKEN"}, {"token": 5}):
        with pytest.raises(InvalidTypeError) as refused:
            create_app(manager, **wrong)
        assert refused.value.argument in wrong


@pytest.mark.parametrize("token", ["", "short", "x" * 15])
def test_a_short_token_is_refused(tmp_path: Path, folder: Path, token: str) -> None:
    strict = AddressPolicy.strict()
    manager = WorkManager(tmp_path / "w.db", allowed_roots=[folder], address_policy=strict)
    with pytest.raises(InvalidArgumentError) as refused:
        create_app(manager, token=token)
    assert refused.value.argument == "token"
    assert not token or token not in str(refused.value)


async def test_a_name_that_is_not_ours_is_not_answered(tmp_path: Path, folder: Path) -> None:
    """A page could let its own name mean this address, and read what we answer (DNS rebinding)."""
    hosts = ["LocalHost", "127.0.0.1", "[::1]"]
    async with Service(tmp_path / "w.db", folder, hosts=hosts) as service:
        for host in ("localhost", "LOCALHOST:1", f"127.0.0.1:{service.port}", "[::1]:80", "[::1]"):
            answer = await service.ask("GET", "/v1/stats", headers={"Host": host})
            assert answer.status == 200, host
        wrong = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::"]
        wrong += ["[::1]evil", "[::1]:x", "localhost:80@evil", "localhost:80:80", "localhost:-1"]
        for host in wrong:
            for path in ("/v1/stats", "/healthz", "/openapi.json"):
                answer = await service.ask("GET", path, headers={"Host": host})
                assert (answer.status, answer.field) == (421, "Host"), host


async def test_who_names_no_host_is_not_answered(tmp_path: Path, folder: Path) -> None:
    """HTTP/1.0 may leave it out; aiohttp would take the address that was connected to."""
    async with Service(tmp_path / "w.db", folder, hosts=["127.0.0.1"]) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"GET /v1/stats HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 421 ")
        writer.close()


async def test_no_other_origin_may_read_what_we_answer(service: Service) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method, path in (("GET", "/v1/stats"), ("OPTIONS", "/v1/tasks"), ("GET", "/healthz")):
        answer = await service.ask(method, path, headers=headers)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert answer.status == (405 if method == "OPTIONS" else 200)


def test_a_manager_that_would_send_anything_anywhere_is_refused(
    tmp_path: Path, folder: Path
) -> None:
    strict = AddressPolicy.strict()
    for manager, what in (
        (WorkManager(tmp_path / "w.db"), "allowed_roots"),
        (WorkManager(tmp_path / "w.db", address_policy=strict), "allowed_roots"),
        (WorkManager(tmp_path / "w.db", allowed_roots=[folder]), "address_policy"),
    ):
        with pytest.raises(InvalidArgumentError, match=what) as refused:
            create_app(manager)
        assert refused.value.argument == "manager"
        create_app(manager, trusted=True)
    with pytest.raises(InvalidTypeError):
        create_app(tmp_path)  # type: ignore[arg-type]  # the point
    with pytest.raises(InvalidArgumentError):
        WorkManager(tmp_path / "w.db", allowed_roots=[])
