"""OpenVINO's CPU plugin, in float32, bf16, or int8 quantised after training by NNCF."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.job import Image, Job, Mask
from fleetseg.benchmark.paths import onnx_path
from fleetseg.errors import BenchmarkError

FORMS = dict.fromkeys(("fp32", "bf16", "int8"), ("model",))

#: Scenes from which NNCF takes the range of every map.
CALIBRATION_SCENES = 32

_MODEL = "model.xml"


def prepare(job: Job) -> None:
    """Write the model with both ends: normalisation by the preprocessing interface, and an arg-max."""
    from fleetseg.benchmark.onnx_files import onnx_file

    core = openvino.Core()
    if job.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise BenchmarkError("this processor has no bf16 instructions")
    onnx_file(job, "network")
    model = core.read_model(onnx_path(job, "network"))
    if job.precision == "int8":
        model = _quantised(model, job)
    _add_ends(model, job)
    openvino.save_model(model, job.own / _MODEL, compress_to_fp16=False)


def load(job: Job, form: str) -> Run:  # noqa: ARG001 - there is one form
    """Compile the model for latency."""
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": job.threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "bf16" if job.precision == "bf16" else "f32",
    }
    compiled = openvino.Core().compile_model(job.own / _MODEL, "CPU", hints)
    request = compiled.create_infer_request()

    def classes(image: Image) -> Mask:
        return np.asarray(request.infer([image[None]], share_inputs=True, share_outputs=False)[0][0])

    return classes


def _add_ends(model: Any, job: Job) -> None:
    """From (1, H, W, 3) uint8 RGB to (1, rows, columns) uint8 classes, in place."""
    from openvino import opset13

    normalisation = job.metadata().normalisation
    logits = model.outputs[0].get_node().input_value(0)
    largest = opset13.topk(logits, opset13.constant(1, dtype="int32"), axis=1, mode="max", sort="none")
    classes = opset13.squeeze(opset13.convert(largest.output(1), "u8"), opset13.constant(1, dtype="int32"))
    model.add_results([opset13.result(classes)])
    model.remove_result(model.get_results()[0])
    ends = PrePostProcessor(model)
    source = ends.input()
    source.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    source.model().set_layout(openvino.Layout("NCHW"))
    steps = source.preprocess().convert_element_type(openvino.Type.f32)
    if normalisation.order == "bgr":
        steps.reverse_channels()
    steps.mean(list(normalisation.mean)).scale([std / normalisation.scale for std in normalisation.std])
    ends.build()


def _quantised(model: Any, job: Job) -> Any:
    import nncf

    from fleetseg.benchmark.subject import scene

    normalisation, size = job.metadata().normalisation, job.size()
    images = [normalisation.apply(scene("train", index, size)) for index in range(CALIBRATION_SCENES)]
    # "Mixed": symmetric weights and asymmetric activations, as PReLU's negative side needs.
    return nncf.quantize(
        model,
        nncf.Dataset(images),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=CALIBRATION_SCENES,
    )
