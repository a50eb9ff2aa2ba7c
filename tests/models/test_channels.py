"""Networks that are narrower than they are built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fleetseg.errors import CheckpointError, UsageError
from fleetseg.metadata import ModelMetadata
from fleetseg.models import build_encoder, build_network
from fleetseg.models.channels import let_read, runs, widths
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint

#: ERFNet's first block: its convolution's maps join three of the image, and all of them are a residual stream.
CHANNELS = {
    "encoder.layers.1.conv3x1_1": [None, 40],
    "encoder.layers.1.conv1x3_1": [40, None],
}


def test_layers_have_the_counts_that_are_asked_for() -> None:
    network = build_network("erfnet", 3, channels=CHANNELS)
    block = network.encoder.layers[1]
    assert widths(block.conv3x1_1) == [64, 40] and widths(block.conv1x3_1) == [40, 64]
    assert block.conv3x1_1.weight.shape == (40, 64, 3, 1) and block.conv3x1_1.bias.shape == (40,)
    assert network(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    assert network.options == {"channels": CHANNELS}


def test_transposed_and_depthwise_convolutions_and_norms() -> None:
    network = build_network("enet", 3, channels={"fullconv": [8, None]})
    assert network.fullconv.weight.shape == (8, 3, 2, 2)
    layers = {name: m for name, m in build_network("espnet-c-mobilenet", 3).named_modules() if isinstance(m, nn.Conv2d)}
    name = next(name for name, layer in layers.items() if layer.groups > 1)
    layer = dict(build_network("espnet-c-mobilenet", 3, channels={name: [8, 8]}).named_modules())[name]
    assert (layer.groups, layer.weight.shape) == (8, (8, 1, 3, 3))
    with pytest.raises(UsageError, match="only depthwise ones can be narrower"):
        build_network("espnet-c-mobilenet", 3, channels={name: [8, 7]})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": [1]}, r"channels is \[1\]; a table from layers"),
        ({"channels": {"nowhere": [1, 1]}}, "names 'nowhere', which is no convolution"),
        ({"channels": {"fullconv": [8]}}, "2 counts are needed"),
        ({"channels": {"fullconv": [0, None]}}, "asks for 0 channels; 1 to 16 are there"),
        ({"channels": {"fullconv": [17, None]}}, "asks for 17 channels; 1 to 16"),
        ({"channels": {"fullconv": [True, None]}}, "asks for True channels"),
        ({"reads": {"fullconv": [1]}}, "names 'fullconv', which is no BatchNorm"),
        ({"reads": {"up4.skip.1": [3, 2]}}, "64 ascending channel numbers are needed"),
    ],
)
def test_what_cannot_be_built_is_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        build_network("enet", 3, **options)


def test_a_norm_that_reads_some_channels() -> None:
    norm = nn.BatchNorm2d(3).eval()
    nn.init.uniform_(norm.weight)
    let_read(norm, [0, 1, 4])
    x = torch.randn(2, 6, 4, 4)
    expected = nn.functional.batch_norm(x[:, [0, 1, 4]], norm.running_mean, norm.running_var, norm.weight, norm.bias)
    assert torch.equal(norm(x), expected)


def test_narrow_dilated_convolutions_train_right_in_bf16() -> None:
    """24 channels, for which oneDNN's own gradients are wrong or crash (`esp.gradient_safe_padding`)."""
    torch.manual_seed(0)
    network = build_network("enet", 3, channels={"encoder.stage2.1.extension.2": [24, 24]})
    layer = network.get_submodule("encoder.stage2.1.extension.2").to(memory_format=torch.channels_last)
    x = torch.randn(2, 24, 20, 40).contiguous(memory_format=torch.channels_last)
    weights = torch.randn(2, 24, 20, 40)
    found = []
    for bf16 in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = layer(x)
        (output.float() * weights).sum().backward()
        found.append(layer.weight.grad.clone())
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 0.02


def test_runs() -> None:
    assert runs([0, 1, 4, 6, 7, 8]) == [(0, 2), (4, 5), (6, 9)]
    assert runs([]) == []


def test_there_is_no_encoder_to_train_alone() -> None:
    with pytest.raises(UsageError, match="a compressed 'erfnet' has no separate encoder"):
        build_encoder(build_network("erfnet", 3, channels=CHANNELS))


def test_a_file_alone_rebuilds_it(
    tmp_path: Path, random_network: Callable[..., Any], metadata_of: Callable[..., ModelMetadata]
) -> None:
    network = random_network("erfnet", 3, channels=CHANNELS)
    metadata = metadata_of(network)
    save_checkpoint(tmp_path / "a.safetensors", network, metadata)
    loaded, again = load_checkpoint(tmp_path / "a.safetensors")
    x = torch.randn(1, 3, 16, 24)
    assert again == metadata and torch.equal(loaded(x), network(x))
    hostile = metadata.network.model_copy(update={"options": {"channels": {"encoder": [1]}}})
    network.options = hostile.options
    save_checkpoint(tmp_path / "b.safetensors", network, metadata.model_copy(update={"network": hostile}))
    with pytest.raises(CheckpointError, match="cannot be built: channels names"):
        load_checkpoint(tmp_path / "b.safetensors")
