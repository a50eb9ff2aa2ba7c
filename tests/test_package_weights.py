"""What becomes of a training's weights before they are packaged."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "package_weights.py"


@pytest.fixture(scope="module")
def package_weights() -> ModuleType:
    sys.path.insert(0, str(SCRIPT.parent))  # cards.py stands beside it
    spec = importlib.util.spec_from_file_location("package_weights", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return module


def test_a_mixture_of_weights_and_statistics(package_weights: ModuleType) -> None:
    new, old = (nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)) for _ in range(2))
    old(torch.rand(2, 3, 4, 4))
    before = {name: value.clone() for name, value in new.state_dict().items()}
    package_weights.mix(new, old, 0.25)
    for name, value in new.state_dict().items():
        theirs = old.state_dict()[name]
        expected = before[name] if name == "1.num_batches_tracked" else 0.75 * before[name] + 0.25 * theirs
        torch.testing.assert_close(value, expected)
    assert new[1].num_batches_tracked != old[1].num_batches_tracked


@pytest.mark.parametrize(
    "words", [["--before", "a.safetensors"], ["--share", "0.2"], ["--before", "a", "--share", "0"]]
)
def test_a_mixture_needs_weights_and_share(
    words: list[str], package_weights: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["package_weights.py", "net", "run", "--data", "d", "--command", "c", *words])
    with pytest.raises(SystemExit):
        package_weights.main()
    assert "--before FILE and --share, between 0 and 1, go together" in capsys.readouterr().err


def test_the_maintainers_folders_are_not_told(package_weights: ModuleType) -> None:
    told = {"init": "/home/me/runs/enet", "stages": [{"teacher": "/data/t.pth", "epochs": 3}], "licence": "CC / BY"}
    found = package_weights.without_folders(told)
    assert found == {"init": "enet", "stages": [{"teacher": "t.pth", "epochs": 3}], "licence": "CC / BY"}


def test_commands_are_a_numbered_list_with_remarks(package_weights: ModuleType) -> None:
    assert package_weights.commands_text(["fleetseg train a", "fleetseg train b # stopped after 3 epochs"]) == (
        "1. `fleetseg train a`\n2. `fleetseg train b`: stopped after 3 epochs"
    )


def test_stages_with_their_epochs(package_weights: ModuleType) -> None:
    rows = [{"stage": stage, "seconds": "1800"} for stage in ("encoder", "encoder", "network")]
    assert package_weights.stages_text(rows) == "encoder 2 epochs, network 1 epoch"
    assert package_weights.hours(rows) == 1.5
