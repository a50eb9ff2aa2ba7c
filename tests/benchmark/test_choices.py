"""Words of --engine."""

from __future__ import annotations

import importlib.util

import pytest

from fleetseg.benchmark.choices import ENGINES, Choice, choose
from fleetseg.benchmark.engines import _MODULES
from fleetseg.compilation import PRECISIONS
from fleetseg.errors import UnknownNameError


def test_without_words_everything_and_nothing_is_asked_for() -> None:
    chosen = choose([])
    assert [(choice.engine, choice.precision) for choice in chosen] == [(e, p) for e in ENGINES for p in ENGINES[e]]
    assert {choice.asked for choice in chosen} == {""}
    assert ENGINES["native"] == PRECISIONS
    # Exported files are timed by a script: no word of `fleetseg benchmark` stands for them.
    assert set(_MODULES) == {*ENGINES, "file"}


def test_a_name_means_all_its_precisions_and_nothing_comes_twice() -> None:
    chosen = choose(["openvino:int8", "openvino", "opencv"])
    assert [str(choice) for choice in chosen] == ["openvino:int8", "openvino:fp32", "openvino:bf16", "opencv:fp32"]
    assert [choice.asked for choice in chosen] == ["openvino:int8", "openvino", "openvino", "opencv"]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("openvine", r"There is no engine 'openvine'; did you mean openvino"),
        ("opencv:int4", "There is no precision of opencv 'int4'; known: fp32"),
        ("", "There is no engine ''"),
    ],
)
def test_unknown_words(word: str, sentence: str) -> None:
    with pytest.raises(UnknownNameError, match=sentence):
        choose([word])


def test_what_is_missing_is_named_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    present: set[str] = {"openvino"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in present else None)
    assert Choice("openvino", "fp32").missing() == ""
    assert Choice("openvino", "int8").missing() == "nncf is not installed: pip install 'fleetseg[benchmark]'"
    assert Choice("ncnn", "fp32").missing() == "ncnn and pnnx are not installed: pip install 'fleetseg[benchmark]'"
    assert Choice("native", "fp32").missing() == ""
