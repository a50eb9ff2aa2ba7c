"""What litert-torch leaves open in a LiteRT flat-buffer: metadata of our own, and weights in half precision."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Name of the metadata entry.
ENTRY = "fleetseg"

#: Smaller tensors stay float32.
_LEAST_VALUES = 32

_IDENTIFIER = b"TFL3"


def with_fields(content: bytes, text: str, *, half: bool) -> bytes:
    """The model with `text` as its metadata entry; with `half` its larger weights are float16.

    Each of those is converted by a DEQUANTIZE operation, which LiteRT runs once, when it loads the file.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    if half:
        _store_half(model, schema)
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY, _added_buffer(model, schema, text.encode())
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _added_buffer(model: Any, schema: Any, content: bytes) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _store_half(model: Any, schema: Any) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.DEQUANTIZE
    code.deprecatedBuiltinCode, code.version = schema.BuiltinOperator.DEQUANTIZE, 3
    model.operatorCodes.append(code)
    for graph in model.subgraphs:
        casts = []
        for index, tensor in enumerate(list(graph.tensors)):
            values = _constant(model, schema, tensor)
            if values is None or values.size < _LEAST_VALUES:
                continue
            stored = schema.TensorT()
            stored.shape, stored.type, stored.name = tensor.shape, schema.TensorType.FLOAT16, b""
            stored.buffer = _added_buffer(model, schema, values.astype(np.float16).tobytes())
            graph.tensors.append(stored)
            tensor.buffer = 0  # the empty one: no constant any more
            cast = schema.OperatorT()
            cast.opcodeIndex = len(model.operatorCodes) - 1
            cast.inputs, cast.outputs = [len(graph.tensors) - 1], [index]
            casts.append(cast)
        graph.operators = [*casts, *graph.operators]
        _shorten_names(graph)
    _empty_unused(model)


def _shorten_names(graph: Any) -> None:
    """Inner names, which hold places in the network's code, become numbers."""
    kept = {*graph.inputs, *graph.outputs}
    for index, tensor in enumerate(graph.tensors):
        if index not in kept:
            tensor.name = f"{index:x}"


def _constant(model: Any, schema: Any, tensor: Any) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) == 0:
        return None
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)


def _empty_unused(model: Any) -> None:
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
