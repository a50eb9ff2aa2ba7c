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
    if source.form.precision == "fp16":
        shorten_names(model)
        model = in_half(model)
    save(model, source.carried, path, small=source.form.precision == "fp16")


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


def in_half(model: Any) -> Any:
    """The model in float16 between the ends that it had.

    OpenVINO can also keep float32 and convert each constant; those conversions take a third of the description. What
    is computed is the same: the device chooses the precision, and its float32 holds float16 numbers exactly.
    """
    from openvino import Type
    from openvino.passes import ConvertFP32ToFP16, Manager
    from openvino.preprocess import PrePostProcessor

    given, made = model.input(0).get_element_type(), model.output(0).get_element_type()
    manager = Manager()
    manager.register_pass(ConvertFP32ToFP16())
    manager.run_passes(model)
    ends = PrePostProcessor(model)
    if given == Type.f32:
        ends.input().tensor().set_element_type(given)
    if made == Type.f32:
        ends.output().tensor().set_element_type(made)
    return ends.build()


def save(model: Any, fields: Mapping[str, str], path: Path, *, small: bool = False) -> None:
    """Write `model` with our metadata; with `small` without shapes, which OpenVINO infers when it reads the file."""
    import openvino

    for key, value in fields.items():
        model.set_rt_info(value, [key])
    openvino.save_model(model, path, compress_to_fp16=False)
    # A third of the description is indentation.
    text = re.sub(r">\s+<", "><", path.read_text(encoding="utf-8"))
    path.write_text(_without_shapes(text) if small else text, encoding="utf-8")


def _without_shapes(text: str) -> str:
    """The description without what the reader infers: shapes of all maps, element types of what an operation reads."""
    text = re.sub(r"<dim>[^<]*</dim>", "", text)
    text = re.sub(r"<input>.*?</input>", lambda found: re.sub(r' precision="\w+"', "", found[0]), text)
    text = re.sub(r"(<port [^>]*[^/ >]) ?></port>", r"\1/>", text)
    return text.replace(" />", "/>")


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
