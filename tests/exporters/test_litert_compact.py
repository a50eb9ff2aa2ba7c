"""The flat-buffer that LiteRT gets: a PReLU is one operation, and nothing is there twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fleetseg.exporters.litert_fields import ENTRY, finished

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")

SHAPE = [1, 3, 5, 4]
SLOPES = np.array([0.25, -0.5, 1.5, 0], np.float32)
OPERATORS = ("RELU", "MUL", "SUB")


def flat_buffer(factor: float = -1, *, shown: bool = False, integers: bool = False) -> bytes:
    """max(x, 0) − slope · max(factor · x, 0); with `shown` the second maximum is an output, too."""
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    for name in OPERATORS:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        model.operatorCodes.append(code)
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor(model, SHAPE),
        tensor(model, [], np.array(factor, np.float32)),
        tensor(model, [1, 1, 1, 4], SLOPES),
        *(tensor(model, SHAPE) for _ in range(4)),
    ]
    graph.inputs, graph.outputs = [0], [6, 4] if shown else [6]
    graph.operators = [
        operator("RELU", [0], 3),
        operator("MUL", [0, 1], 4, schema.MulOptionsT(), schema.ActivationFunctionType.RELU),
        operator("MUL", [4, 2], 5, schema.MulOptionsT()),
        operator("SUB", [3, 5], 6, schema.SubOptionsT()),
    ]
    for made in graph.tensors:
        made.type = schema.TensorType.INT8 if integers and made.buffer == 0 else made.type
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor(model: Any, shape: list[int], values: np.ndarray | None = None) -> Any:
    made = schema.TensorT()
    made.shape, made.type, made.buffer, made.name = shape, schema.TensorType.FLOAT32, 0, b"a/long/name/of/a/place"
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        model.buffers.append(buffer)
        made.buffer = len(model.buffers) - 1
    return made


def operator(kind: str, inputs: list[int], output: int, options: Any = None, activation: int = 0) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = OPERATORS.index(kind), inputs, [output]
    if options is not None:
        options.fusedActivationFunction = activation
        made.builtinOptions = options
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    return made


def run(content: bytes, x: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def operators_of(content: bytes) -> list[int]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    return [model.operatorCodes[one.opcodeIndex].builtinCode for one in model.subgraphs[0].operators]


def test_a_prelu_is_one_operation() -> None:
    content = flat_buffer()
    found = finished(content, "{}", "fp32")
    assert operators_of(found) == [schema.BuiltinOperator.PRELU]
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    x[0, 0, 0] = 0
    np.testing.assert_array_equal(run(found, x), run(content, x))
    np.testing.assert_array_equal(run(found, x), np.where(x > 0, x, SLOPES * x))


@pytest.mark.parametrize("content", [flat_buffer(-2), flat_buffer(shown=True)])
def test_what_only_looks_like_one_stays(content: bytes) -> None:
    assert len(operators_of(finished(content, "{}", "fp32"))) == 4


def test_parts_of_integers_stay() -> None:
    assert len(operators_of(finished(flat_buffer(integers=True), "{}", "int8"))) == 4
    assert len(operators_of(finished(flat_buffer(), "{}", "int8"))) == 1


def test_smaller_with_our_field_inside() -> None:
    content = flat_buffer()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(finished(content, "our words", "fp32"), 0))
    (entry,) = [one for one in model.metadata if one.name.decode() == ENTRY]
    assert bytes(model.buffers[entry.buffer].data) == b"our words"
    assert len(model.subgraphs[0].tensors) == 3  # image, slopes, output
    assert len(finished(content, "", "fp32")) < len(content)


def values_behind(content: bytes) -> bytes:
    """The same model with its constants behind the flat-buffer."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    kept = [bytes(buffer.data) if buffer.data is not None else b"" for buffer in model.buffers]
    length = 1
    for _ in range(2):
        place = length
        for buffer, values in zip(model.buffers, kept, strict=True):
            if values:
                buffer.data, buffer.offset, buffer.size = None, place, len(values)
            place += len(values)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        length = len(builder.Output())
    return bytes(builder.Output()) + b"".join(kept)


def test_values_behind_the_flat_buffer_are_not_lost() -> None:
    content = flat_buffer()
    behind = values_behind(content)
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    np.testing.assert_array_equal(run(finished(behind, "{}", "fp32"), x), run(content, x))
    np.testing.assert_array_equal(run(finished(behind, "{}", "int8"), x), run(content, x))
