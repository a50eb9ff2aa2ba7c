from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import fleetseg.compilation
from fleetseg.compiler.capture import capture
from fleetseg.compiler.interpret import interpret
from fleetseg.compiler.passes.drop_dead_channels import drop_dead_channels
from fleetseg.compiler.passes.find_index_unpooling import find_index_unpooling
from fleetseg.compiler.passes.find_unpooling import find_unpooling
from fleetseg.exporting import scene
from fleetseg.metadata import ModelMetadata

from ..graphs import POINTWISE, SAME_SIZE, GraphBuilder, assert_same_numbers
from ..test_random_networks import SETTINGS, networks


def killed(build: GraphBuilder, norm: str, channels: list[int], shift: float = 0.0) -> str:
    """A BatchNorm of `norm` with channels whose scale is nothing."""
    value = build.batch_norm(norm)
    scale, offset = build.nodes[-1].inputs[1:3]
    build.constants[scale][channels] = 0
    build.constants[offset][channels] = shift
    return value


def test_layers_before_and_behind_become_narrower() -> None:
    build = GraphBuilder()
    value = build.add("prelu", killed(build, build.conv("x", 6), [0, 4]), build.constant(6))
    depthwise = build.conv(value, 6, window={**SAME_SIZE, "groups": 6})
    before = build.graph(build.conv(depthwise, 2))
    after = drop_dead_channels(before)
    assert [node.type.shape[1] for node in after.nodes] == [4, 4, 4, 4, 2]
    assert after.nodes[3]["groups"] == 4
    assert_same_numbers(before, after)


def test_a_shift_that_the_border_would_show_stays() -> None:
    build = GraphBuilder()
    before = build.graph(build.conv(build.add("relu", killed(build, build.conv("x", 4), [1], shift=0.5)), 2))
    after = drop_dead_channels(before)
    assert [node.type.shape[1] for node in after.nodes] == [4, 4, 4, 2]


def test_what_a_sum_still_needs_stays() -> None:
    build = GraphBuilder()
    first = build.conv("x", 4)
    total = build.add("add", first, killed(build, build.conv(first, 4), [2]))
    before = build.graph(build.conv(total, 2))
    after = drop_dead_channels(before)
    assert [node.type.shape[1] for node in after.nodes] == [4, 4, 4, 4, 2]
    assert_same_numbers(before, after)


def test_both_sides_of_a_sum_lose_what_nothing_reads() -> None:
    build = GraphBuilder()
    total = build.add("add", build.conv("x", 4), build.conv("x", 4))
    weight = build.constant(2, 4, 1, 1)
    build.constants[weight][:, 3] = 0
    before = build.graph(build.add("conv2d", total, weight, **POINTWISE))
    after = drop_dead_channels(before)
    assert [node.type.shape[1] for node in after.nodes] == [3, 3, 3, 2]
    assert_same_numbers(before, after)


def test_slices_count_what_is_left() -> None:
    build = GraphBuilder()
    value = build.add("relu", killed(build, build.conv("x", 7), [1, 5]))
    parts = [build.add("slice", value, axis=1, start=a, stop=b, step=1) for a, b in ((0, 3), (3, 7))]
    before = build.graph(build.conv(build.add("concat", *parts, axis=1), 2))
    after = drop_dead_channels(before)
    assert [(n["start"], n["stop"]) for n in after.nodes if n.op == "slice"] == [(0, 2), (2, 5)]
    assert_same_numbers(before, after)


def test_a_slice_of_dead_channels_alone_leaves_the_graph_as_it_is() -> None:
    build = GraphBuilder()
    value = killed(build, build.conv("x", 4), [0, 1])
    parts = [build.add("slice", value, axis=1, start=a, stop=a + 2, step=1) for a in (0, 2)]
    before = build.graph(build.conv(build.add("concat", *parts, axis=1), 2))
    assert drop_dead_channels(before) is before


def test_rearranged_channels_keep_their_places() -> None:
    build = GraphBuilder()
    shuffled = build.add("pixel_shuffle", killed(build, build.conv("x", 8), [0, 1, 2]), factor=2)
    before = build.graph(build.conv(shuffled, 2))
    after = drop_dead_channels(before)
    assert [node.type.shape[1] for node in after.nodes] == [8, 8, 2, 2]
    assert_same_numbers(before, after)


def test_a_graph_that_lives_is_the_same_one() -> None:
    build = GraphBuilder()
    before = build.graph(build.conv(build.batch_norm(build.conv("x", 4)), 2))
    assert drop_dead_channels(before) is before


@settings(SETTINGS, max_examples=40)
@given(made=networks(), seed=st.integers(0, 99))
def test_random_networks_with_dead_filters(made: tuple[nn.Module, tuple[int, int]], seed: int) -> None:
    network, size = made
    random = np.random.default_rng(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            with torch.no_grad():
                for axis in (0, 1):
                    count = layer.weight.shape[axis]
                    layer.weight[(slice(None),) * axis + (random.permutation(count)[: count // 3],)] = 0
                if layer.bias is not None:
                    layer.bias.zero_()
    before = find_index_unpooling(find_unpooling(capture(network, size, 3)))
    image = {name: random.normal(size=kind.shape).astype(np.float32) for name, kind in before.inputs.items()}
    (expected,), (found,) = interpret(before, image), interpret(drop_dead_channels(before), image)
    assume(np.isfinite(expected).all())
    np.testing.assert_allclose(found, expected, atol=3e-5 * max(1.0, float(np.abs(expected).max())))


def test_a_compiled_network_does_less_and_says_the_same(
    tmp_path: Path, random_network: Callable[..., Any], metadata_of: Callable[..., ModelMetadata]
) -> None:
    network = random_network("enet", 4)
    size, image = (48, 32), scene((48, 32))
    fleetseg.compilation.compile(network, size, tmp_path / "before", metadata=metadata_of(network))
    with torch.no_grad():
        for name, layer in network.named_modules():
            if isinstance(layer, nn.BatchNorm2d) and re.search(r"extension\.\d+\.0$", name):
                layer.weight[::2], layer.bias[::2] = 0, 0
        batch = torch.from_numpy(metadata_of(network).normalisation.apply(image))
        expected = network(batch)[0].numpy()
    after = fleetseg.compilation.compile(network, size, tmp_path / "after", metadata=metadata_of(network))
    macs = [json.loads(next((tmp_path / name).glob("*.json")).read_text())["macs"] for name in ("before", "after")]
    assert macs[1] < 0.8 * macs[0]
    np.testing.assert_allclose(after.logits(image), expected, atol=1e-4 * float(np.abs(expected).max()))
