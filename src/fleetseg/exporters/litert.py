"""LiteRT (TensorFlow Lite): one flat-buffer, converted by litert-torch."""

from __future__ import annotations

import io
import json
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from fleetseg.exporters.litert_fields import with_fields
from fleetseg.exporters.source import Source, evaluating


def write(source: Source, path: Path) -> None:
    """Write `source` to the existing `path`; fields as the model's ``fleetseg`` metadata."""
    import litert_torch

    told = io.StringIO()
    with evaluating(source.module), warnings.catch_warnings(), redirect_stdout(told), redirect_stderr(told):
        warnings.simplefilter("ignore")
        logging.getLogger("absl").setLevel(logging.ERROR)
        litert_torch.convert(source.module, (source.example,)).export(str(path))
    content = with_fields(path.read_bytes(), json.dumps(source.carried), half=source.form.precision == "fp16")
    path.write_bytes(content)
