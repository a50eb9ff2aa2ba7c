"""LiteRT (TensorFlow Lite): one flat-buffer, converted by litert-torch."""

from __future__ import annotations

import io
import json
import logging
import tempfile
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from fleetseg.exporters.litert_fields import finished
from fleetseg.exporters.source import Source, evaluating


def write(source: Source, path: Path) -> None:
    """Write `source` to the existing `path`; fields as the model's ``fleetseg`` metadata."""
    path.write_bytes(finished(converted(source), json.dumps(source.carried), source.form.precision))


def converted(source: Source) -> bytes:
    """The flat-buffer as litert-torch makes it, in float32."""
    import litert_torch

    told = io.StringIO()
    with (
        tempfile.TemporaryDirectory(prefix="fleetseg-") as folder,
        evaluating(source.module),
        warnings.catch_warnings(),
        redirect_stdout(told),
        redirect_stderr(told),
    ):
        warnings.simplefilter("ignore")
        logging.getLogger("absl").setLevel(logging.ERROR)
        path = Path(folder) / "network.tflite"
        litert_torch.convert(source.module, (source.example,)).export(str(path))
        return path.read_bytes()
