"""Options that several commands share, their parsing, and JSON output."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetseg.errors import UsageError

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A packaged name, a checkpoint (.safetensors, .pth), the folder of a training run or of a compiled "
        "network, or a file that fleetseg export wrote.",
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="What runs the network: own (what the file is for), auto (the fastest here, found by a trial and "
        "remembered; with --size WxH compiled too), native, onnxruntime, openvino, opencv, torch, ncnn, litert, "
        "executorch or coreml.",
        metavar="NAME",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="Where it runs: cpu, cuda (onnxruntime, torch), tensorrt (onnxruntime), gpu or npu (openvino).",
        metavar="NAME",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, metavar="N", help="Threads of the engine.  [default: one a processor]"),
]
SizeOption = Annotated[
    str | None,
    typer.Option("--size", metavar="WxH", help="Size that the network sees, such as 480x360."),
]
DataOption = Annotated[
    str, typer.Option("--data", metavar="DIR", help='Folder of a data set, or "scenes" for the built-in one.')
]
SplitOption = Annotated[str, typer.Option("--split", metavar="NAME", help="Which part of the data set.")]
JsonFileOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the figures as JSON; - for stdout."),
]


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """``480x360`` → (480, 360); `UsageError` naming the option for anything else."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if 0 in size:
        raise UsageError(f"{option} {text}: WIDTHxHEIGHT in pixels is needed, such as 480x360")
    return size


def to_json(value: Any) -> str:
    """Indented JSON text; NaN, which JSON does not have, is a programming error."""
    return json.dumps(value, indent=2, allow_nan=False)


def print_json(value: Any) -> None:
    """Print JSON to stdout, for programs."""
    print(to_json(value))


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file atomically; `OutputError` if that is impossible."""
    from fleetseg.atomic import write_bytes

    write_bytes(path, (to_json(value) + "\n").encode())
