"""The look-up of all secrets of an attempt: it is answered once, and in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import pytest
from tests.concurrency.test_stopping import Reports

from outhaul import Secret, secret_lookup, usercode
from outhaul.bridge import Bridge
from outhaul.secret_lookup import SecretLookups
from outhaul.secrets import Provider
from outhaul.wire import SecretRef

VALUE = "hunter2"

Ask = Callable[..., Reports]


@pytest.fixture
async def ask(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ask]:
    """Begins to look up secrets for the first attempt at task 1."""
    monkeypatch.setattr(secret_lookup, "RESOLVE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(usercode, "GIVEN_UP_AFTER_S", 0.05)
    opened: list[SecretLookups] = []

    def ask(refs: list[SecretRef], providers: Mapping[str, Provider]) -> Reports:
        reports, lookups = Reports(), SecretLookups(providers)
        lookups.open(cast("Bridge", reports), threads_max=1)
        opened.append(lookups)
        lookups.resolve(1, 1, [(ref.source, ref.name, ref.prefix) for ref in refs])
        return reports

    yield ask
    for lookups in opened:
        await lookups.close()


async def answer(reports: Reports) -> tuple[Any, ...]:
    """What the core is told, and nothing else for a while."""
    async with asyncio.timeout(5):
        while not reports.told:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    (told,) = reports.told
    return told


async def soon() -> str:
    await asyncio.sleep(0.02)
    return VALUE


async def never() -> str:
    await asyncio.Event().wait()
    return VALUE


async def stubborn() -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0.03)
    return VALUE


@pytest.mark.parametrize("kind", ["a coroutine", "one that heeds no cancellation", "a function"])
async def test_a_provider_that_never_answers_is_named_after_a_while(ask: Ask, kind: str) -> None:
    let_go = threading.Event()

    def hangs() -> str:
        let_go.wait(20)
        return VALUE

    kinds: dict[str, Provider] = {
        "a coroutine": never,
        "one that heeds no cancellation": stubborn,
        "a function": hangs,
    }
    refs = [Secret.provider("soon"), Secret.provider("never")]
    told = await answer(ask(refs, {"soon": soon, "never": kinds[kind]}))
    said = "the secret provider:never was not there within 0.05 s"
    assert told == ("withhold", 1, 1, said, True)
    let_go.set()


async def test_the_time_is_for_all_secrets_of_an_attempt_together(ask: Ask) -> None:
    told = await answer(ask([Secret.provider("x")] * 10, {"x": soon}))
    assert told[0] == "withhold"


async def test_many_secrets_come_in_the_order_they_were_asked_for(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "a")
    monkeypatch.setenv("OTHER", "b")
    refs = [Secret.provider("x"), Secret.env("TOKEN"), Secret.env("OTHER", prefix="Bearer ")]
    assert await answer(ask(refs, {"x": soon})) == ("provide", 1, 1, [VALUE, "a", "Bearer b"])


@pytest.mark.parametrize("turns", range(4))
async def test_a_look_up_that_somebody_cancels_at_whatever_moment_is_made_again(
    ask: Ask, turns: int
) -> None:
    """With none of the loop's turns in between it has not even begun."""
    before = asyncio.all_tasks()
    reports = ask([Secret.provider("x")], {"x": never})
    (task,) = asyncio.all_tasks() - before
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    assert await answer(reports) == ("interrupted", 1, 1)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        pytest.param(
            "cannot schedule new futures after interpreter shutdown",
            [("interrupted", 1, 1), ("claim_no_more",)],
            id="nor ever will be",
        ),
        pytest.param(
            "can't start new thread",
            [
                (
                    "withhold",
                    1,
                    1,
                    "no thread can be had to look up a secret: can't start new thread",
                    True,
                )
            ],
            id="now",
        ),
    ],
)
@pytest.mark.parametrize("ref", [Secret.file("/etc/hosts"), Secret.provider("x")], ids=str)
async def test_a_secret_for_which_no_thread_can_be_had_is_looked_up_again(
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    ref: SecretRef,
    message: str,
    told: list[tuple[Any, ...]],
) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", fails)
    reports = ask([ref], {"x": lambda: VALUE})
    await asyncio.sleep(0.01)
    assert reports.told == told
