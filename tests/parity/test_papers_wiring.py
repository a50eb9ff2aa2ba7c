"""Each network against a second writing of it: functions that follow architectures.md layer by layer.

They share nothing with the modules but the weights, and use PyTorch's own pooling indices. The published weights
check ESPNet and ESPNet-C (tests/golden); for ENet, ESPNet-A and ESPNet-B nobody published PyTorch weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def norm(weights: Weights, key: str, x: Tensor) -> Tensor:
    """BatchNorm in evaluation mode, written out."""
    mean, variance, scale, shift = (
        weights[f"{key}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + 1e-3) * scale + shift


def prelu(weights: Weights, key: str, x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, x * weights[f"{key}.weight"].view(1, -1, 1, 1))


def norm_act(weights: Weights, key: str, x: Tensor, relu: bool = False) -> Tensor:
    x = norm(weights, f"{key}.0", x)
    return x.clamp(min=0) if relu else prelu(weights, f"{key}.1", x)


def conv(weights: Weights, key: str, x: Tensor, **options: Any) -> Tensor:
    return F.conv2d(x, weights[f"{key}.weight"], weights.get(f"{key}.bias"), **options)


def bottleneck(
    weights: Weights, key: str, x: Tensor, dilation: int = 1, asymmetric: bool = False, relu: bool = False
) -> Tensor:
    inside = f"{key}.extension"
    y = norm_act(weights, f"{inside}.1", conv(weights, f"{inside}.0", x), relu)
    if asymmetric:
        y = conv(weights, f"{inside}.2.0", y, padding=(0, 2))
        y = conv(weights, f"{inside}.2.1", y, padding=(2, 0))
    else:
        y = conv(weights, f"{inside}.2", y, padding=dilation, dilation=dilation)
    y = conv(weights, f"{inside}.4", norm_act(weights, f"{inside}.3", y, relu))
    y = x + norm(weights, f"{inside}.5", y)
    return y.clamp(min=0) if relu else prelu(weights, f"{key}.act", y)


def down(weights: Weights, key: str, x: Tensor) -> tuple[Tensor, Tensor]:
    inside = f"{key}.extension"
    y = norm_act(weights, f"{inside}.1", conv(weights, f"{inside}.0", x, stride=2))
    y = norm_act(weights, f"{inside}.3", conv(weights, f"{inside}.2", y, padding=1))
    y = norm(weights, f"{inside}.5", conv(weights, f"{inside}.4", y))
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    empty = torch.zeros(y.shape[0], y.shape[1] - x.shape[1], *y.shape[2:])
    return prelu(weights, f"{key}.act", y + torch.cat((pooled, empty), dim=1)), indices


def up(weights: Weights, key: str, x: Tensor, indices: Tensor) -> Tensor:
    inside = f"{key}.extension"
    y = norm_act(weights, f"{inside}.1", conv(weights, f"{inside}.0", x), relu=True)
    w, b = weights[f"{inside}.2.weight"], weights[f"{inside}.2.bias"]
    y = F.conv_transpose2d(y, w, b, stride=2, padding=1, output_padding=1)
    y = norm_act(weights, f"{inside}.3", y, relu=True)
    y = norm(weights, f"{inside}.5", conv(weights, f"{inside}.4", y))
    skip = norm(weights, f"{key}.skip.1", conv(weights, f"{key}.skip.0", x))
    return (y + F.max_unpool2d(skip, indices, 2)).clamp(min=0)


def enet_features(weights: Weights, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    convolved = conv(weights, "encoder.initial.conv", image, stride=2, padding=1)
    x = norm_act(weights, "encoder.initial.norm_act", torch.cat((convolved, F.max_pool2d(image, 2)), dim=1))
    x, indices1 = down(weights, "encoder.down1", x)
    for number in range(4):
        x = bottleneck(weights, f"encoder.stage1.{number}", x)
    x, indices2 = down(weights, "encoder.down2", x)
    for stage in ("encoder.stage2", "encoder.stage3"):
        x = bottleneck(weights, f"{stage}.0", x)
        x = bottleneck(weights, f"{stage}.1", x, dilation=2)
        x = bottleneck(weights, f"{stage}.2", x, asymmetric=True)
        x = bottleneck(weights, f"{stage}.3", x, dilation=4)
        x = bottleneck(weights, f"{stage}.4", x)
        x = bottleneck(weights, f"{stage}.5", x, dilation=8)
        x = bottleneck(weights, f"{stage}.6", x, asymmetric=True)
        x = bottleneck(weights, f"{stage}.7", x, dilation=16)
    return x, indices1, indices2


def enet(weights: Weights, image: Tensor) -> Tensor:
    x, indices1, indices2 = enet_features(weights, image)
    x = up(weights, "up4", x, indices2)
    for number in range(2):
        x = bottleneck(weights, f"stage4.{number}", x, relu=True)
    x = bottleneck(weights, "stage5", up(weights, "up5", x, indices1), relu=True)
    return F.conv_transpose2d(x, weights["fullconv.weight"], weights["fullconv.bias"], stride=2)


def enet_encoder(weights: Weights, image: Tensor) -> Tensor:
    return conv(weights, "head", enet_features(weights, image)[0])


def esp(weights: Weights, key: str, x: Tensor, branches: int, stride: int = 1) -> Tensor:
    reduced = conv(weights, f"{key}.reduce", x, stride=stride, padding=stride // 2)
    b = [conv(weights, f"{key}.branches.{k}", reduced, padding=2**k, dilation=2**k) for k in range(branches)]
    # o0 = b0, o1 = b1, o2 = b1 + b2, o3 = b1 + b2 + b3, …
    outputs = [b[0], *(sum(b[1 : k + 1]) for k in range(1, branches))]
    merged = torch.cat(outputs, dim=1) + (x if stride == 1 else 0)
    return prelu(weights, f"{key}.act", norm(weights, f"{key}.norm", merged))


def espnet_a(weights: Weights, image: Tensor) -> Tensor:
    x = norm_act(weights, "level1.1", conv(weights, "level1.0", image, stride=2, padding=1))
    x = esp(weights, "down2", x, branches=4, stride=2)
    for number in range(2):
        x = esp(weights, f"level2.{number}", x, branches=5)
    x = esp(weights, "down3", x, branches=4, stride=2)
    for number in range(3):
        x = esp(weights, f"level3.{number}", x, branches=5)
    return conv(weights, "classifier", x)


def espnet_b(weights: Weights, image: Tensor) -> Tensor:
    x = norm_act(weights, "level1.1", conv(weights, "level1.0", image, stride=2, padding=1))
    down2 = x = esp(weights, "down2", x, branches=5, stride=2)
    for number in range(2):
        x = esp(weights, f"level2.{number}", x, branches=5)
    x = norm_act(weights, "join2", torch.cat((x, down2), dim=1))
    down3 = x = esp(weights, "down3", x, branches=5, stride=2)
    for number in range(3):
        x = esp(weights, f"level3.{number}", x, branches=5)
    return conv(weights, "classifier", norm_act(weights, "join3", torch.cat((down3, x), dim=1)))


@pytest.mark.parametrize(
    ("name", "reference"),
    [("enet", enet), ("enet-encoder", enet_encoder), ("espnet-a", espnet_a), ("espnet-b", espnet_b)],
)
def test_network_is_the_papers(
    name: str, reference: Callable[[Weights, Tensor], Tensor], random_network: Callable[..., Any]
) -> None:
    network = random_network(name, 6, seed=4)
    # Whole numbers: the initial max-pool and the next ones meet ties.
    image = torch.randint(-2, 3, (2, 3, 48, 64), generator=torch.Generator().manual_seed(5)).float()
    with torch.no_grad():
        ours, expected = network(image), reference(network.state_dict(), image)
    assert ours.shape == expected.shape
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
