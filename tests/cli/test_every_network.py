"""Every registered network through ``evaluate``, ``predict`` and ``benchmark``, from a file of weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fleetseg.cli import main
from fleetseg.data import open_dataset
from fleetseg.labels import CAMVID_11
from fleetseg.models import network_names
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint

#: One with logits of an eighth of the image's size, and one with pooling indices.
QUICK = ("espnet-c", "segnet-basic")
SIZE = (64, 48)


@pytest.fixture(
    params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in network_names()]
)
def weights(
    request: pytest.FixtureRequest,
    random_network: Callable[..., Any],
    metadata_of: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A checkpoint of CamVid's classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    network = random_network(request.param, CAMVID_11.num_classes, seed=4)
    fields = {"classes": CAMVID_11.names, "palette": CAMVID_11.palette, "train_size": SIZE}
    path = tmp_path / f"{request.param}.safetensors"
    save_checkpoint(path, network, metadata_of(network, request.param, **fields))
    return path


def test_evaluate_predict_and_benchmark(weights: Path, tmp_path: Path) -> None:
    """The mask is the arg-max of the network's own logits, the matrix counts those masks, engines agree."""
    size = f"{SIZE[0]}x{SIZE[1]}"
    scene = open_dataset("scenes:1", "val")[0]
    small = np.asarray(Image.fromarray(scene.image).resize(SIZE))
    Image.fromarray(small).save("street.png")
    assert main(["predict", str(weights), "street.png", "--size", size, "--out", "masks"]) == 0
    mask = np.asarray(Image.open("masks/street.png"))
    logits = own_logits(weights, small)
    best = np.sort(logits, axis=0)
    sure = best[-1] - best[-2] > 1e-3 * max(1.0, float(np.abs(logits).max()))
    assert (mask == logits.argmax(0))[sure].all()

    assert main(["evaluate", str(weights), "--data", "scenes:1", "--size", size, "--json", "figures.json"]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert np.sum(figures["confusion_matrix"]) == (scene.mask != 255).sum()

    words = ["benchmark", str(weights), "--size", size, "--trials", "2", "--threads", "1", "--json", "speed.json"]
    assert main([*words, "--engine", "onnxruntime:fp32"]) == 0
    (result,) = json.loads((tmp_path / "speed.json").read_text())["results"]
    assert result["median_ms"] > 0
    assert result["agreement"] > 99


def own_logits(weights: Path, image: np.ndarray) -> np.ndarray:
    """(C, H, W) of PyTorch, enlarged where the network ends at an eighth of the image's size."""
    network, metadata = load_checkpoint(weights)
    batch = torch.from_numpy(metadata.normalisation.apply(image))
    with torch.no_grad():
        logits = network(batch if batch.ndim == 4 else batch[None])
        if network.output_stride != 1:
            sides = image.shape[:2]
            logits = torch.nn.functional.interpolate(logits, size=sides, mode="bilinear", align_corners=False)
    return logits[0].numpy()
