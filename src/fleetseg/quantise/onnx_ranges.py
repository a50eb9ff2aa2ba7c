"""Which values the maps of an ONNX graph take on calibration images."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Tensor → (least, largest) value that its integers shall reach.
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Measured:
    """Of each map that was watched."""

    ranges: Ranges
    #: Pixels of the last image's map.
    pixels: dict[str, int]


def measure_ranges(model: Any, names: Iterable[str], batches: Iterable[npt.NDArray[Any]]) -> Measured:
    """The mean over images of a map's least and of its largest value.

    The extremes of all images together are those of single pixels; integers that reach them are coarser for all
    others.
    """
    import onnxruntime
    from onnx import helper

    names = sorted(set(names))
    watched = copy.deepcopy(model)
    given = {value.name for value in (*watched.graph.input, *watched.graph.output)}
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in given)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    outputs = [name for name in names if name != source]
    least: dict[str, list[float]] = {name: [] for name in names}
    largest: dict[str, list[float]] = {name: [] for name in names}
    values: dict[str, npt.NDArray[Any]] = {}
    for batch in batches:
        values = dict(zip(outputs, session.run(outputs, {source: batch}), strict=True))
        values[source] = batch
        for name in names:
            least[name].append(float(values[name].min()))
            largest[name].append(float(values[name].max()))
    ranges = {name: (float(np.mean(least[name])), float(np.mean(largest[name]))) for name in names}
    return Measured(ranges, {name: int(np.prod(values[name].shape[2:])) for name in names})
