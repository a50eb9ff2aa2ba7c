"""Parsing and JSON that commands share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleetseg.cli.options import parse_size, to_json, write_json
from fleetseg.errors import OutputError, UsageError


@pytest.mark.parametrize("text", ["480x360", "480X360", "480×360", " 480 x 360 "])
def test_sizes(text: str) -> None:
    assert parse_size(text) == (480, 360)


@pytest.mark.parametrize("text", ["", "480", "480x", "x360", "0x360", "480x0", "-1x5", "4.5x3", "480x360x3", "big"])
def test_texts_that_are_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="WIDTHxHEIGHT in pixels is needed, such as 480x360"):
        parse_size(text)


def test_json_files(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"miou": 70.1, "none": None})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"miou": 70.1, "none": None}
    with pytest.raises(OutputError):
        write_json(tmp_path / "a" / "b.json" / "c.json", {})


def test_nan_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json(float("nan"))
