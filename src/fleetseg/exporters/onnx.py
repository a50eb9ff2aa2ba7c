"""ONNX files with dynamic height and width, and the model's metadata inside."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from fleetseg.atomic import replacing
from fleetseg.errors import MissingExtraError
from fleetseg.exporters.branchless import Branchless
from fleetseg.exporters.half_onnx import store_half
from fleetseg.exporters.source import Source, evaluating
from fleetseg.metadata import METADATA_KEY, ModelMetadata

#: Every operation used is in it, and every runtime of the last four years reads it.
OPSET = 18

#: Height and width are free in the file; the example's are unequal and no multiple of 8, so that padding is
#: traced.
_EXAMPLE_SIZE = (37, 53)


def export_onnx(network: nn.Module, metadata: ModelMetadata, path: str | Path) -> None:
    """Write `network` as ONNX: input ``image`` (N, C, H, W) float32 normalised, output ``logits``.

    N, H and W are free; padding to a multiple of 8 and cropping are part of the graph. Max-unpooling appears
    as comparisons and a depth-to-space, never as an operator of its own. The network is exported as it
    evaluates and left as it was. `ValueError` if its logits are not what the metadata says, `OutputError` if
    the file cannot be written.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("exporting to ONNX", "onnx") from error
    example = torch.zeros(2, metadata.network.in_channels, *_EXAMPLE_SIZE)
    with replacing(path) as temporary:
        with evaluating(network):
            _check_logits(network(example), metadata)
        axes = {"image": {0: "batch", 2: "height", 3: "width"}, "logits": {0: "batch", 2: "rows", 3: "columns"}}
        _trace(network, example, temporary, "image", "logits", axes)
        model = onnx.load(temporary)
        # Where the network cuts its result last, the exporter has lost count of the classes.
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(metadata.classes)
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, metadata.to_json()
        onnx.checker.check_model(model, full_check=True)
        temporary.write_bytes(model.SerializeToString())


def export_fixed(module: nn.Module, example: Tensor, path: str | Path, input_name: str, output_name: str) -> None:
    """Write any module of one input and one output as ONNX for inputs of exactly the example's shape and type.

    For engines that are quicker, or only work, with fixed shapes. The module is exported as it evaluates and left as
    it was. `OutputError` if the file cannot be written.
    """
    with replacing(path) as temporary:
        _trace(module, example, temporary, input_name, output_name, {})


def write(source: Source, path: Path) -> None:
    """Write `source` to the existing `path`: standard operations alone, fields in ``metadata_props``."""
    import onnx

    output = source.form.head
    _trace(source.module, source.example, path, "image", output, _free_axes(source))
    if source.form.input_size is not None:
        fold_constants(path)
    model = onnx.load(path)
    if source.form.precision == "fp16":
        store_half(model)
    for key, value in source.carried.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _free_axes(source: Source) -> dict[str, dict[int, str]]:
    if source.form.input_size is not None:
        return {}
    first = 1 if source.form.preprocessing else 2
    axes = {"image": {0: "batch", first: "height", first + 1: "width"}}
    rows = 2 if source.form.head == "logits" else 1
    axes[source.form.head] = {0: "batch", rows: "rows", rows + 1: "columns"}
    return axes


def fold_constants(path: Path) -> None:
    """Compute what depends on shapes alone, with ONNX Runtime's basic optimiser, whose result is plain ONNX.

    OpenCV's new engine does not take the file without it, and its old one is six times slower.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path.with_suffix(".folded"))
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    os.replace(path.with_suffix(".folded"), path)  # noqa: PTH105 - as in fleetseg.atomic


def _trace(
    module: nn.Module, example: Tensor, path: Path, input_name: str, output_name: str, axes: dict[str, dict[int, str]]
) -> None:
    with evaluating(module), _quiet(), Branchless():
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=[input_name],
            output_names=[output_name],
            opset_version=OPSET,
            dynamic_axes=axes,
            dynamo=False,
        )


def _check_logits(logits: Tensor, metadata: ModelMetadata) -> None:
    stride = metadata.network.output_stride
    expected = (2, metadata.network.num_classes, *(-(-side // stride) for side in _EXAMPLE_SIZE))
    if tuple(logits.shape) != expected:
        raise ValueError(f"the network's logits have shape {tuple(logits.shape)}; its metadata promises {expected}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's advice to use another exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
