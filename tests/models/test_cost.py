"""Multiply-adds and receptive fields: architectures.md, section 4, and a second way to the fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.models import build_network, network_names
from fleetseg.models.base import count_parameters
from fleetseg.models.cost import NetworkCost, multiply_adds, network_cost, receptive_field

SIZES = ((640, 360), (1024, 512), (480, 360))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("enet", {}, (1.7273, 3.9305, 1.2954)),
        ("espnet", {"alpha3": 3}, (1.4936, 3.3987, 1.1202)),
        ("espnet", {"alpha3": 5}, (1.7240, 3.9230, 1.2930)),
        ("espnet", {"alpha3": 8}, (2.0696, 4.7094, 1.5522)),
        ("espnet-c", {"alpha3": 3}, (0.9490, 2.1594, 0.7117)),
        ("espnet-c", {"alpha3": 5}, (1.1794, 2.6837, 0.8845)),
        ("espnet-c", {"alpha3": 8}, (1.5250, 3.4702, 1.1437)),
        ("espnet-a", {}, (0.9658, 2.1978, 0.7244)),
        ("espnet-b", {}, (0.9419, 2.1433, 0.7064)),
    ],
)
def test_gmacs(name: str, options: dict[str, Any], expected: tuple[float, ...]) -> None:
    network = build_network(name, 20, **options)
    assert tuple(round(multiply_adds(network, *size) / 1e9, 4) for size in SIZES) == expected


def test_multiply_adds_leave_the_network_alone() -> None:
    network = build_network("espnet-a", 3)
    multiply_adds(network, 16, 16)
    assert network.training
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
    assert not any(module._forward_hooks for module in network.modules())


# A second way: each layer as arithmetic on column numbers, from the tables of architectures.md and not from the
# modules. A map is a function from an interval of its own columns to the interval of image columns it depends on.

Map = Callable[[int, int], tuple[int, int]]


def image(first: int, last: int) -> tuple[int, int]:
    return first, last


def conv(below: Map, kernel_size: int, stride: int = 1, dilation: int = 1) -> Map:
    padding = dilation * ((kernel_size - 1) // 2)
    reach = dilation * (kernel_size - 1)
    return lambda first, last: below(first * stride - padding, last * stride - padding + reach)


def deconv2(below: Map) -> Map:
    """2×2 with stride 2, and un-pooling: column c comes from c // 2 alone."""
    return lambda first, last: below(first // 2, last // 2)


def deconv3(below: Map) -> Map:
    """3×3, stride 2, padding 1, output padding 1: even columns come from one column, odd ones from two."""
    return lambda first, last: below(first // 2, (last + 1) // 2)


def join(*maps: Map) -> Map:
    def both(first: int, last: int) -> tuple[int, int]:
        ends = [one(first, last) for one in maps]
        return min(end[0] for end in ends), max(end[1] for end in ends)

    return both


def esp(below: Map, branches: int, stride: int = 1) -> Map:
    reduced = conv(below, 3, 2) if stride == 2 else below
    return conv(reduced, 3, dilation=2 ** (branches - 1))


def repeat(below: Map, times: int, block: Callable[[Map], Map]) -> Map:
    for _ in range(times):
        below = block(below)
    return below


def width(top: Map) -> int:
    spans = (top(column, column) for column in range(64, 72))
    return max(last - first + 1 for first, last in spans)


def espnet_c(alpha3: int) -> tuple[Map, Map, Map]:
    level1 = conv(image, 3, 2)
    half = conv(image, 3, 2)
    joined1 = join(level1, half)
    down2 = esp(joined1, 5, stride=2)
    joined2 = join(repeat(down2, 2, lambda x: esp(x, 5)), down2, conv(half, 3, 2))
    down3 = esp(joined2, 5, stride=2)
    return joined1, joined2, join(repeat(down3, alpha3, lambda x: esp(x, 5)), down3)


def espnet(alpha3: int) -> Map:
    joined1, joined2, joined3 = espnet_c(alpha3)
    merged2 = esp(join(joined2, deconv2(joined3)), 5)
    return deconv2(conv(join(deconv2(merged2), joined1), 3))


def enet() -> Map:
    initial = join(conv(image, 3, 2), conv(image, 2, 2))
    down1 = conv(conv(initial, 2, 2), 3)
    x = conv(conv(repeat(down1, 4, lambda x: conv(x, 3)), 2, 2), 3)
    for _ in range(2):
        for kernel_size, dilation in ((3, 1), (3, 2), (5, 1), (3, 4), (3, 1), (3, 8), (5, 1), (3, 16)):
            x = conv(x, kernel_size, dilation=dilation)
    x = join(deconv3(x), deconv2(x))
    x = repeat(x, 2, lambda x: conv(x, 3))
    x = join(deconv3(x), deconv2(x))
    return deconv2(conv(x, 3))


def espnet_a() -> Map:
    level2 = repeat(esp(conv(image, 3, 2), 4, stride=2), 2, lambda x: esp(x, 5))
    return repeat(esp(level2, 4, stride=2), 3, lambda x: esp(x, 5))


@pytest.mark.parametrize(
    ("name", "options", "by_hand", "expected"),
    [
        ("enet", {}, enet(), 1249),
        ("espnet-a", {}, espnet_a(), 1231),
        # The joined images reach no farther than the convolutions, so B has C's field.
        ("espnet-b", {}, espnet_c(3)[2], 1423),
        ("espnet-c", {"alpha3": 3}, espnet_c(3)[2], 1423),
        ("espnet", {"alpha3": 3}, espnet(3), 1559),
        pytest.param("espnet-c", {"alpha3": 5}, espnet_c(5)[2], 1935, marks=pytest.mark.slow),
        pytest.param("espnet-c", {"alpha3": 8}, espnet_c(8)[2], 2703, marks=pytest.mark.slow),
        pytest.param("espnet", {"alpha3": 5}, espnet(5), 2071, marks=pytest.mark.slow),
        pytest.param("espnet", {"alpha3": 8}, espnet(8), 2839, marks=pytest.mark.slow),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_receptive_fields(name: str, options: dict[str, Any], by_hand: Map, expected: int) -> None:
    assert width(by_hand) == expected
    assert receptive_field(build_network(name, 5, **options)) == expected


@pytest.mark.slow
def test_receptive_field_wider_than_the_first_strips() -> None:
    # Each ESP module of level 3 adds 2 · 16 · 8 pixels.
    assert receptive_field(build_network("espnet-c", 5, alpha3=20)) == 1423 + 17 * 256


def test_receptive_field_of_a_depth_whose_products_could_underflow() -> None:
    network = build_network("espnet-a", 2, branches=1, alpha2=1, alpha3=100)
    assert receptive_field(network) == 1 + 2 + 4 + 64 + 8 + 8 + 128 + 100 * 16


def test_rows_of_the_list() -> None:
    costs = [network_cost(name, 20) for name in network_names()]
    assert tuple(cost.name for cost in costs) == network_names()
    by_name = {cost.name: cost for cost in costs}
    assert by_name["enet"].as_json() == {
        "name": "enet",
        "parameters": 364_376,
        "fp32_mb": 1.457504,
        "fp16_mb": 0.728752,
        "gmacs_640x360": 1.7273,
        "receptive_field": 1249,
        "paper": "ENet, arXiv 1606.02147",
    }
    assert by_name["espnet"].parameters == 364_569
    # The papers' tables: ESPNet's size is 1.46 MB, ENet's 0.7 MiB in fp16.
    assert round(by_name["espnet"].fp32_mb, 2) == 1.46
    assert round(by_name["enet"].fp16_mb * 1e6 / 2**20, 1) == 0.7


def test_options_count() -> None:
    cost = network_cost("espnet", 12, decoder_channels=19)
    assert isinstance(cost, NetworkCost)
    assert cost.parameters == 354_517 == count_parameters(build_network("espnet", 12, decoder_channels=19))


def test_wrong_calls() -> None:
    with pytest.raises(UnknownNameError, match="no network 'espnet-d'; did you mean"):
        network_cost("espnet-d", 20)
    with pytest.raises(UsageError, match="num_classes is 1; a network of 2 to 255"):
        network_cost("enet", 1)
