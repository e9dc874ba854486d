"""Errors: what a program finds in them, and how the core's refusals become them."""

from __future__ import annotations

import pytest

from outhaul import errors
from outhaul.errors import OuthaulError, from_core


@pytest.mark.parametrize(
    ("code", "also"),
    [
        ("INVALID_ARGUMENT", ValueError),
        ("FILE_NOT_FOUND", FileNotFoundError),
        ("PERMISSION_DENIED", PermissionError),
        ("SECURITY_VIOLATION", ValueError),
        ("PLAIN_SECRET", ValueError),
        ("UNKNOWN_CALLBACK", ValueError),
        ("NOT_FOUND", LookupError),
        ("CLOSED", RuntimeError),
        ("STORE_FULL", errors.StoreError),
    ],
)
def test_a_refusal_is_also_what_users_already_catch(code: str, also: type[Exception]) -> None:
    error = from_core(code, "url", "is empty")
    assert isinstance(error, also)
    assert isinstance(error, OuthaulError)
    assert (error.code, error.argument, error.message) == (code, "url", "is empty")
    assert str(error) == "url: is empty"


def test_a_code_nobody_knows_is_our_own_mistake() -> None:
    error = from_core("NEW", "", "what it said")
    assert isinstance(error, errors.InternalError)
    assert "NEW" in str(error)
    assert "what it said" in str(error)


def test_a_message_is_never_empty() -> None:
    assert str(from_core("QUEUE_FULL", "", "")).startswith("The queue is at its bound")
