"""A library in bf16 beside the interpreter of its graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fleetseg.compilation
from fleetseg.compiler.capture import capture
from fleetseg.compiler.interpret import interpret
from fleetseg.compiler.passes.order import PASSES
from fleetseg.compiler.processor import extensions
from fleetseg.compiler.target import TARGETS


def interpreted(network: nn.Module, size: tuple[int, int], batch: np.ndarray) -> np.ndarray:
    graph = capture(network, size, 3)
    for rewrite in PASSES["bf16"]:
        graph = rewrite(graph)
    (name, value), *_ = graph.inputs.items()
    padded = np.zeros(value.shape, np.float32)
    padded[:, :, : batch.shape[2], : batch.shape[3]] = batch
    return interpret(graph, {name: padded})[0][0]


def assert_agrees(network: nn.Module, size: tuple[int, int], folder: Path, target: str, tolerance: float) -> None:
    """Logits as the interpreter's, within `tolerance` of their largest: sums in another order round differently."""
    if not set(TARGETS.get(target, TARGETS["generic"]).extensions) <= extensions():
        pytest.skip(f"this processor does not run {target}")
    model = fleetseg.compilation.compile(network, size, folder, precision="bf16", target=target, threads=2)
    image = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    batch = model.metadata.normalisation.apply(image)
    with torch.inference_mode():
        exact = network(torch.from_numpy(batch))[0].numpy()
    largest = float(np.abs(exact).max())
    logits = model.logits(image)
    expected = interpreted(network, size, batch)[:, : logits.shape[1], : logits.shape[2]]
    assert np.abs(logits - expected).max() <= tolerance * largest
    assert 1e-5 * largest < np.abs(logits - exact).max() <= 0.05 * largest
