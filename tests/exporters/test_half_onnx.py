"""Weights in half precision: half the file, the same operations in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from fleetseg.exporters import onnx as exporter
from fleetseg.exporters.source import source_of
from fleetseg.metadata import FORM_KEY, METADATA_KEY, ExportedForm
from fleetseg.runtime.onnx_engine import OnnxEngine

Build = Callable[..., Any]


def test_weights_are_halved_and_rounded(random_network: Build, metadata_of: Build, tmp_path: Path) -> None:
    network = random_network("espnet-c", 3, alpha2=1, alpha3=1)
    files = {}
    for precision in ("fp32", "fp16"):
        form = ExportedForm(format="onnx", size=(24, 16), precision=precision)
        path = tmp_path / f"{precision}.onnx"
        exporter.write(source_of(network, metadata_of(network), form), path)
        files[precision] = path
    assert files["fp16"].stat().st_size < 0.6 * files["fp32"].stat().st_size
    model = onnx.load(files["fp16"])
    assert {entry.key for entry in model.metadata_props} == {METADATA_KEY, FORM_KEY}
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) >= 64]
    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}
    rounded = random_network("espnet-c", 3, alpha2=1, alpha3=1)
    batch = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        expected = rounded(batch).numpy()
    found = OnnxEngine(files["fp16"].read_bytes(), "half.onnx", threads=1).run(batch.numpy())
    np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())
