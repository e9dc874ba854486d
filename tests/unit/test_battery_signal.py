"""When the battery counts as low (S-072, S-073): on power supplies made of files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outhaul.signals import BatterySignal

Supply = dict[str, str]


def supplies(folder: Path, *described: Supply) -> str:
    for number, facts in enumerate(described):
        supply = folder / f"supply{number}"
        supply.mkdir(exist_ok=True)
        for name, value in facts.items():
            (supply / name).write_text(f"{value}\n")
    return str(folder)


def battery(capacity: int, **facts: str) -> Supply:
    return {"type": "Battery", "capacity": str(capacity), **facts}


@pytest.mark.parametrize(
    ("described", "charged"),
    [
        pytest.param([], True, id="no battery is never low"),
        pytest.param([battery(16)], True, id="16 % is charged"),
        pytest.param([battery(15)], False, id="15 % is low"),
        pytest.param([battery(80), battery(3)], True, id="one of two may be empty"),
        pytest.param([battery(25), battery(3)], False, id="two are low together"),
        pytest.param(
            [battery(3), {"type": "Mains", "online": "1"}], True, id="on mains it is not low"
        ),
        pytest.param(
            [battery(3), {"type": "Mains", "online": "0"}], False, id="an unplugged charger is none"
        ),
        pytest.param([battery(3, scope="Device")], True, id="a mouse is not the host"),
        pytest.param([{"type": "Battery"}], True, id="a battery that tells nothing is not low"),
    ],
)
def test_a_battery_is_low_when(tmp_path: Path, described: list[Supply], charged: bool) -> None:
    signal = BatterySignal(lambda _: None, supplies=supplies(tmp_path, *described))
    assert signal.read() is charged


def test_a_host_without_power_supplies_is_never_low(tmp_path: Path) -> None:
    assert BatterySignal(lambda _: None, supplies=str(tmp_path / "none")).read() is True


async def test_a_low_battery_counts_as_charged_again_only_from_20_percent(tmp_path: Path) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    signal = BatterySignal(told.put_nowait, supplies=supplies(tmp_path, battery(10)))
    signal.start(asyncio.get_running_loop())
    assert await told.get() is False
    supplies(tmp_path, battery(19))
    assert await asyncio.to_thread(signal.read) is False
    supplies(tmp_path, battery(20))
    assert await asyncio.to_thread(signal.read) is True
    signal.close()
