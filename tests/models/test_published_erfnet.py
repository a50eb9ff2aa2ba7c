"""ERFNet's published layout, from generated files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fleetseg.errors import CheckpointError
from fleetseg.models.published import load_published

Build = Callable[..., Any]


def as_published(network: Any, head: bool = True) -> dict[str, Tensor]:
    """As the authors' code saves it: from DataParallel, without counters, maybe with the head of stage 1."""
    weights = {f"module.{key}": value for key, value in network.state_dict().items() if "tracked" not in key}
    if head:
        weights["module.encoder.output_conv.weight"] = torch.zeros(20, 128, 1, 1)
        weights["module.encoder.output_conv.bias"] = torch.zeros(20)
    return weights


@pytest.fixture(scope="module")
def original(random_network: Build) -> Any:
    return random_network("erfnet", 20)


def test_number_of_tensors(original: Any) -> None:
    assert (len(as_published(original)), len(as_published(original, head=False))) == (306, 304)
    shapes = {key.removeprefix("module."): tuple(value.shape) for key, value in as_published(original).items()}
    assert shapes["encoder.initial_block.conv.weight"] == (13, 3, 3, 3)
    assert shapes["encoder.layers.6.conv.weight"] == (64, 64, 3, 3)
    assert shapes["encoder.layers.14.conv1x3_2.weight"] == (128, 128, 1, 3)
    assert shapes["decoder.layers.3.conv.weight"] == (64, 16, 3, 3)
    assert shapes["decoder.output_conv.weight"] == (16, 20, 2, 2)


@pytest.mark.parametrize("head", [True, False])
def test_loads(original: Any, head: bool, tmp_path: Path) -> None:
    torch.save(as_published(original, head), tmp_path / "erfnet_pretrained.pth")
    network, metadata = load_published(tmp_path / "erfnet_pretrained.pth")
    assert not network.training
    image = torch.randn(1, 3, 20, 28)
    with torch.no_grad():
        assert torch.equal(network(image), original(image))
    assert metadata.network.name == "erfnet"
    assert (metadata.classes[0], metadata.classes[19]) == ("road", "unlabelled")
    assert metadata.normalisation.apply(torch.full((1, 1, 3), 255, dtype=torch.uint8).numpy()).max() == 1


def test_wrong_files(original: Any, random_network: Build, tmp_path: Path) -> None:
    tensors = as_published(original)
    del tensors["module.decoder.layers.0.bn.weight"]
    torch.save(tensors, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: the weight .decoder\.layers\.0\.bn\.weight. of ERFNet is"):
        load_published(tmp_path / "a.pth")
    torch.save(as_published(random_network("erfnet", 5)), tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"b\.pth: has 5 classes; published ERFNet weights have 20"):
        load_published(tmp_path / "b.pth")
    encoder = {key: value for key, value in as_published(original).items() if "encoder" in key}
    torch.save(encoder, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=r"c\.pth: ERFNet's 'decoder\.output_conv\.weight' is missing"):
        load_published(tmp_path / "c.pth")
