"""An ONNX graph rewritten, exactly, with operations for which ONNX Runtime has integer kernels.

It has none for PRelu, BatchNormalization and (on CPUs) ConvTranspose, and between two integer operations a float one
costs more than it computes: the map is turned to float32 and back. A PReLU whose slopes are at most 1 is the larger of
the map and the map times its slopes; such products, and BatchNorm, are depthwise 1×1 convolutions. Transposed
convolutions are rewritten before the graph is traced (`exporters.sub_pixel`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.quantise.onnx_graph import OnnxGraph, attribute, float_array

Doubles = npt.NDArray[np.float64]


def prepare(model: Any) -> Any:
    """Rewrite, in place, what can be rewritten; the model computes the same."""
    graph = OnnxGraph(model)
    _remove_idle(graph)
    _fold_through_concat(graph)
    nodes, graph.nodes = graph.nodes, []
    for node in nodes:
        graph.nodes.extend(_REWRITES.get(node.op_type, _kept)(graph, node))
    return graph.finish()


def _remove_idle(graph: OnnxGraph) -> None:
    """Padding by nothing and cutting off nothing, which fixed sizes leave behind, would be copied for."""
    shapes = graph.shapes()
    instead: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)
        if _is_idle(graph, node, shapes) and node.output[0] not in graph.outputs:
            instead[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    graph.nodes = kept


def _is_idle(graph: OnnxGraph, node: Any, shapes: dict[str, tuple[int, ...]]) -> bool:
    if node.op_type == "Pad":
        amounts = graph.constants.get(node.input[1])
        return amounts is not None and not amounts.any()
    if node.op_type != "Slice" or shapes.get(node.input[0]) is None:
        return False
    steps = graph.constants.get(node.input[4]) if len(node.input) > 4 else np.ones(1)
    forwards = steps is not None and bool((steps == 1).all())
    return forwards and shapes[node.input[0]] == shapes.get(node.output[0])


def _kept(graph: OnnxGraph, node: Any) -> list[Any]:  # noqa: ARG001 - as the rewrites
    return [node]


def _prelu(graph: OnnxGraph, node: Any) -> list[Any]:
    source, output = node.input[0], node.output[0]
    slope = graph.constants.get(node.input[1])
    if slope is None or slope.size != slope.shape[0]:
        return [node]
    slopes = float_array(slope).ravel()
    if (slopes <= 1).all():
        below = _factors(graph, source, slopes, f"{output}:below")
        return [below, graph.node("Max", [source, below.output[0]], output)]
    # min(x, a·x) = −max(−x, −a·x) where the slope is steeper than 1.
    sign = np.where(slopes > 1, -1, 1).astype(np.float32)
    above = _factors(graph, source, sign, f"{output}:above")
    below = _factors(graph, source, sign * slopes, f"{output}:below")
    largest = graph.node("Max", [above.output[0], below.output[0]], f"{output}:largest")
    return [above, below, largest, _factors(graph, largest.output[0], sign, output)]


def _factors(graph: OnnxGraph, source: str, factors: npt.NDArray[np.float32], output: str) -> Any:
    """One factor a channel."""
    weight = graph.constant(factors.reshape(-1, 1, 1, 1), output)
    return graph.node("Conv", [source, weight], output, group=len(factors), kernel_shape=[1, 1])


def _fold_through_concat(graph: OnnxGraph) -> None:
    """BatchNorm of joined maps goes into the convolutions that make them, and becomes factors for the others.

    It makes channels alike that are not; one scale for all of them before it would be too coarse for some.
    """
    counts = graph.channel_counts()
    producers, consumers = graph.producers(), graph.consumers()
    for node in [one for one in graph.nodes if one.op_type == "BatchNormalization"]:
        concat, terms = producers.get(node.input[0]), _terms(graph, node)
        if concat is None or terms is None or concat.op_type != "Concat" or len(consumers[node.input[0]]) > 1:
            continue
        others = [name for name in concat.input if not _foldable(graph, producers.get(name), consumers)]
        if len(others) > 1 or any(name not in counts for name in concat.input):
            continue
        first = 0
        for place, name in enumerate(concat.input):
            factor, bias = (term[first : first + counts[name]] for term in terms)
            first += counts[name]
            if name in others:
                scaled = _affine(graph, name, factor, bias, f"{node.output[0]}:{place}")
                graph.nodes.insert(graph.nodes.index(concat), scaled)
                concat.input[place] = scaled.output[0]
            else:
                _fold(graph, producers[name], factor, bias)
        concat.output[0] = node.output[0]
        graph.nodes.remove(node)


def _foldable(graph: OnnxGraph, node: Any, consumers: dict[str, list[Any]]) -> bool:
    return (
        node is not None
        and node.op_type == "Conv"
        and all(name in graph.constants for name in node.input[1:])
        and len(consumers[node.output[0]]) == 1
        and node.output[0] not in graph.outputs
    )


def _fold(graph: OnnxGraph, conv: Any, factor: Doubles, bias: Doubles) -> None:
    weight = graph.constants[conv.input[1]] * factor[:, None, None, None]
    if len(conv.input) > 2:
        bias = bias + graph.constants[conv.input[2]] * factor
    inputs = [conv.input[0], graph.constant(float_array(weight), conv.input[1])]
    del conv.input[:]
    conv.input.extend([*inputs, graph.constant(float_array(bias), inputs[1])])


def _batch_norm(graph: OnnxGraph, node: Any) -> list[Any]:
    terms = _terms(graph, node)
    return [node] if terms is None else [_affine(graph, node.input[0], *terms, node.output[0])]


def _terms(graph: OnnxGraph, node: Any) -> tuple[Doubles, Doubles] | None:
    """What BatchNorm multiplies with and adds; None if that is not constant."""
    values = [graph.constants.get(name) for name in node.input[1:]]
    if any(value is None for value in values):
        return None
    scale, shift, mean, variance = (float_array(value).astype(np.float64) for value in values if value is not None)
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return factor, shift - mean * factor


def _affine(graph: OnnxGraph, source: str, factor: Doubles, bias: Doubles, output: str) -> Any:
    """One factor and one summand a channel."""
    weight = graph.constant(float_array(factor).reshape(-1, 1, 1, 1), output)
    inputs = [source, weight, graph.constant(float_array(bias), output)]
    return graph.node("Conv", inputs, output, group=len(factor), kernel_shape=[1, 1])


_REWRITES = {"PRelu": _prelu, "BatchNormalization": _batch_norm}
