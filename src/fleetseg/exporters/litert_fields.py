"""What litert-torch leaves open in a LiteRT flat-buffer: metadata of our own, weights in half precision, and size."""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetseg.exporters.litert_compact import compact, fuse_prelu

#: Name of the metadata entry.
ENTRY = "fleetseg"

#: Smaller tensors stay float32: the tensor and the operation that convert one take as much room as it saves.
_LEAST_VALUES = 128

_IDENTIFIER = b"TFL3"


def finished(content: bytes, text: str, precision: str) -> bytes:
    """The model with `text` as its metadata entry, as small as it can be.

    With "fp16" its larger weights are float16, each converted by a DEQUANTIZE operation, which LiteRT runs once, when
    it loads the file.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    _take_in(model, content)
    fuse_prelu(model, schema)
    if precision == "fp16":
        _store_half(model, schema)
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY, _added_buffer(model, schema, text.encode())
    model.metadata = [*(model.metadata or []), entry]
    compact(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _take_in(model: Any, content: bytes) -> None:
    """Move values into the flat-buffer that ai-edge-quantizer left behind it, where they would get lost."""
    for buffer in model.buffers:
        if buffer.offset > 1:  # 1 means nowhere
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0


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


def _constant(model: Any, schema: Any, tensor: Any) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) == 0:
        return None
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
