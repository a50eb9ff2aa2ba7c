"""ONNX files with dynamic height and width, and the model's metadata inside."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from fleetseg.atomic import write_bytes
from fleetseg.errors import MissingExtraError
from fleetseg.metadata import METADATA_KEY, ModelMetadata

#: Every operation used is in it, and every runtime of the last four years reads it.
OPSET = 18


def export_onnx(network: nn.Module, metadata: ModelMetadata, path: str | Path) -> None:
    """Write `network` as ONNX: input ``image`` (N, C, H, W) float32 normalised, output ``logits``.

    N, H and W are free; padding to a multiple of 8 and cropping are part of the graph. Max-unpooling appears as
    comparisons and a depth-to-space, never as an operator of its own.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise MissingExtraError("exporting to ONNX", "train") from error
    example = torch.zeros(2, metadata.network.in_channels, 40, 56)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            network.eval(),
            (example,),
            buffer,
            input_names=["image"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamic_axes={
                "image": {0: "batch", 2: "height", 3: "width"},
                "logits": {0: "batch", 2: "rows", 3: "columns"},
            },
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, metadata.to_json()
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())
