"""Random networks on random sizes: PyTorch and the generated C agree whatever the numbers of everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import fleetseg.compilation

CHANNELS = st.one_of(st.integers(1, 14), st.integers(15, 130))


class Layers(nn.Module):
    """Convolutions that keep the size, each with another activation, residuals where widths allow, one concat."""

    def __init__(self, plan: list[tuple[int, int, int, int]], classes: int) -> None:
        super().__init__()
        activations = (nn.ReLU, lambda: nn.PReLU(), nn.ReLU6, lambda: nn.LeakyReLU(0.1), nn.Hardswish, nn.Identity)
        self.layers = nn.ModuleList()
        before = 3
        for out, kernel, dilation, act in plan:
            conv = nn.Conv2d(before, out, kernel, padding="same", dilation=dilation)
            self.layers.append(nn.Sequential(conv, nn.BatchNorm2d(out), activations[act]()))
            before = out
        self.last = nn.Conv2d(before + 3, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = image
        for layer in self.layers:
            y = layer(x)
            x = x + y if x.shape == y.shape else y
        return self.last(torch.cat((image, x), 1))


LAYER = st.tuples(CHANNELS, st.sampled_from([1, 3, 5]), st.integers(1, 5), st.integers(0, 5))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(deadline=None, max_examples=8, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(LAYER, min_size=1, max_size=3),
    classes=st.integers(2, 40),
    width=st.integers(1, 70),
    height=st.integers(1, 20),
    target=st.sampled_from(["host", "generic"]),
    threads=st.integers(1, 4),
)
def test_pytorch_and_c_agree(
    plan: list[tuple[int, int, int, int]],
    classes: int,
    width: int,
    height: int,
    target: str,
    threads: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(len(plan))
    network = Layers(plan, classes).eval()
    model = fleetseg.compilation.compile(network, (width, height), target=target, threads=threads)
    image = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(model.metadata.normalisation.apply(image)))[0].numpy()
    tolerance = 2e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(model.logits(image), expected, atol=tolerance)
    best = np.sort(expected, axis=0)
    sure = best[-1] - best[-2] > 2 * tolerance
    assert (model(image) == expected.argmax(0))[sure].all()
