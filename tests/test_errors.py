"""The exception tree is the one its docstring draws, with its exit statuses."""

from __future__ import annotations

import inspect
import re

import pytest

from fleetseg import errors
from fleetseg.errors import FleetsegError, MissingExtraError, UnknownNameError, UsageError


def all_errors() -> dict[str, type[FleetsegError]]:
    classes = inspect.getmembers(errors, inspect.isclass)
    return {name: cls for name, cls in classes if issubclass(cls, FleetsegError) and cls.__module__ == errors.__name__}


def drawn_tree() -> dict[str, str | None]:
    """Name → parent, read off the docstring's drawing."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^ {4}((?:│ {3}| {4})*)([├└]── )?(\w+Error)\b", line)
        if found:
            depth = len(found[1]) // 4 + (1 if found[2] else 0)
            path[depth:] = [found[3]]
            parents[found[3]] = path[depth - 1] if depth else None
    return parents


def test_the_drawing_is_the_tree() -> None:
    actual = {name: None if cls is FleetsegError else cls.__mro__[1].__name__ for name, cls in all_errors().items()}
    assert drawn_tree() == actual


@pytest.mark.parametrize("name", sorted(all_errors()))
def test_exit_status_says_whose_fault_it_is(name: str) -> None:
    cls = all_errors()[name]
    assert cls.exit_status == (2 if issubclass(cls, UsageError) else 1)
    assert cls.__doc__


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("enet-camvit", ["espnet-camvid", "enet-camvid"], "did you mean enet-camvid or espnet-camvid?"),
        ("xyz", ["b", "a"], "known: a, b."),
        ("xyz", [], "none exists."),
    ],
)
def test_unknown_names_offer_what_is_known(name: str, known: list[str], sentence: str) -> None:
    error = UnknownNameError("packaged model", name, known)
    assert str(error) == f"There is no packaged model '{name}'; {sentence}"
    assert error.name == name


def test_missing_extra_is_the_install_line() -> None:
    error = MissingExtraError("training", "train")
    assert str(error) == "training needs an extra: pip install 'fleetseg[train]'"
    assert (error.extra, error.exit_status) == ("train", 2)
