"""Networks as users write them, not one of ours: from image to class map like PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fleetseg.compilation
from fleetseg.compiler.build import FLAGS

from .networks import randomised


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project."""

    def __init__(self, before: int, after: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = before * factor
        self.residual = stride == 1 and before == after
        self.layers = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return x + result if self.residual else result


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        blocks = [InvertedResidual(8, 12, 2, 2), InvertedResidual(12, 12, 1, 3), InvertedResidual(12, 20, 2, 3)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(20, 5, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(image)))
        return F.interpolate(x, size=image.shape[2:], mode="bilinear", align_corners=False)


class ShuffleUnit(nn.Module):
    """ShuffleNetV2's unit: half of the channels pass by, then both halves are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        joined = torch.cat((kept, self.branch(worked)), dim=1)
        n, c, h, w = joined.shape
        return joined.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def shuffle_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), ShuffleUnit(16), ShuffleUnit(16), nn.Conv2d(16, 24, 1), nn.PixelShuffle(2),
        nn.Hardswish(),
    )  # fmt: skip


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, channels // 4), nn.Linear(channels // 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        gate = F.silu(self.down(F.adaptive_avg_pool2d(x, 1).view(b, c)))
        return x * torch.sigmoid(self.up(gate)).view(b, c, 1, 1).expand_as(x)


def squeezing() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.SiLU(), SqueezeExcite(12), nn.Conv2d(12, 4, 1))


class Twice(nn.Sequential):
    """U-Net's two convolutions."""

    def __init__(self, before: int, after: int) -> None:
        layers: list[nn.Module] = []
        for channels in (before, after):
            layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(True)]
        super().__init__(*layers)


class UNet(nn.Module):
    """With bilinear upsampling, and padding where halving left a row or column out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = Twice(3, 6), Twice(6, 9), Twice(9, 9)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.fourth, self.fifth = Twice(18, 6), Twice(12, 6)
        self.last = nn.Conv2d(6, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(image)
        second = self.second(F.max_pool2d(first, 2))
        x = self.third(F.max_pool2d(second, 2))
        for skip, layer in ((second, self.fourth), (first, self.fifth)):
            x = self.up(x)
            down, right = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
            x = F.pad(x, [right // 2, right - right // 2, down // 2, down - down // 2])
            x = layer(torch.cat([skip, x], dim=1))
        result: Tensor = self.last(x)
        return result


class PyramidPooling(nn.Module):
    """PSPNet's head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.PReLU(8))
        self.branches = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(8, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU())
            for bins in (1, 2, 3, 6)
        )
        self.head = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.Dropout2d(), nn.Conv2d(8, 4, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        grown = [F.interpolate(branch(x), x.shape[2:], mode="bilinear", align_corners=True) for branch in self.branches]
        x = self.head(torch.cat([x, *grown], dim=1))
        return F.interpolate(x, image.shape[2:], mode="bilinear", align_corners=True)


class SegNet(nn.Module):
    """Un-pooling by the encoder's indices, also where the size is odd."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, 2, return_indices=True), nn.MaxUnpool2d(2, 2)
        self.down1, self.down2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.up2, self.up1 = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        first = F.relu(self.down1(image))
        x, index1 = self.pool(first)
        second = F.relu(self.down2(x))
        x, index2 = self.pool(second)
        x = F.relu(self.up2(self.unpool(x, index2, output_size=second.size())))
        result: Tensor = self.up1(self.unpool(x, index1, output_size=first.size()))
        return result


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "MobileNetV2": (MobileNet, (45, 27)),
    "ShuffleNetV2": (shuffle_net, (44, 22)),
    "squeeze and excitation": (squeezing, (31, 17)),
    "U-Net": (UNet, (38, 23)),
    "PSPNet": (PyramidPooling, (41, 30)),
    "SegNet": (SegNet, (36, 25)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_pytorch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "libraries"))
    flags = tuple("-O1" if flag == "-O3" else flag for flag in FLAGS)
    monkeypatch.setattr("fleetseg.compiler.build.FLAGS", (*flags, "-Wall", "-Wextra", "-Werror"))
    make, size = NETWORKS[name]
    torch.manual_seed(5)
    network = randomised(make(), seed=5)
    model = fleetseg.compilation.compile(network, size, tmp_path, threads=2)
    image = np.random.default_rng(4).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(model.metadata.normalisation.apply(image)))[0].numpy()
    tolerance = 2e-5 * max(1.0, float(np.abs(expected).max()))
    # Rounding decides between equal maxima of a pooling: then a value returns to the pixel beside.
    near = np.abs(model.logits(image) - expected) <= tolerance
    assert near.mean() > (0.98 if name == "SegNet" else 0.999999)
    best = np.sort(expected, axis=0)
    sure = (best[-1] - best[-2] > 2 * tolerance) & near.all(0)
    assert (model(image) == expected.argmax(0))[sure].all()
    assert sure.mean() > 0.9
