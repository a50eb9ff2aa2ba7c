"""A LiteRT flat-buffer without what no runtime needs, and with one operation for each PReLU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np


def fuse_prelu(model: Any, schema: Any) -> None:
    """max(x, 0) − slope · max(−x, 0), the four operations that the converter writes for a PReLU, become PRELU.

    In place, exactly: of the two terms one is always 0. Parts of integers, for which
    PRELU has no kernel, stay as they are.
    """
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    for graph in model.subgraphs:
        kinds = [names[model.operatorCodes[operator.opcodeIndex].builtinCode] for operator in graph.operators]
        makers = {
            int(operator.outputs[0]): (kind, operator)
            for kind, operator in zip(kinds, graph.operators, strict=True)
            if len(operator.outputs) == 1
        }
        reads = Counter(int(index) for operator in graph.operators for index in operator.inputs)
        reads.update(int(index) for index in graph.outputs)
        gone: set[int] = set()
        for kind, operator in zip(kinds, graph.operators, strict=True):
            found = _prelu(model, schema, graph, operator, makers, reads) if kind == "SUB" else None
            if found is None:
                continue
            source, slope, terms = found
            gone.update(id(term) for term in terms)
            operator.inputs = [source, _slope(model, schema, graph, slope)]
            operator.opcodeIndex = _code(model, schema, schema.BuiltinOperator.PRELU)
            operator.builtinOptions, operator.builtinOptionsType = None, 0
        graph.operators = [operator for operator in graph.operators if id(operator) not in gone]


def _prelu(
    model: Any, schema: Any, graph: Any, difference: Any, makers: dict[int, tuple[str, Any]], reads: Counter[int]
) -> tuple[int, int, list[Any]] | None:
    """Of a subtraction that ends a PReLU: its source, its slopes, and the operations before the subtraction."""
    terms = [makers.get(int(index), ("", None)) for index in difference.inputs]
    if [kind for kind, _ in terms] != ["RELU", "MUL"] or difference.builtinOptions.fusedActivationFunction:
        return None
    (_, above), (_, product) = terms
    kind, below = makers.get(int(product.inputs[0]), ("", None))
    inner = (above.outputs[0], product.outputs[0], product.inputs[0])
    if kind != "MUL" or any(reads[int(index)] != 1 for index in inner):
        return None
    factor, slope = _values(model, graph, below.inputs[1]), _values(model, graph, product.inputs[1])
    activations = (product.builtinOptions.fusedActivationFunction, below.builtinOptions.fusedActivationFunction)
    if activations != (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU):
        return None
    if below.inputs[0] != above.inputs[0] or factor is None or slope is None or not (factor == -1).all():
        return None
    source = graph.tensors[above.inputs[0]]
    if source.type != schema.TensorType.FLOAT32 or slope.size != source.shape[-1]:
        return None
    return int(above.inputs[0]), int(product.inputs[1]), [above, below, product]


def _slope(model: Any, schema: Any, graph: Any, index: int) -> int:
    """A tensor of the same values in PRELU's shape, (1, 1, channels)."""
    values = _values(model, graph, index)
    assert values is not None
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer = (
        [1, 1, values.size],
        schema.TensorType.FLOAT32,
        graph.tensors[index].buffer,
    )
    tensor.name = None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _values(model: Any, graph: Any, index: int) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """A constant's values."""
    data = model.buffers[graph.tensors[index].buffer].data
    return None if data is None or len(data) == 0 else np.frombuffer(bytes(data), np.float32)


def _code(model: Any, schema: Any, kind: int) -> int:
    """Index of an operation among those that the model uses, where it is added if need be."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == kind:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def compact(model: Any) -> None:
    """Leave out unused tensors, repeated buffers, empty descriptions of quantisation and inner names, in place.

    Names hold places in the network's code; with them ENet's file would be a quarter of a megabyte larger.
    """
    for number, graph in enumerate(model.subgraphs):
        signatures = [one for one in model.signatureDefs or [] if one.subgraphIndex == number]
        _drop_unused_tensors(graph, signatures)
        ends = {*map(int, graph.inputs), *map(int, graph.outputs)}
        for index, tensor in enumerate(graph.tensors):
            if index not in ends:
                tensor.name = None  # as LiteRT reads "", in fewer bytes
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
    _share_buffers(model)


def _drop_unused_tensors(graph: Any, signatures: list[Any]) -> None:
    used = {*map(int, graph.inputs), *map(int, graph.outputs)}
    for operator in graph.operators:
        used.update(int(index) for index in (*operator.inputs, *operator.outputs) if index >= 0)
    place = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
    graph.tensors = [graph.tensors[old] for old in sorted(used)]
    graph.inputs, graph.outputs = ([place[int(old)] for old in ends] for ends in (graph.inputs, graph.outputs))
    for operator in graph.operators:
        operator.inputs = [place[int(old)] for old in operator.inputs]
        operator.outputs = [place[int(old)] for old in operator.outputs]
    for end in (end for signature in signatures for end in (*signature.inputs, *signature.outputs)):
        end.tensorIndex = place[int(end.tensorIndex)]


def _share_buffers(model: Any) -> None:
    """Tensors without values have buffer 0; equal values are there once."""
    kept, place = [model.buffers[0]], {b"": 0}

    def shared(index: int) -> int:
        data = model.buffers[index].data
        content = b"" if data is None else bytes(data)
        if content not in place:
            place[content] = len(kept)
            kept.append(model.buffers[index])
        return place[content]

    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = shared(tensor.buffer)
    for entry in model.metadata or []:
        entry.buffer = shared(entry.buffer)
    model.buffers = kept
