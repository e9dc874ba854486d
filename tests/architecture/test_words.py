"""Rust and Python say the same words: read from the Rust sources, so that neither can drift."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import pytest

from outhaul import (
    ErrorCode,
    EventKind,
    ExistingTaskPolicy,
    NetworkType,
    TaskStatus,
    WaitingOn,
    errors,
    wire,
)
from outhaul.arguments import DURATION_MS_MAX
from outhaul.signals import Signal

CORE = Path(__file__).parents[2] / "rust" / "core" / "src"
MODEL = CORE / "model"


def members(file: str, kind: str, name: str) -> list[str]:
    source = (MODEL / file).read_text()
    found = re.search(rf"pub {kind} {name} {{\n(.*?)\n}}", source, re.DOTALL)
    assert found, f"{name} is not in {file}"
    pattern = r"^    pub (\w+):" if kind == "struct" else r"^    (\w+)"
    return re.findall(pattern, found[1], re.MULTILINE)


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize(
    ("file", "name", "words"),
    [
        ("error.rs", "ErrorCode", [code.value.lower() for code in ErrorCode]),
        ("event.rs", "EventKind", [kind.value for kind in EventKind]),
        ("state.rs", "TaskStatus", [status.value for status in TaskStatus]),
        ("spec.rs", "NetworkType", [network.value for network in NetworkType]),
        ("spec.rs", "ExistingPolicy", [policy.value for policy in ExistingTaskPolicy]),
    ],
)
def test_an_enum_has_the_same_words_in_the_same_order(
    file: str, name: str, words: list[str]
) -> None:
    assert [snake(member) for member in members(file, "enum", name)] == words


@pytest.mark.parametrize(
    ("name", "struct"),
    [
        ("TaskSpec", wire.TaskSpec),
        ("HttpUploadSpec", wire.HttpUploadSpec),
        ("PythonSpec", wire.PythonSpec),
        ("ConstraintsSpec", wire.ConstraintsSpec),
        ("RetrySpec", wire.RetrySpec),
        ("SecretRef", wire.SecretRef),
    ],
)
def test_a_wire_struct_has_the_same_members(name: str, struct: type[msgspec.Struct]) -> None:
    assert members("spec.rs", "struct", name) == list(struct.__struct_fields__)


def test_every_refusal_of_the_core_has_a_class() -> None:
    for member in members("error.rs", "enum", "FaultCode"):
        error = errors.from_core(snake(member).upper(), "", "")
        assert type(error) is not errors.InternalError or member == "Internal", member


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("WAIT_MAX_MS", DURATION_MS_MAX),
        ("RETRIES_MAX", wire.RETRIES_MAX),
        ("MULTIPLIER_MAX", wire.MULTIPLIER_MAX),
    ],
)
def test_a_bound_is_the_same_in_python_and_in_the_core(name: str, bound: float) -> None:
    source = (CORE / "runtime" / "admission" / "checks.rs").read_text()
    found = re.search(rf"const {name}: \w+ = ([\d_. *]+);", source)
    assert found
    assert math.prod(float(factor) for factor in found[1].split("*")) == bound


@pytest.mark.parametrize("fact", Signal)
def test_a_fact_about_the_host_is_the_constraint_bit_of_that_name(fact: Signal) -> None:
    source = (MODEL / "constraint.rs").read_text()
    assert f"pub const {fact.name}: Needs = {fact.value};" in source


def test_a_task_waits_for_the_same_things_in_python_and_in_the_core() -> None:
    source = (CORE / "store" / "sqlite" / "reader" / "tasks.rs").read_text()
    found = re.search(r"^fn waiting_on.*?^}", source, re.DOTALL | re.MULTILINE)
    assert found
    assert set(re.findall(r'"(\w+)"', found[0])) == {waiting.value for waiting in WaitingOn}
