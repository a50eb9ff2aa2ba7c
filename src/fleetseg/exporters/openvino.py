"""OpenVINO's intermediate representation: an .xml file and the weights in a .bin file beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fleetseg.exporters import onnx
from fleetseg.exporters.source import Source


def write(source: Source, path: Path) -> None:
    """Write `path` and its .bin: by way of ONNX, read by OpenVINO itself; fields in ``rt_info``."""
    import dataclasses

    import openvino

    plain = dataclasses.replace(source, form=source.form.model_copy(update={"precision": "fp32"}))
    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
        graph = Path(folder) / "network.onnx"
        graph.touch()
        onnx.write(plain, graph)
        model = openvino.Core().read_model(graph)
        for key, value in source.carried.items():
            model.set_rt_info(value, [key])
        # Constants in half precision are converted when the file is loaded; what is computed stays as it was.
        openvino.save_model(model, path, compress_to_fp16=source.form.precision == "fp16")
