"""However much a request asks for, others have their turns of the event loop meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from tests.service.kit import NOWHERE, Service

from outhaul.service import handlers, specs

LATER = {"trigger": {"type": "one_time", "initial_delay_ms": 3_600_000}}


async def test_many_tasks_are_checked_a_few_in_each_turn(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = 0
    checked_in: list[int] = []
    check = specs.task

    async def turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def noted(*args: Any, **more: Any) -> object:  # noqa: ANN401 — those of `specs.task`
        checked_in.append(turn)
        return check(*args, **more)

    monkeypatch.setattr(specs, "task", noted)
    counting = asyncio.create_task(turns())
    answer = await service.enqueue([service.upload(NOWHERE) | LATER] * 1000)
    counting.cancel()
    assert (answer.status, len(checked_in)) == (201, 1000)
    in_one = [len(list(those)) for _, those in itertools.groupby(checked_in)]
    assert max(in_one) == handlers.SLICE
