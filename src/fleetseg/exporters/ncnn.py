"""ncnn: a .param file of layers and the weights in a .bin file beside it, made by pnnx."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import torch

from fleetseg.errors import ExportError
from fleetseg.exporters.source import Source, evaluating


def write(source: Source, path: Path) -> None:
    """Write `path` and its .bin; `ExportError` names the operation that ncnn lacks.

    The format has no fields of its own. They stand as one line of JSON after the last layer, where ncnn, which counts
    layers, does not read any more.
    """
    import pnnx

    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
        traced = Path(folder) / "network.pt"
        with evaluating(source.module), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.jit.trace(source.module, source.example, check_trace=False)  # type: ignore[no-untyped-call]
            program.save(str(traced))
        shape = ",".join(str(length) for length in source.example.shape)
        half = int(source.form.precision == "fp16")
        # pnnx writes beside the file and into the current folder, and says everything that it does.
        finished = subprocess.run(
            [pnnx.EXEC_PATH, traced.name, f"inputshape=[{shape}]", f"fp16={half}"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        layers, weights = (Path(folder) / f"network.ncnn.{suffix}" for suffix in ("param", "bin"))
        if finished.returncode != 0 or not layers.is_file() or not weights.is_file():
            last = [line for line in finished.stderr.splitlines() if line.strip()][-1:]
            raise ExportError(f"pnnx could not convert the network to ncnn ({' '.join(last)})")
        text = layers.read_text()
        absent = unknown_layer(text)
        if absent:
            raise ExportError(f"ncnn has no layer for {absent}, which the network needs; ONNX and OpenVINO have")
        path.write_text(f"{text.rstrip()}\n{json.dumps(source.carried)}\n")
        shutil.copyfile(weights, path.with_suffix(".bin"))


def unknown_layer(text: str) -> str:
    """The first layer that pnnx could not translate (those have dots in their names), or ""."""
    for line in text.splitlines()[2:]:
        name = line.split(maxsplit=1)[0] if line.strip() else ""
        if "." in name:
            return name
    return ""
