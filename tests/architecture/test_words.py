"""Rust and Python say the same words: read from the Rust sources, so that neither can drift."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from outhaul import (
    ErrorCode,
    EventKind,
    ExistingTaskPolicy,
    NetworkType,
    TaskContext,
    TaskStatus,
    WaitingOn,
    errors,
    wire,
)
from outhaul.arguments import DURATION_MS_MAX
from outhaul.bridge import EVERYBODY
from outhaul.signals import Signal
from outhaul.workers import INPUT_BYTES_MAX

RUST = Path(__file__).parents[2] / "rust"
CORE = RUST / "core" / "src"
MODEL = CORE / "model"
RUNTIME = CORE / "runtime"
BATCH = RUST / "binding" / "src" / "batch.rs"


def members(file: str, kind: str, name: str) -> list[str]:
    source = (MODEL / file).read_text()
    found = re.search(rf"pub {kind} {name} {{\n(.*?)\n}}", source, re.DOTALL)
    assert found, f"{name} is not in {file}"
    pattern = r"^    pub (\w+):" if kind == "struct" else r"^    (\w+)"
    return re.findall(pattern, found[1], re.MULTILINE)


def function(path: Path, name: str) -> str:
    pattern = rf"^( *)(?:pub )?(?:const )?fn {name}\b.*?^\1}}$"
    found = list(re.finditer(pattern, path.read_text(), re.DOTALL | re.MULTILINE))
    assert len(found) == 1, f"{len(found)} functions {name} are in {path.name}"
    return found[0][0]


def constant(path: Path, name: str) -> float:
    found = re.search(rf"const {name}: \w+ = ([\d_. *]+);", path.read_text())
    assert found, f"{name} is not in {path.name}"
    return math.prod(float(factor) for factor in found[1].split("*"))


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
        ("spec.rs", "UploadMethod", [method.lower() for method in get_args(wire.Method)]),
        ("spec.rs", "BodyKind", list(get_args(wire.Body))),
        ("spec.rs", "SecretSource", list(get_args(wire.SecretSource))),
    ],
)
def test_an_enum_has_the_same_words_in_the_same_order(
    file: str, name: str, words: list[str]
) -> None:
    assert [snake(member) for member in members(file, "enum", name)] == words


@pytest.mark.parametrize(("file", "words"), [("state.rs", TaskStatus), ("event.rs", EventKind)])
def test_the_same_words_are_ends(file: str, words: type[TaskStatus | EventKind]) -> None:
    ends = re.findall(r"Self::(\w+)", function(MODEL / file, "is_terminal"))
    assert {snake(end) for end in ends} == {word.value for word in words if word.is_terminal}


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
    assert constant(RUNTIME / "admission" / "checks.rs", name) == bound


def test_the_core_stores_the_largest_input() -> None:
    assert constant(RUNTIME / "admission" / "mod.rs", "SPEC_BYTES_MAX") > INPUT_BYTES_MAX


def test_an_answer_to_everybody_has_the_same_number() -> None:
    assert constant(RUNTIME / "supervisor.rs", "EVERYBODY") == EVERYBODY


@pytest.mark.parametrize("fact", Signal)
def test_a_fact_about_the_host_is_the_constraint_bit_of_that_name(fact: Signal) -> None:
    source = (MODEL / "constraint.rs").read_text()
    assert f"pub const {fact.name}: Needs = {fact.value};" in source


def test_a_task_waits_for_the_same_things_in_python_and_in_the_core() -> None:
    said = function(CORE / "store" / "sqlite" / "reader" / "tasks.rs", "waiting_on")
    assert set(re.findall(r'"(\w+)"', said)) == {waiting.value for waiting in WaitingOn}


def test_a_secret_is_asked_for_where_the_task_says() -> None:
    named = re.findall(r'SecretSource::(\w+) => "(\w+)"', function(BATCH, "secret"))
    assert [name for _, name in named] == list(get_args(wire.SecretSource))
    assert [snake(source) for source, _ in named] == [name for _, name in named]


def test_a_callback_is_told_all_reasons_to_stop() -> None:
    documented = re.findall(r"`(\w+)`\s+\(", TaskContext.__doc__ or "")
    assert documented
    assert sorted(re.findall(r'"(\w+)"', function(BATCH, "stop_reason"))) == sorted(documented)
