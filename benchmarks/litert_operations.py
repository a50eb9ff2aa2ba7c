"""Times of a LiteRT file's operations, each in a file of its own: the runtime has no profiler in Python.

What fusing operations saves, such as an activation within a convolution, is seen; what the runtime saves by keeping a
map in the cache between two operations is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: Untimed runs of each operation.
_WARM_UP = 3


def operation_times(path: Path, threads: int, count: int) -> list[list[tuple[str, str, float]]]:
    """Of each of `count` runs all operations: (place and output shape, kind and type of its map, milliseconds)."""
    rows = [[(name, kind, one) for one in _timed(single, threads, count)] for name, kind, single in _singles(path)]
    return [list(run) for run in zip(*rows, strict=True)]


def _singles(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Every operation of the main graph: its name, its kind, a flat-buffer that holds it alone."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    types = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    count = len(schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).subgraphs[0].operators)
    for place in range(count):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        graph = model.subgraphs[0]
        operator = graph.operators[place]
        maps = [int(one) for one in operator.inputs if one >= 0 and not _is_constant(model, graph.tensors[one])]
        if not maps:  # a constant's conversion, done once when the file is loaded
            continue
        shape = "x".join(map(str, graph.tensors[operator.outputs[0]].shape))
        kind = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
        graph.operators, graph.inputs, graph.outputs = [operator], maps, [int(one) for one in operator.outputs]
        model.signatureDefs, model.metadata = [], []
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        yield f"{place} {shape}", f"{kind} {types[graph.tensors[maps[0]].type]}", bytes(builder.Output())


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _timed(content: bytes, threads: int, count: int) -> list[float]:
    """Milliseconds of each run on random maps."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for given in interpreter.get_input_details():
        values = random.uniform(-100, 100, given["shape"])
        interpreter.set_tensor(given["index"], values.astype(given["dtype"]))
    found = []
    for run in range(_WARM_UP + count):
        started = time.perf_counter()
        interpreter.invoke()
        if run >= _WARM_UP:
            found.append(1e3 * (time.perf_counter() - started))
    return found
