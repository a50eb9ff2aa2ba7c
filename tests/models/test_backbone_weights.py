"""ImageNet weights for backbones, from generated files in torchvision's and timm's layouts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fleetseg.errors import CheckpointError, UsageError
from fleetseg.models import build_network
from fleetseg.models.backbone_weights import backbones, check_backbone_weights, load_backbone_weights

Build = Callable[..., Any]
Tensors = dict[str, Tensor]
#: Files have the keys of whole networks with the shapes of a sixteenth of their width.
WIDTH = 1 / 16
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def norm(key: str, channels: int, counter: bool = True) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{key}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")
    }
    return shapes | ({f"{key}.num_batches_tracked": ()} if counter else {})


def resnet(depth: int, counters: bool = True, stem: str = "plain") -> dict[str, tuple[int, ...]]:
    """Keys and shapes as torchvision and timm have them; stems: plain, top (conv1 to conv3), timm (resnet101s)."""
    shapes: dict[str, tuple[int, ...]] = {}
    if stem == "plain":
        shapes |= {"conv1.weight": (4, 3, 7, 7)} | norm("bn1", 4, counters)
        channels = 4
    elif stem == "top":
        shapes |= {"conv1.weight": (4, 3, 3, 3), "conv2.weight": (4, 4, 3, 3), "conv3.weight": (8, 4, 3, 3)}
        shapes |= norm("bn1", 4, counters) | norm("bn2", 4, counters) | norm("bn3", 8, counters)
        channels = 8
    else:
        shapes |= {"conv1.0.weight": (4, 3, 3, 3), "conv1.3.weight": (4, 4, 3, 3), "conv1.6.weight": (8, 4, 3, 3)}
        shapes |= norm("conv1.1", 4, counters) | norm("conv1.4", 4, counters) | norm("bn1", 8, counters)
        channels = 8
    for stage, (count, inner) in enumerate(zip(BLOCKS[depth], (4, 8, 16, 32), strict=True), 1):
        outer = inner if depth == 18 else 4 * inner
        for index in range(count):
            block = f"layer{stage}.{index}"
            kernels = [(inner, channels, 3), (inner, inner, 3)]
            if depth > 18:
                kernels = [(inner, channels, 1), (inner, inner, 3), (outer, inner, 1)]
            for number, (after, before, size) in enumerate(kernels, 1):
                shapes[f"{block}.conv{number}.weight"] = (after, before, size, size)
                shapes |= norm(f"{block}.bn{number}", after, counters)
            if index == 0 and (stage > 1 or depth > 18):
                shapes[f"{block}.downsample.0.weight"] = (outer, channels, 1, 1)
                shapes |= norm(f"{block}.downsample.1", outer, counters)
            channels = outer
    return shapes | {"fc.weight": (1000, channels), "fc.bias": (1000,)}


def vgg(layout: str) -> dict[str, tuple[int, ...]]:
    """torchvision, torchvision_bn or timm."""
    positions = {
        False: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        True: (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40),
    }[layout == "torchvision_bn"]
    channels = (3, 4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32)
    shapes: dict[str, tuple[int, ...]] = {}
    for position, before, after in zip(positions, channels, channels[1:], strict=False):
        shapes |= {f"features.{position}.weight": (after, before, 3, 3), f"features.{position}.bias": (after,)}
        if layout == "torchvision_bn":
            shapes |= norm(f"features.{position + 1}", after)
    if layout == "timm":
        shapes |= {"pre_logits.fc1.weight": (256, 32, 7, 7), "pre_logits.fc1.bias": (256,)}
        shapes |= {"pre_logits.fc2.weight": (256, 256, 1, 1), "pre_logits.fc2.bias": (256,)}
        return shapes | {"head.fc.weight": (1000, 256), "head.fc.bias": (1000,)}
    shapes |= {"classifier.0.weight": (256, 32 * 49), "classifier.0.bias": (256,)}
    shapes |= {"classifier.3.weight": (256, 256), "classifier.3.bias": (256,)}
    return shapes | {"classifier.6.weight": (1000, 256), "classifier.6.bias": (1000,)}


def tensors_of(shapes: dict[str, tuple[int, ...]]) -> Tensors:
    torch.manual_seed(4)
    return {
        key: torch.zeros(shape, dtype=torch.int64) if key.endswith("tracked") else torch.rand(shape)
        for key, shape in shapes.items()
    }


def written(path: Path, tensors: Tensors) -> Path:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def build(name: str, **options: Any) -> Any:
    return build_network(name, 3, width=WIDTH, **options)


@pytest.mark.parametrize(
    ("depth", "counters", "expected"),
    [(18, False, 102), (18, True, 122), (50, False, 267), (50, True, 320), (101, False, 522), (101, True, 626)],
)
def test_generated_resnets_have_the_tensors_of_published_ones(depth: int, counters: bool, expected: int) -> None:
    assert len(resnet(depth, counters)) == expected


def test_generated_vggs_and_deep_stems_have_the_tensors_of_published_ones() -> None:
    assert len(vgg("torchvision")) == 32
    assert [len(resnet(101, counters, stem)) for stem in ("top", "timm") for counters in (False, True)] == [
        532, 638, 532, 638,
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("name", "options", "shapes"),
    [
        ("fcn-8s", {}, vgg("torchvision")),
        ("lrr-4x", {}, vgg("timm")),
        ("segnet", {}, vgg("torchvision_bn")),
        ("segnet", {}, vgg("torchvision")),
        ("dilation-8-basic", {}, vgg("torchvision")),
        ("deeplab-v2", {}, resnet(101)),
        ("refinenet-50", {}, resnet(50, counters=False)),
        ("pspnet", {}, resnet(101, stem="top")),
        ("pspnet", {}, resnet(101, stem="timm")),
        ("pspnet", {"deep_stem": False}, resnet(101)),
        ("biopsy-resnet18", {}, resnet(18)),
        ("biopsy-mehta", {}, resnet(18)),
    ],
)
def test_every_tensor_arrives(
    name: str, options: dict[str, Any], shapes: dict[str, tuple[int, ...]], suffix: str, tmp_path: Path
) -> None:
    network, tensors = build(name, **options), tensors_of(shapes)
    outside = {key: value.clone() for key, value in network.state_dict().items() if "backbone" not in key}
    load_backbone_weights(network, written(tmp_path / f"weights{suffix}", tensors))
    used = [
        value for key, value in tensors.items()
        if not re.search(r"^(fc|head|classifier\.6)\.|tracked$", key) and (name != "segnet" or "features" in key)
    ]  # fmt: skip
    for backbone in backbones(network):
        loaded = [value for key, value in backbone.state_dict().items() if not key.endswith("tracked")]
        fresh = len(loaded) - len(used)  # SegNet's BatchNorm, where the file has none
        assert fresh == (52 if shapes == vgg("torchvision") and name == "segnet" else 0)
        sums = sorted(float(value.double().sum()) for value in loaded)
        assert all(any(abs(float(value.double().sum()) - one) < 1e-9 for one in sums) for value in used)
    for key, value in outside.items():
        if "encoder" not in key:
            assert torch.equal(network.state_dict()[key], value), key


def test_resnet_computes_what_torchvisions_definition_says(tmp_path: Path) -> None:
    """The first block of stage 2 by hand: stride in the 3×3, shortcut, ReLU last."""
    network, tensors = build("deeplab-v2").eval(), tensors_of(resnet(101))
    load_backbone_weights(network, written(tmp_path / "a.pth", tensors))
    x = torch.rand(1, 16, 9, 10)

    def conv_norm(y: Tensor, conv: str, bn: str, **window: int) -> Tensor:
        y = torch.nn.functional.conv2d(y, tensors[f"layer2.0.{conv}.weight"], **window)
        parts = [tensors[f"layer2.0.{bn}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return torch.nn.functional.batch_norm(y, *parts)

    y = conv_norm(x, "conv1", "bn1").relu()
    y = conv_norm(y, "conv2", "bn2", stride=2, padding=1).relu()
    y = conv_norm(y, "conv3", "bn3") + conv_norm(x, "downsample.0", "downsample.1", stride=2)
    with torch.no_grad():
        torch.testing.assert_close(network.backbone.layer2[0](x), y.relu())


def test_fully_connected_layers_become_convolutions(tmp_path: Path) -> None:
    network, tensors = build("fcn-8s").eval(), tensors_of(vgg("torchvision"))
    load_backbone_weights(network, written(tmp_path / "a.pth", tensors))
    x = torch.rand(1, 32, 7, 7)
    with torch.no_grad():
        y = (tensors["classifier.0.weight"] @ x.flatten() + tensors["classifier.0.bias"]).relu()
        y = (tensors["classifier.3.weight"] @ y + tensors["classifier.3.bias"]).relu()
        torch.testing.assert_close(network.backbone.fully_connected(x)[0, :, 3, 3], y)


def test_wrappings_are_taken_off(tmp_path: Path) -> None:
    network, tensors = build("biopsy-resnet18"), tensors_of(resnet(18))
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in tensors.items()}}
    torch.save(wrapped, tmp_path / "a.pth")
    load_backbone_weights(network, tmp_path / "a.pth")
    assert torch.equal(network.backbone.conv1.weight, tensors["conv1.weight"])


@pytest.mark.parametrize(
    ("name", "shapes", "parts"),
    [
        ("deeplab-v2", resnet(50), ["ResNet-101 (", "missing: layer3.6.conv1.weight, ", " and "]),
        ("biopsy-resnet18", resnet(101), ["ResNet-18", "unknown: layer1.0.conv3.weight", "of another shape: "]),
        ("pspnet", resnet(101), ["ResNet-101 with a deep stem", "conv1.weight is (4, 3, 7, 7), not (4, 3, 3, 3)"]),
        ("fcn-8s", vgg("torchvision_bn"), ["VGG16", "missing: features.2.weight, features.2.bias, "]),
        ("segnet", {"a": (1,)}, ["VGG16", "unknown: a"]),
    ],
)
def test_a_wrong_file_says_what_differs(
    name: str, shapes: dict[str, tuple[int, ...]], parts: list[str], tmp_path: Path
) -> None:
    network, path = build(name), written(tmp_path / "a.pth", tensors_of(shapes))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_backbone_weights(network, path)
    text = str(caught.value)
    assert text.startswith(f"{path}: not weights of this ")
    assert "\n" not in text
    assert all(part in text for part in parts), text
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_networks_that_no_imagenet_weights_fit(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pth", tensors_of(resnet(101)))
    with pytest.raises(UsageError, match="network 'enet' has no VGG16 or ResNet backbone"):
        load_backbone_weights(build_network("enet", 3), path)
    with pytest.raises(UsageError, match="network 'deeplab-v2' with original=True has strides where"):
        check_backbone_weights(build("deeplab-v2", original=True), path)
    with pytest.raises(UsageError, match=r"b\.safetensors: no such checkpoint file"):
        load_backbone_weights(build("deeplab-v2"), tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"hello")
    with pytest.raises(CheckpointError, match=r"c\.safetensors: not a complete safetensors file"):
        load_backbone_weights(build("deeplab-v2"), tmp_path / "c.safetensors")
