"""Every node to its emitter, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fleetseg.compiler.emit.classes import emit_argmax, emit_conv_classes
from fleetseg.compiler.emit.conv import emit_conv
from fleetseg.compiler.emit.depthwise import emit_depthwise, is_depthwise
from fleetseg.compiler.emit.image import emit_image, emit_logits
from fleetseg.compiler.emit.normalise import emit_response_norm, emit_softmax
from fleetseg.compiler.emit.paired import (
    emit_paired_copy,
    emit_paired_pool,
    emit_paired_pool_place,
    is_paired,
)
from fleetseg.compiler.emit.per_channel import emit_copy, emit_pool, emit_pool_place
from fleetseg.compiler.emit.pointwise import emit_arithmetic
from fleetseg.compiler.emit.pooling import emit_adaptive_pool, emit_pool_index, emit_window_pool
from fleetseg.compiler.emit.rearrange import emit_join, emit_pad, emit_rearrange
from fleetseg.compiler.emit.resize import emit_resize
from fleetseg.compiler.emit.traffic import counted, image_traffic, logits_traffic, node_traffic
from fleetseg.compiler.emit.unit import Unit
from fleetseg.compiler.emit.unpooling import emit_max_unpool, emit_unpool
from fleetseg.compiler.ir import Node
from fleetseg.compiler.types import ARITHMETIC
from fleetseg.errors import CompileError
from fleetseg.metadata import Normalisation

#: Operations with kernels of their own for maps in bf16.
PAIRED = {
    "copy": emit_paired_copy,
    "max_pool": emit_paired_pool,
    "avg_pool": emit_paired_pool,
    "pool_place": emit_paired_pool_place,
}

#: Operations of which every node has the same kind of kernel, in float32.
FAMILIES: Mapping[str, Callable[[Unit, Node, str], None]] = {
    "pool_place": emit_pool_place,
    "copy": emit_copy,
    "argmax": emit_argmax,
    "adaptive_avg_pool": emit_adaptive_pool,
    "adaptive_max_pool": emit_adaptive_pool,
    "max_pool_index": emit_pool_index,
    "max_unpool": emit_max_unpool,
    "unpool": emit_unpool,
    "resize": emit_resize,
    "softmax": emit_softmax,
    "log_softmax": emit_softmax,
    "response_norm": emit_response_norm,
    "rearrange": emit_rearrange,
    "pad": emit_pad,
    "join": emit_join,
    **dict.fromkeys(sorted(ARITHMETIC), emit_arithmetic),
}


def emit_graph(unit: Unit, normalisation: Normalisation, size: tuple[int, int]) -> None:
    """Fill the unit; `CompileError` names the first node that has no C, with its place in the module."""
    with counted(unit, image_traffic(unit, size)):
        emit_image(unit, normalisation, size)
    for index, node in enumerate(unit.graph.nodes):
        before = len(unit.kernels)
        with counted(unit, node_traffic(unit, node)):
            _emit_node(unit, node, f"{index}")
        unit.kernels[before:] = [replace(kernel, node=node.name) for kernel in unit.kernels[before:]]
    with counted(unit, logits_traffic(unit)):
        emit_logits(unit)


def _emit_node(unit: Unit, node: Node, name: str) -> None:
    name = f"{name} {node.op}"
    if node.op == "conv2d" and node.epilogue and node.epilogue[-1].op == "argmax":
        emit_conv_classes(unit, node, name)
    elif is_depthwise(unit, node):
        emit_depthwise(unit, node, name)
    elif node.op in ("conv2d", "pyramid"):
        emit_conv(unit, node, name)
    elif node.op in PAIRED and is_paired(unit, node):
        PAIRED[node.op](unit, node, name)
    elif node.op in ("max_pool", "avg_pool"):
        (emit_window_pool if _has_borders(node) else emit_pool)(unit, node, name)
    elif node.op in FAMILIES:
        FAMILIES[node.op](unit, node, name)
    elif node.op != "concat" or node["axis"] != 1:  # a concat is where its parts lie
        raise CompileError(f"operation '{node.op}' at {node.place} has no C yet")


def _has_borders(node: Node) -> bool:
    """Whether zeros in the margins cannot stand for what lies outside, or taps are apart."""
    outside = any(node["padding"]) and (node.op == "max_pool" or not node["count_padding"])
    return outside or node.attributes.get("dilation", (1, 1)) != (1, 1)
