"""Tasks in JSON are the tasks of the wire, their members by name."""

from __future__ import annotations

import msgspec
import pytest

from outhaul import (
    Constraints,
    ExistingTaskPolicy,
    NativeWorker,
    RetryPolicy,
    Secret,
    Task,
    TaskTrigger,
    wire,
)
from outhaul.service import named
from outhaul.wire import SecretRef


@pytest.mark.parametrize(
    ("placed", "by_name"),
    [
        (wire.SecretRef, named.SecretRef),
        (wire.HttpUploadSpec, named.HttpUploadSpec),
        (wire.OneTimeSpec, named.OneTimeSpec),
        (wire.ConstraintsSpec, named.ConstraintsSpec),
        (wire.RetrySpec, named.RetrySpec),
        (wire.TaskSpec, named.NewTask),
    ],
)
def test_json_has_the_members_and_the_defaults_of_the_wire(
    placed: type[msgspec.Struct], by_name: type[msgspec.Struct]
) -> None:
    def members(kind: type[msgspec.Struct]) -> list[tuple[str, str, object]]:
        found = msgspec.structs.fields(kind)
        return [(each.name, repr(each.default), each.default_factory) for each in found]

    assert members(by_name) == members(placed)


def test_a_task_comes_back_from_its_names_as_it_was() -> None:
    headers: dict[str, str | SecretRef] = {
        "Authorization": Secret.env("TOKEN", prefix="Bearer "),
        "X-Id": "7",
    }
    worker = NativeWorker.http_upload(url="https://example.org/", file_path="/a", headers=headers)
    task = Task(
        "a",
        worker,
        trigger=TaskTrigger.one_time(5),
        constraints=Constraints(battery_not_low=True),
        existing_policy=ExistingTaskPolicy.REPLACE,
        retry=RetryPolicy(max_retries=0),
        tag="t",
        priority=-1,
    )
    assert isinstance(task.wire.worker, wire.HttpUploadSpec)
    upload = named.upload_by_name(task.wire.worker)
    assert isinstance(upload.headers, list)
    assert isinstance(upload.headers[0][1], named.SecretRef)
    there = named.by_name(task.wire, upload)
    back = named.by_position(there, named.upload_by_position(upload))
    assert back == task.wire
    assert wire.encode(back) == task.encoded
