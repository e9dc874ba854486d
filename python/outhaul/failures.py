"""Tasks that fail for good are logged, whoever else hears of it: logger `outhaul.tasks`."""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from outhaul.human import printable
from outhaul.model import ErrorCode

_LOG: Final = logging.getLogger("outhaul.tasks")


class _Failure(msgspec.Struct, frozen=True):
    code: ErrorCode
    http_status: int | None
    message: str


class _FailedTask(msgspec.Struct, frozen=True):
    key: int
    attempt: int
    task_id: str
    failure: _Failure


_DECODER: Final = msgspec.msgpack.Decoder(_FailedTask)


def log_failed(encoded: bytes) -> None:
    """Logs at ERROR that a task has failed, with its facts as the record's `outhaul`."""
    failed = _DECODER.decode(encoded)
    failure = failed.failure
    facts = {
        "task_id": failed.task_id,
        "key": failed.key,
        "attempt": failed.attempt,
        "error_code": failure.code.value,
        "http_status": failure.http_status,
    }
    _LOG.error(
        "%s: failed at attempt %d: %s",
        printable(failed.task_id),
        failed.attempt,
        printable(failure.message),
        extra={"outhaul": facts},  # under one name, since an application may have its own
    )
