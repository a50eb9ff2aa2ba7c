"""Fine-tuning with rounding: what the rounding is, and that the outcome is the same network with other weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fleetseg.data.scene_dataset import Scenes
from fleetseg.quantise.fine_tuning import RoundedMap, RoundedWeight, fine_tuned

Build = Callable[..., Any]


def test_a_weight_has_255_levels_a_channel() -> None:
    weight = torch.randn(3, 4, 3, 3) * torch.tensor([1.0, 100.0, 0.0]).view(3, 1, 1, 1)
    weight.requires_grad_()
    rounded = RoundedWeight(0)(weight)
    for channel in range(2):
        step = float(weight[channel].detach().abs().max()) / 127
        levels = (rounded[channel] / step).detach()
        torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
        assert float((rounded[channel] - weight[channel]).detach().abs().max()) <= step / 2 * 1.001
    assert not rounded[2].any()
    rounded.sum().backward()
    assert weight.grad is not None and bool((weight.grad[:2] == 1).all())


def test_a_map_is_watched_then_rounded() -> None:
    rounded = RoundedMap().train()
    first = torch.linspace(-1, 3, 64).view(1, 1, 8, 8)
    assert rounded(first) is first
    rounded.watching = False
    rounded.eval()
    found = rounded(torch.cat((first, 10 * first)))
    assert len(found.unique()) <= 256
    assert abs(float(found.max()) - 3) < 0.02 and abs(float(found.min()) + 1) < 0.02
    assert float(rounded(torch.zeros(1, 1, 2, 2)).abs().max()) == 0


@pytest.mark.parametrize("name", ["enet", "espnet"])
def test_the_same_network_with_other_weights(name: str, random_network: Build, metadata_of: Build) -> None:
    small = {"alpha2": 1, "alpha3": 1} if name == "espnet" else {}
    network = random_network(name, 11, seed=2, **small)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    scenes = Scenes("train", 4, size=(48, 32))
    tuned = fine_tuned(network, metadata_of(network), scenes, (48, 32), 2)
    assert list(tuned.state_dict()) == list(before)
    changed = [key for key, value in tuned.state_dict().items() if not torch.equal(value, before[key])]
    assert any(key.endswith("weight") for key in changed)
    assert not any("running" in key for key in changed)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 32, 48)).astype(np.float32))
    with torch.inference_mode():
        ours, theirs = tuned(image), network(image)
    # Two steps move the network a little, not away.
    assert 0 < float((ours - theirs).square().mean() / theirs.square().mean()) < 0.5
