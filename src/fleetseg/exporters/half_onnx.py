"""ONNX files whose weights are stored in half precision; what is computed stays float32."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

#: Smaller tensors stay float32: the cast that each needs takes as much room as it saves.
_LEAST_VALUES = 32


def store_half(model: Any) -> None:
    """Store the weights as float16, each with a cast to float32 that runtimes compute once when they load the file.

    In place. Inner names become short: in half precision they would be a tenth of the file.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _LEAST_VALUES:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}:half"))
        casts.append(helper.make_node("Cast", [f"{name}:half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    shorten_names(graph)


def shorten_names(graph: Any, named: Collection[str] = ()) -> None:
    """Tensors get numbers for names, in place; nodes lose theirs, but for the kinds of operation in `named`."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    short: dict[str, str] = {"": ""}
    del graph.value_info[:]

    def renamed(name: str) -> str:
        if name in kept:
            return name
        return short.setdefault(name, f"{len(short):x}")

    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
        tensor.doc_string = ""
    for node in graph.node:
        node.name, node.doc_string = node.name if node.op_type in named else "", ""
        del node.metadata_props[:]
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
