"""Every error has one public home, survives pickle, and stands in the tree of its module."""

from __future__ import annotations

import inspect
import pickle

import pytest

from outhaul import errors
from outhaul.errors import OuthaulError

CLASSES = [
    cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, OuthaulError)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_pickle(cls: type[OuthaulError]) -> None:
    error = cls("is empty", argument="url")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (str(again), again.code, again.argument) == ("url: is empty", cls.code, "url")


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_names_its_public_home(cls: type[OuthaulError]) -> None:
    assert cls.__module__ == "outhaul.errors"
    assert cls.__name__ == "OuthaulError" or cls.__name__.endswith("Error")
    assert str(cls())


@pytest.mark.parametrize("cls", CLASSES)
def test_the_tree_shows_every_error(cls: type[OuthaulError]) -> None:
    assert errors.__doc__ is not None
    assert f" {cls.__name__} " in errors.__doc__.replace("\n", " ")


def test_no_two_errors_share_a_code() -> None:
    assert len({cls.code for cls in CLASSES}) == len(CLASSES)
