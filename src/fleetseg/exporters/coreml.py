"""Core ML: an .mlpackage folder, an ML program for Apple's devices. Written anywhere, run on macOS alone."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path

import torch

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
            skip_model_load=True,
        )
    for key, value in source.carried.items():
        model.user_defined_metadata[key] = value
    if path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    model.save(str(path))
