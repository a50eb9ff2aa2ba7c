"""Every named variant through everything that a registered network goes through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fleetseg.exporters.onnx import export_onnx
from fleetseg.models import build_network
from fleetseg.models._registry import network_entry
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint
from fleetseg.runtime import load
from fleetseg.variants import VARIANTS

every_variant = pytest.mark.parametrize("name", VARIANTS)


def shallow(name: str) -> dict[str, Any]:
    """Options that make the variant quick without changing what it is about."""
    variant = VARIANTS[name]
    smallest = {"alpha2": 1, "alpha3": 1, "width": 1 / 16}
    known = network_entry(variant.network).option_names()
    return {key: value for key, value in smallest.items() if key in known and key not in variant.options}


@every_variant
def test_trains_evaluates_and_is_rebuilt(
    name: str, random_network: Callable[..., Any], metadata_of: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = build_network(name, 4, **shallow(name)).train()
    images = torch.randn(2, 3, 24, 40)
    target = torch.randint(4, (2, *network(images).shape[-2:]))
    F.cross_entropy(network(images), target).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key

    network = random_network(name, 4, **shallow(name))
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image) for image in images.split(1)])
        scale = max(1.0, float(together.abs().max()))
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-4 * scale)
        save_checkpoint(tmp_path / "a.safetensors", network, metadata_of(network))
        assert torch.equal(load_checkpoint(tmp_path / "a.safetensors")[0](images), together)


@every_variant
def test_one_step_lowers_the_loss_on_one_batch(name: str) -> None:
    torch.manual_seed(1)
    network = build_network(name, 3, **shallow(name)).train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d) or type(module).__name__ == "StochasticDepth":
            module.p = 0.0
    images = torch.randn(4, 3, 32, 32)
    target = torch.randint(3, (4, *network(images).shape[-2:]))
    before = F.cross_entropy(network(images), target)
    before.backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad / norm
        assert F.cross_entropy(network(images), target) < before


@pytest.mark.slow
@every_variant
def test_the_exported_graph_equals_the_module(
    name: str, random_network: Callable[..., Any], metadata_of: Callable[..., Any], tmp_path: Path
) -> None:
    network = random_network(name, 5, **shallow(name))
    metadata = metadata_of(network)
    export_onnx(network, metadata, tmp_path / "a.onnx")
    model = load(tmp_path / "a.onnx")
    image = np.random.default_rng(0).integers(0, 256, (37, 61, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(metadata.normalisation.apply(image)))[0].numpy()
    np.testing.assert_allclose(model.logits(image), expected, atol=1e-4 * max(1.0, float(np.abs(expected).max())))
