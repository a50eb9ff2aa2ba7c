"""The networks that the papers compare with, compiled to C: the logits and classes that PyTorch gives.

At a sixteenth of their width, where they have one: the operations and their order are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fleetseg.compilation
from fleetseg.compiler.build import FLAGS
from fleetseg.models import network_names
from fleetseg.variants import VARIANTS

#: Networks that un-pool: rounding decides between equal maxima, and then a value returns to the pixel beside.
UNPOOLING = ("segnet", "segnet-basic")
#: The quick suite compiles these; the others have hundreds of layers.
QUICK = ("segnet-basic", "sqnet")
#: refinenet-50 stands for the deeper one too, which only repeats its blocks more often.
NAMES = tuple(
    name
    for name in (*network_names(), *VARIANTS)
    if not name.startswith(("enet", "espnet")) and name != "refinenet-101"
)


@pytest.mark.parametrize("size", [(41, 30), (64, 32)])
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_agrees_with_pytorch(
    name: str,
    size: tuple[int, int],
    random_network: Callable[..., Any],
    metadata_of: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "libraries"))
    monkeypatch.setattr("fleetseg.compiler.build.FLAGS", tuple("-O1" if flag == "-O3" else flag for flag in FLAGS))
    network = random_network(name, 5, seed=2)
    model = fleetseg.compilation.compile(network, size, tmp_path, threads=2, metadata=metadata_of(network))
    image = np.random.default_rng(4).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(model.metadata.normalisation.apply(image)))[0].numpy()
    tolerance = 2e-5 * max(1.0, float(np.abs(expected).max()))
    near = np.abs(model.logits(image) - expected) <= tolerance
    assert near.mean() > (0.98 if name in UNPOOLING else 0.999999)
    if network.output_stride > 1:
        return
    best = np.sort(expected, axis=0)
    sure = (best[-1] - best[-2] > 2 * tolerance) & near.all(0)
    assert (model(image) == expected.argmax(0))[sure].all()
    assert sure.mean() > 0.9
