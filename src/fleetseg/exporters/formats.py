"""The formats that `fleetseg export` writes and what each of them can do. Known without torch."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from fleetseg.errors import MissingExtraError, UnknownNameError, UsageError


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    #: The word after ``--format``, also the name of the module that writes it.
    name: str
    title: str
    #: How the file's name ends; "" for a folder.
    suffix: str
    #: Which extra of fleetseg brings `packages`.
    extra: str
    #: What must be importable to write it, beside torch, and to run it.
    packages: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32", "fp16")
    #: Whether one file can take images of any size.
    dynamic: bool = False
    #: Whether places of maxima are found by arithmetic, because there are no comparisons.
    arithmetic: bool = False
    #: Further files beside the first: their suffixes.
    beside: tuple[str, ...] = ()
    #: Whether transposed convolutions are written as convolutions and a depth-to-space.
    sub_pixel: bool = False
    #: Whether half precision is what it computes in, and not only what weights are stored in.
    computes_half: bool = False

    def missing_packages(self) -> list[str]:
        """Those that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def require(self) -> None:
        """`MissingExtraError` with the install line unless the format can be written."""
        if self.missing_packages():
            raise MissingExtraError(f"exporting to {self.title}", self.extra)

    def check(self, size: tuple[int, int] | None, precision: str) -> None:
        """`UsageError` for what the format cannot have."""
        if precision not in self.precisions:
            known = ", ".join(self.precisions)
            able = [item.name for item in FORMATS.values() if precision in item.precisions]
            hint = f"; {', '.join(able)} can be {precision}" if able else ""
            raise UsageError(f"--precision {precision}: {self.title} is written in {known}{hint}")
        if size is None and not self.dynamic:
            others = ", ".join(item.name for item in FORMATS.values() if item.dynamic)
            raise UsageError(
                f"--size dynamic: a file of {self.title} takes images of one size; give WIDTHxHEIGHT, "
                f"or a format of free size ({others})"
            )


#: With int8 after training.
_WITH_INT8 = ("fp32", "fp16", "int8")

_ALL = (
    Format("onnx", "ONNX", ".onnx", "onnx", ("onnx",), _WITH_INT8, dynamic=True),
    Format(
        *("openvino", "OpenVINO IR", ".xml", "openvino", ("openvino", "onnx"), _WITH_INT8),
        dynamic=True,
        beside=(".bin",),
    ),
    Format("ncnn", "ncnn", ".param", "ncnn", ("ncnn", "pnnx"), arithmetic=True, beside=(".bin",)),
    Format("torch", "torch.export", ".pt2", "train", dynamic=True),
    Format("litert", "LiteRT", ".tflite", "litert", ("litert_torch", "ai_edge_litert"), _WITH_INT8, sub_pixel=True),
    Format("executorch", "ExecuTorch", ".pte", "executorch", ("executorch",), computes_half=True),
    Format("coreml", "Core ML", ".mlpackage", "coreml", ("coremltools",)),
    Format("c", "compiled C", "", "train", precisions=("fp32", "bf16")),
)

#: ``--format`` word → format.
FORMATS = {item.name: item for item in _ALL}


def format_named(name: str) -> Format:
    """`UnknownNameError` offers the nearest."""
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return FORMATS[name]
