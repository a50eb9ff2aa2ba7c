"""docs/networks.md: its names, counts, options and recipe are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from fleetseg.models import build_network, network_entry, network_names
from fleetseg.models.base import count_parameters
from fleetseg.training.recipe_file import load_recipe

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
#: Rows of the first table: names, network, formulas, in print, options.
NETWORKS = [row for row in ROWS if len(row) == 5 and " C" in row[2]]


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def count_by(formula: str, classes: int) -> int:
    """A sum such as "134,260,544 + 4,867 C + 288 C²"."""
    powers = {"": 1, " C": classes, " C²": classes**2}
    terms = re.fullmatch(r"[\d,]+( C²?)?( \+ [\d,]+( C²?)?)*", formula)
    assert terms is not None, formula
    found = re.findall(r"([\d,]+)( C²?)?", formula)
    return sum(int(number.replace(",", "")) * powers[power] for number, power in found)


def test_every_compared_network_is_on_the_page() -> None:
    listed = {name for row in NETWORKS for name in words(row[0])}
    assert {name for name in network_names() if not name.startswith(("enet", "espnet"))} <= listed


def test_counts() -> None:
    for row in NETWORKS:
        formulas = row[2].split("; ")
        for name, formula in zip(words(row[0]), formulas, strict=True):
            for classes in (2, 19):
                with torch.device("meta"):
                    assert count_parameters(build_network(name, classes)) == count_by(formula, classes), name


def test_options() -> None:
    for row in NETWORKS:
        legal = network_entry(words(row[0])[0]).option_names()
        assert set(words(row[4])) <= {*legal, "width"}, row[0]
        assert ("width" in legal) == ("no `width`" not in row[4]), row[0]


def test_its_recipe_is_legal(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "segnet.yaml").write_text(block)
    assert load_recipe(str(tmp_path / "segnet.yaml")).network.name == "segnet"
