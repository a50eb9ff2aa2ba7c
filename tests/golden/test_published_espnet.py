"""The published ESPNet weights give the published code's outputs and figures, through the public interface."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fleetseg
from fleetseg.cli import main

pytestmark = pytest.mark.shared

NAMES = ("espnet_p_2_q_8", "espnet_c_p_2_q_8", "espnet_p_2_q_8_camvid")


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_the_golden_ones(shared_folder: Path, name: str) -> None:
    golden = np.load(shared_folder / "reference" / "espnet" / f"{name}.golden.npz")
    model = fleetseg.load(shared_folder / "reference" / "espnet" / f"{name}.pth")
    logits = model.logits(np.ascontiguousarray(golden["image_bgr"][..., ::-1]))
    assert logits.dtype == np.float32 and logits.shape == golden["logits"].shape
    assert np.abs(logits - golden["logits"]).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("options", "miou"), [([], 70.10), (["--count-unlabelled"], 68.68)])
def test_camvid_val_figures(shared_folder: Path, tmp_path: Path, options: list[str], miou: float) -> None:
    weights = shared_folder / "reference" / "espnet" / "espnet_p_2_q_8_camvid.pth"
    report = tmp_path / "report.json"
    command = ["evaluate", str(weights), "--data", str(shared_folder / "camvid"), "--split", "val"]
    assert main([*command, "--json", str(report), *options]) == 0
    figures = json.loads(report.read_text())
    assert figures["images"] == 101
    assert figures["miou"] == pytest.approx(miou, abs=0.05)
    if not options:
        assert figures["class_average_accuracy"] == pytest.approx(79.71, abs=0.05)
        assert figures["global_accuracy"] == pytest.approx(92.68, abs=0.05)
        published = [94.7, 84.5, 12.1, 96.8, 86.8, 90.7, 40.4, 70.9, 81.3, 42.8, 70.2]
        assert list(figures["class_iou"].values()) == pytest.approx(published, abs=0.06)
