"""Networks in bf16: the C does what the interpreter does, on every target, and stays near float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import fleetseg.compilation
from fleetseg.compiler.target import TARGETS, target_named
from fleetseg.models import build_network

from .agreement import assert_agrees
from .networks import randomised


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path_factory.getbasetemp() / "libraries"))


@pytest.mark.parametrize("target", ["host", "x86-64-v4-bf16", "x86-64-v4", "x86-64-v3", "generic"])
def test_espnet(tmp_path: Path, target: str) -> None:
    network = randomised(build_network("espnet", 7, alpha2=1, alpha3=1), seed=1)
    assert_agrees(network, (41, 27), tmp_path, target, 0.02)


@pytest.mark.parametrize("target", ["host", "generic"])
def test_pooling_padding_strides_groups_and_odd_channels(tmp_path: Path, target: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 13, 3, stride=2, padding=2),
        nn.PReLU(13),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(13, 26, (3, 5), padding=(2, 2), dilation=(2, 1), groups=13),
        nn.AvgPool2d(3, 1, 1),
        nn.Conv2d(26, 9, 3, padding=3, dilation=3),
        nn.Hardswish(),
        nn.ConvTranspose2d(9, 7, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU6(),
        nn.Conv2d(7, 5, 3, padding=1),
    )
    assert_agrees(network.eval(), (46, 22), tmp_path, target, 0.01)


class Joined(nn.Module):
    """A map in bf16 beside one that is enlarged in float32, of odd numbers of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.deep = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.head = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        enlarged = nn.functional.interpolate(self.deep(image), scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(torch.cat([enlarged, self.narrow(image)], 1))


def test_a_concat_takes_what_was_enlarged_in_float32(tmp_path: Path) -> None:
    assert_agrees(randomised(Joined(), seed=4), (34, 22), tmp_path, "host", 0.02)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_rows_narrower_than_any_instruction(tmp_path: Path, width: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 1))
    assert_agrees(network.eval(), (width, 5), tmp_path, "host", 0.02)


def test_half_the_memory(tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "bf16"):
        network = randomised(build_network("espnet-c", 5, alpha2=1, alpha3=1), seed=2)
        path = fleetseg.compilation.write_library(network, (96, 64), tmp_path / precision, precision=precision)
        text = path.read_text()
        sizes[precision] = int(text.split('"arena_bytes": ')[1].split(",")[0])
    assert sizes["bf16"] < 0.6 * sizes["fp32"]


def test_float32_asks_for_no_bf16_instructions() -> None:
    every = frozenset().union(*(target.extensions for target in TARGETS.values()))
    assert target_named("host", every).name == "x86-64-v4"
    assert target_named("host", every, "bf16").name == "x86-64-v4-amx"
    assert target_named("host", every - {"amx-tile"}, "bf16").name == "x86-64-v4-bf16"
    assert target_named("host", every - {"avx512bf16", "amx-tile"}, "bf16").name == "x86-64-v4"
