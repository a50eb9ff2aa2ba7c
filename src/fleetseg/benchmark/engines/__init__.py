"""Engines in their best form: a uint8 RGB image in, a uint8 class map out, the same number of threads.

Each module has `FORMS`, by precision the ways in which the engine can do it; `prepare`, which writes its files; and
`load`, which reads them and returns the function that is timed. Where there are several forms, the quickest is found
out before the comparison. A module imports its engine when it is imported itself: no time is charged for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol, cast

from fleetseg.benchmark.job import Image, Job, Mask

#: The function that is timed.
Run = Callable[[Image], Mask]

_MODULES = {
    "native": "native",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "opencv": "opencv",
    "torch": "pytorch",
    "torch.compile": "pytorch_compiled",
    "ncnn": "ncnn",
    "file": "exported",
}


class EngineModule(Protocol):
    """What an engine's module has."""

    #: Precision → names of its forms, at least one.
    FORMS: Mapping[str, tuple[str, ...]]

    def prepare(self, job: Job) -> None:
        """Write what `load` reads, in a process of its own."""
        ...

    def load(self, job: Job, form: str) -> Run:
        """Everything from files on disk to a function that can be called."""
        ...


def engine_module(engine: str) -> EngineModule:
    """The module of an engine; `ImportError` if its package is not installed."""
    return cast(EngineModule, import_module(f"{__name__}.{_MODULES[engine]}"))
