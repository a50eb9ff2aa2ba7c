"""Which engines there are, in which precisions, and what a call chooses of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetseg.compilation import PRECISIONS
from fleetseg.errors import UnknownNameError

#: Engine → precisions in which it is timed.
ENGINES: Mapping[str, tuple[str, ...]] = {
    "native": PRECISIONS,
    "openvino": ("fp32", "bf16", "int8"),
    "onnxruntime": ("fp32",),
    "opencv": ("fp32",),
    "torch": ("fp32", "bf16"),
    "torch.compile": ("fp32", "bf16"),
    "ncnn": ("fp32",),
}

#: Engine, or engine:precision → packages beyond fleetseg's own that it needs. ncnn's model comes from pnnx.
_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "openvino:int8": ("openvino", "nncf"),
    "ncnn": ("ncnn", "pnnx"),
}


@dataclass(frozen=True)
class Choice:
    """An engine in one precision."""

    engine: str
    precision: str
    #: The word of the call that asked for it, or "" if nothing did.
    asked: str = ""

    def __str__(self) -> str:
        return f"{self.engine}:{self.precision}"

    def missing(self) -> str:
        """Why it cannot start: the sentence with the install line, or "" if everything is installed."""
        packages = _PACKAGES.get(str(self), _PACKAGES.get(self.engine, ()))
        absent = [name for name in packages if importlib.util.find_spec(name) is None]
        if not absent:
            return ""
        verb = "is" if len(absent) == 1 else "are"
        return f"{' and '.join(absent)} {verb} not installed: pip install 'fleetseg[benchmark]'"


def choose(words: Sequence[str]) -> tuple[Choice, ...]:
    """The engines that ``--engine`` words name, each once; without words all of them, in the order of `ENGINES`.

    A word is NAME, for all its precisions, or NAME:PRECISION. `UnknownNameError` for any other.
    """
    found: dict[tuple[str, str], Choice] = {}
    for word in words or ENGINES:
        engine, _, precision = word.partition(":")
        if engine not in ENGINES:
            raise UnknownNameError("engine", engine, ENGINES)
        if precision and precision not in ENGINES[engine]:
            raise UnknownNameError(f"precision of {engine}", precision, ENGINES[engine])
        for one in (precision,) if precision else ENGINES[engine]:
            found.setdefault((engine, one), Choice(engine, one, word if words else ""))
    return tuple(found.values())
