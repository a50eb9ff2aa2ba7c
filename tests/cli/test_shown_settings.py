"""Recipes change, and so do their stages: what help and pages show for --set and --key must still be keys of them."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from fleetseg.cli import main
from fleetseg.training.recipe_file import load_recipe, packaged_recipes
from fleetseg.training.search_space import read_keys

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *(page for page in (ROOT / "docs").glob("*.md") if page.name != "log.md")]


def shown(text: str) -> list[list[str]]:
    """The words of every `fleetseg train` and `fleetseg tune` of a packaged recipe."""
    lines = text.replace("\\\n", " ").splitlines()
    found = [match[0] for line in lines if (match := re.search(r"fleetseg (train|tune) [^`#]*", line))]
    commands = [shlex.split(command) for command in found]
    return [words for words in commands if len(words) > 2 and words[2] in packaged_recipes()]


def values(words: list[str], option: str) -> list[str]:
    """What follows each `option`."""
    return [after for word, after in pairwise(words) if word == option]


def check(commands: list[list[str]]) -> None:
    for words in commands:
        settings, keys = values(words, "--set"), values(words, "--key")
        if words[1] == "tune":
            assert read_keys(words[2], settings, keys), words
        else:
            assert load_recipe(words[2], settings), words


@pytest.mark.parametrize("command", [[], ["train"], ["tune"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    commands = shown(capsys.readouterr().out)
    assert commands
    check(commands)


def test_pages() -> None:
    commands = [words for page in PAGES for words in shown(page.read_text(encoding="utf-8"))]
    assert {words[1] for words in commands} == {"train", "tune"}
    check(commands)
