"""Core ML: an .mlpackage folder, an ML program for Apple's devices. Written anywhere, run on macOS alone."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from fleetseg.exporters.coreml_compact import compact
from fleetseg.exporters.source import Source, evaluating


def write(source: Source, path: Path) -> None:
    """Write the folder `path`; fields as user-defined metadata.

    `ExportError` if coremltools' own checks of the program fail.
    """
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools as ct

    half = source.form.precision == "fp16"
    with evaluating(source.module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(source.module, source.example, check_trace=False)  # type: ignore[no-untyped-call]
        model = ct.convert(
            traced,
            inputs=[ct.TensorType(name="image", shape=tuple(source.example.shape))],
            outputs=[ct.TensorType(name=source.form.head)],
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            pass_pipeline=_passes(ct, source.module),
            skip_model_load=True,
        )
    for key, value in source.carried.items():
        model.user_defined_metadata[key] = value
    spec = model.get_spec()
    compact(spec)
    _check(spec, model.weights_dir)
    smaller = ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
    if path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    smaller.save(str(path))


def _check(spec: Any, weights: str) -> None:
    """Read the program as coremltools does, which infers all shapes and types anew, and let it be validated."""
    from coremltools.converters.mil.frontend.milproto.load import load

    load(spec, specification_version=spec.specificationVersion, file_weights_dir=weights).validate()


def _passes(ct: Any, module: torch.nn.Module) -> Any:
    """coremltools' own, but a map that is made of a number, as un-pooling's zeros are, is not written out.

    No weight is larger than the largest one, so the conversion of weights to half precision is still done ahead.
    """
    largest = max((tensor.numel() for tensor in (*module.parameters(), *module.buffers())), default=0)
    passes = ct.PassPipeline()
    passes.set_options("common::const_elimination", {"skip_const_by_size": str(largest)})
    return passes
