"""OpenVINO's intermediate representation: an .xml file and the weights in a .bin file beside it."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fleetseg.exporters import onnx
from fleetseg.exporters.source import Source


def write(source: Source, path: Path) -> None:
    """Write `path` and its .bin: by way of ONNX, read by OpenVINO itself; fields in ``rt_info``."""
    model = converted(source)
    half = source.form.precision == "fp16"
    if half:
        shorten_names(model)
    save(model, source.carried, path, half=half)


def converted(source: Source) -> Any:
    """The network as OpenVINO reads it, in float32 whatever the form's precision is."""
    import openvino

    plain = dataclasses.replace(source, form=source.form.model_copy(update={"precision": "fp32"}))
    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
        graph = Path(folder) / "network.onnx"
        graph.touch()
        onnx.write(plain, graph)
        model = openvino.Core().read_model(graph)
        _fold_constants(model)
        return model


def _fold_constants(model: Any) -> None:
    """Compute what depends on shapes alone: for every PReLU the reader leaves a dozen operations of that kind."""
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def save(model: Any, fields: Mapping[str, str], path: Path, *, half: bool = False) -> None:
    """Write `model` with our metadata; with `half` its constants are stored in half precision."""
    import openvino

    for key, value in fields.items():
        model.set_rt_info(value, [key])
    # Constants in half precision are converted when the file is loaded; what is computed stays as it was.
    openvino.save_model(model, path, compress_to_fp16=half)
    # A third of the description is indentation.
    path.write_text(re.sub(r">\s+<", "><", path.read_text(encoding="utf-8")), encoding="utf-8")


def shorten_names(model: Any, kept: Collection[str] = ()) -> None:
    """Inner names but for `kept`, which hold paths into the network's code, become numbers, in place.

    In half precision and int8 size matters.
    """
    last = {result.input_value(0).get_node().get_name() for result in model.get_results()}
    for number, operation in enumerate(model.get_ordered_ops()):
        if operation.get_type_name() in ("Parameter", "Result") or operation.get_name() in last:
            continue
        if operation.get_friendly_name() not in kept:
            operation.set_friendly_name(f"{number:x}")
        for output in operation.outputs():
            output.get_tensor().set_names(set())
