"""A network without some of its channels: the same network with other options and parts of its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fleetseg.compiler.capture import capture
from fleetseg.compiler.channels.constant_maps import NOTHING
from fleetseg.compiler.channels.liveness import is_alive, living
from fleetseg.compiler.channels.wiring import Wiring
from fleetseg.compiler.ir import Graph
from fleetseg.compiler.passes.find_index_unpooling import find_index_unpooling
from fleetseg.compiler.passes.find_unpooling import find_unpooling
from fleetseg.compression.importance import unimportant
from fleetseg.errors import UsageError
from fleetseg.models import build_network
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.channels import Layer, widths
from fleetseg.models.checkpoint import fill
from fleetseg.models.class_axes import class_axes
from fleetseg.variants import CHANNELS, READS, split_options

#: Largest and smallest share that can be pruned.
SHARES = (0.0, 0.9)


@dataclass(frozen=True)
class Removal:
    """What was taken from a network."""

    #: BatchNorm channels before and after, and those before that have no scale.
    norms_before: int
    norms_after: int
    dead: int
    #: Layer → how many of its input's channels it reads, where it leaves some aside.
    reads: dict[str, int]


def without_channels(network: SegmentationNetwork, prune: float = 0.0) -> tuple[SegmentationNetwork, Removal]:
    """`network` without dead channels and, with `prune`, without about that share of the others.

    The result is in evaluation mode and can be rebuilt from its options. `CompressionError` for wiring that cannot be
    followed, `UsageError` for a network that leaves channels aside already and for a share outside 0 to 0.9.
    """
    check_share(prune)
    if READS in network.options:
        raise UsageError("this network was compressed before; compress the one that it was made from")
    graph, keys = _captured(network)
    wiring, alive = living(graph, _frozen(network, graph, keys))
    kept = alive - unimportant(wiring, alive, prune) if prune > 0 else alive
    masks = _masks(wiring, kept, keys)
    options, _ = split_options(network.options)
    options |= {CHANNELS: _channels(network, masks)}
    reads = _reads(wiring, kept, keys)
    if reads:
        options[READS] = reads
    smaller = build_network(network.registered_name, network.num_classes, network.in_channels, **options)
    fill(smaller, _parts(network, masks), "the compressed network")
    removal = Removal(
        sum(module.num_features for module in _norms(network)),
        sum(module.num_features for module in _norms(smaller)),
        sum(_dead(module) for module in _norms(network)),
        {name: len(numbers) for name, numbers in reads.items()},
    )
    return smaller.eval(), removal


def check_share(prune: float) -> None:
    """`UsageError` for a share outside 0 to 0.9."""
    if not SHARES[0] <= prune <= SHARES[1]:
        raise UsageError(f"--prune {prune:g}: a share from {SHARES[0]:g} to {SHARES[1]:g} is needed")


def _captured(network: SegmentationNetwork) -> tuple[Graph, dict[str, str]]:
    """The graph, and constant → key among the network's weights."""
    side = 8 * network.size_multiple
    graph = capture(network, (side, side), network.in_channels)
    graph = find_index_unpooling(find_unpooling(graph))
    keys = {}
    for key, tensor in network.state_dict().items():
        for prefix in ("p", "b"):
            name = f"{prefix}_{key.replace('.', '_')}"
            if name in graph.constants and np.array_equal(graph.constants[name], tensor.numpy()):
                keys[name] = key
    return graph, keys


def _frozen(network: SegmentationNetwork, graph: Graph, keys: dict[str, str]) -> dict[str, tuple[int, ...] | None]:
    """Constant → axes that stay as long as they are (None: all): those of classes, and of what is no layer's."""
    by_classes = class_axes(network)
    layers = {name for name, module in network.named_modules() if isinstance(module, Layer)}
    frozen: dict[str, tuple[int, ...] | None] = {}
    for name in graph.constants:
        key = keys.get(name, "")
        if key.rpartition(".")[0] not in layers:
            frozen[name] = None
        elif key in by_classes:
            frozen[name] = by_classes[key]
    return frozen


def _masks(wiring: Wiring, kept: set[int], keys: dict[str, str]) -> dict[str, dict[int, Tensor]]:
    """Key of a weight → axis → which of its entries stay."""
    masks: dict[str, dict[int, Tensor]] = {}
    for use in wiring.uses:
        if use.constant in keys:
            mask = torch.from_numpy(is_alive(wiring, use.ids, kept))
            masks.setdefault(keys[use.constant], {})[use.axis] = mask
    return masks


def _parts(network: nn.Module, masks: dict[str, dict[int, Tensor]]) -> dict[str, Tensor]:
    parts = {}
    for key, tensor in network.state_dict().items():
        for axis, mask in masks.get(key, {}).items():
            tensor = tensor.index_select(axis, torch.nonzero(mask)[:, 0])
        parts[key] = tensor.clone()
    return parts


def _channels(network: SegmentationNetwork, masks: dict[str, dict[int, Tensor]]) -> dict[str, list[int | None]]:
    """The option: of every layer that is narrower than it is built, its counts."""
    options, _ = split_options(network.options)
    with torch.device("meta"):
        built = build_network(network.registered_name, network.num_classes, network.in_channels, **options)
    original = dict(built.named_modules())
    table: dict[str, list[int | None]] = {}
    for name, layer in network.named_modules():
        if isinstance(layer, Layer):
            counts = _counts(layer, masks.get(f"{name}.weight", {}))
            full = widths(original[name])
            if counts != full:
                table[name] = [None if now == then else now for now, then in zip(counts, full, strict=True)]
    return table


def _counts(layer: Layer, masks: dict[int, Tensor]) -> list[int]:
    counts = widths(layer)
    left = {axis: int(mask.sum()) for axis, mask in masks.items()}
    if isinstance(layer, nn.BatchNorm2d | nn.PReLU):
        return [left.get(0, counts[0])]
    if layer.groups > 1:
        return [left.get(0, count) for count in counts]
    read, made = (0, 1) if isinstance(layer, nn.ConvTranspose2d) else (1, 0)
    return [left.get(read, counts[0]), left.get(made, counts[1])]


def _reads(wiring: Wiring, kept: set[int], keys: dict[str, str]) -> dict[str, list[int]]:
    """The option: BatchNorm → numbers of the channels that it reads, counted among those that stay."""
    table = {}
    for node, (before, behind) in wiring.chosen.items():
        stay = is_alive(wiring, before, kept)
        numbers = np.flatnonzero(is_alive(wiring, behind, kept)[stay]).tolist()
        if len(numbers) < stay.sum():
            key = keys[wiring.graph.node(node).inputs[1]]
            table[key.removesuffix(".weight")] = numbers
    return table


def _dead(norm: nn.BatchNorm2d) -> int:
    """How many of its channels have no scale, by the compiler's measure (`liveness.dead_scales`)."""
    assert norm.running_var is not None  # otherwise capturing has failed
    scales = norm.weight.abs() / torch.sqrt(norm.running_var + norm.eps)
    return int((scales < NOTHING).sum())


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
