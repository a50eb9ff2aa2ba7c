"""The public surface: a change here is a change for users."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fleetseg

SOURCE = Path(fleetseg.__file__).parent


def test_public_names() -> None:
    assert fleetseg.__all__ == sorted(fleetseg.__all__)
    assert fleetseg.__all__ == ["FleetsegError", "Model", "__version__", "compile", "load", "packaged_models"]
    for name in fleetseg.__all__:
        assert getattr(fleetseg, name) is not None
        assert name in dir(fleetseg)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fleetseg' has no attribute 'laod'"):
        fleetseg.laod  # noqa: B018


def test_every_module_says_what_it_is() -> None:
    for path in SOURCE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_packaged_models_load_under_their_names() -> None:
    names = fleetseg.packaged_models()
    assert set(names) >= {"enet-camvid", "espnet-camvid"}
    for name in names:
        model = fleetseg.load(name)
        assert model.metadata.name == name
        assert model.metadata.train_size is not None
        assert "research" in model.metadata.licence
