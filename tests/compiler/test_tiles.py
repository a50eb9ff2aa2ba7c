"""Convolutions in AMX's tile registers: how channels are cut, what is configured, and what the C computes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fleetseg.compilation
from fleetseg.compiler.capture import capture
from fleetseg.compiler.emit.conv_plan import Chain, Stage
from fleetseg.compiler.emit.epilogue import Epilogue
from fleetseg.compiler.emit.tiles import ROWS, SUMS, WORDS, Shapes, choose_tile_blocks, shapes_of
from fleetseg.compiler.emit.unit import Unit
from fleetseg.compiler.pipeline import generate
from fleetseg.compiler.processor import extensions
from fleetseg.compiler.target import TARGETS
from fleetseg.data.scene_dataset import Scenes
from fleetseg.metadata import NetworkSpec, metadata_for
from fleetseg.models import build_network

from .agreement import assert_agrees
from .networks import randomised

AMX = TARGETS["x86-64-v4-amx"]
METADATA = metadata_for(NetworkSpec(name="case", num_classes=2), "case", ["one", "two"])


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path_factory.getbasetemp() / "libraries"))


def agrees(network: nn.Module, size: tuple[int, int], folder: Path, tolerance: float = 0.01) -> None:
    assert_agrees(network.eval(), size, folder, AMX.name, tolerance)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_strides_dilations_and_borders(tmp_path: Path, stride: int) -> None:
    torch.manual_seed(stride)
    network = nn.Sequential(
        nn.Conv2d(3, 13, 3, stride=stride, padding=1),
        nn.PReLU(13),
        nn.Conv2d(13, 40, (3, 5), padding=(4, 2), dilation=(4, 1)),
        nn.ReLU(),
        nn.Conv2d(40, 6, 3, padding=7, dilation=7),
        nn.Upsample(scale_factor=stride, mode="bilinear", align_corners=False) if stride > 1 else nn.Identity(),
    )
    agrees(network, (66 * stride, 17 * stride), tmp_path)


@pytest.mark.parametrize("channels", [1, 2, 31, 33, 66, 131])
def test_all_numbers_of_channels(tmp_path: Path, channels: int) -> None:
    """One to five tiles of output channels, one to five steps of inputs, of one size and of two."""
    torch.manual_seed(channels)
    network = nn.Sequential(nn.Conv2d(3, channels, 1), nn.PReLU(channels), nn.Conv2d(channels, channels, 3, padding=1))
    agrees(nn.Sequential(*network, nn.Conv2d(channels, 3, 1)), (40, 5), tmp_path)


def test_groups_and_shuffled_results(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 18, 3, stride=2, padding=1),
        nn.Conv2d(18, 36, 3, stride=2, padding=1, groups=2),
        nn.ConvTranspose2d(36, 21, 3, stride=2, padding=1, output_padding=1),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(21, 19, 2, stride=2),
    )
    agrees(network, (80, 36), tmp_path)


def test_a_pyramid(tmp_path: Path) -> None:
    agrees(randomised(build_network("espnet", 11), seed=1), (136, 72), tmp_path, 0.03)


@pytest.mark.parametrize("name", ["enet-camvid", "espnet-camvid"])
def test_the_class_map_is_that_of_dot_products(tmp_path: Path, name: str) -> None:
    """Places of maxima, shuffled logits and the arg-max in the last convolution."""
    if not set(AMX.extensions) <= extensions():
        pytest.skip("this processor has no AMX")
    image = Scenes("val", 1, (272, 208))[0].image
    masks = []
    for target in ("x86-64-v4-amx", "x86-64-v4-bf16"):
        model = fleetseg.compilation.compile(name, (272, 208), tmp_path / target, precision="bf16", target=target)
        masks.append(model(image))
    assert (masks[0] == masks[1]).mean() > 0.995


def test_tiles_are_what_is_used_where_rows_are_wide_enough() -> None:
    def code(width: int) -> str:
        network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)).eval()
        return generate(capture(network, (width, 8)), METADATA, (width, 8), AMX, precision="bf16").source

    assert "TILE_DOT(0" in code(16)
    assert "TILE_DOT(0" not in code(15)


@given(units=st.integers(1, 200), accumulators=st.sampled_from([1, 2]), pairs=st.integers(1, 200))
def test_every_channel_is_in_a_tile_and_every_sum_in_a_register(units: int, accumulators: int, pairs: int) -> None:
    weights = np.broadcast_to(np.float32(1), (units, accumulators, pairs, 1, 1))
    stage = Stage(weights, None, 0, (1, 1), (0, 0), (1, 1), Epilogue((), (), cast(Unit, None)), 2 * pairs)
    chain = Chain((stage,), 0, 0)
    shapes, blocks = shapes_of(chain), choose_tile_blocks(chain, 100)
    assert shapes.rows <= ROWS
    assert sum(shapes.steps) == pairs
    assert max(shapes.steps) <= WORDS
    assert len(shapes.sizes) <= 2
    assert sum(blocks.units) == units
    tiles = [-(-size * accumulators // shapes.rows) for size in blocks.units]
    assert all(size % 2 == 0 for size in blocks.units[:-1])  # a pair of channels is not torn
    assert max(tiles) * max(len(block.offsets) for block in blocks.pixels) <= SUMS


def test_the_shapes_of_the_registers() -> None:
    """25 channels on 131: two tiles of 13 rows, steps of 14 and 13 pairs."""
    shapes = Shapes(13, (14, 13, 13, 13, 13))
    assert shapes.sizes == (14, 13)
    described = shapes.bytes()
    assert len(described) == 64
    assert described[0] == 1
    assert np.array(described[16:32]).reshape(-1, 2)[:, 0].tolist() == [64, 64, 64, 64, 56, 52, 64, 64]
    assert described[48:56] == [13, 13, 13, 13, 13, 13, 14, 13]
