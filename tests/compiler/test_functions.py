"""The vector functions behind the activations, against float64."""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from fleetseg.compiler.build import find_compiler
from fleetseg.compiler.emit.functions import activation, function_helpers
from fleetseg.compiler.emit.vectors import vector_helpers
from fleetseg.compiler.target import TARGETS

#: Operation or helper → what it means; "log_" takes positive numbers alone.
MEANING: dict[str, Callable[[float], float]] = {
    "exp_": lambda x: math.exp(min(max(x, -87.33), 88.37)),
    "log_": lambda x: math.log(x),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "elu": lambda x: x if x > 0 else 0.7 * math.expm1(x),
    "tanh": math.tanh,
    "gelu": lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "hard_sigmoid": lambda x: min(max(x + 3, 0), 6) / 6,
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "clip": lambda x: min(max(x, -1.5), 2.5),
}
#: What a small relative error cannot be asked of: results next to nothing.
ABSOLUTE = {"gelu": 4e-7, "gelu_tanh": 4e-7, "log_": 1e-7, "hard_sigmoid": 2e-7, "hard_swish": 1e-6}
LANES = 4


def expression(name: str) -> str:
    if name in ("exp_", "log_"):
        return f"{name}{LANES}(v)"
    return activation(name, {"alpha": 0.7, "low": -1.5, "high": 2.5}, LANES, "v")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("functions")
    functions = [
        f"void do_{name}(const float *in, float *out, int n)\n{{ for (int x = 0; x < n; x += {LANES}) {{ "
        f"f{LANES} v = load{LANES}(in + x); v = {expression(name)}; store{LANES}(out + x, v); }} }}"
        for name in MEANING
    ]
    text = "\n".join(
        [
            "#include <stdint.h>\n#include <math.h>",
            "#define HELPER static inline __attribute__((unused, always_inline))",
            vector_helpers([LANES], TARGETS["generic"]),
            function_helpers([LANES], functions),
            *functions,
        ]
    )
    (folder / "functions.c").write_text(text)
    command = [*find_compiler(), "-std=c11", "-O2", "-ffp-contract=fast", "-shared", "-fPIC"]
    command += [str(folder / "functions.c"), "-o", str(folder / "functions.so"), "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "functions.so"))


@pytest.mark.parametrize("name", MEANING)
def test_close_to_float64(library: ctypes.CDLL, name: str) -> None:
    spread = np.concatenate(
        [np.linspace(-60, 60, 40000), np.geomspace(1e-30, 80, 20000), -np.geomspace(1e-30, 80, 20000)]
    )
    values = np.abs(spread[spread != 0]) if name == "log_" else spread
    values = values[: values.size // LANES * LANES].astype(np.float32)
    result = np.empty_like(values)
    getattr(library, f"do_{name}")(
        ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(result.ctypes.data), values.size
    )
    expected = np.array([MEANING[name](float(value)) for value in values])
    error = np.abs(result - expected)
    # Below the smallest normal number digits are lost in any float32.
    allowed = np.maximum(2e-6 * np.abs(expected), ABSOLUTE.get(name, 1.2e-38))
    assert (error <= allowed).all(), (name, values[np.argmax(error / allowed)], (error / allowed).max())


def test_helpers_stand_only_where_they_are_called() -> None:
    assert function_helpers([4, 8], ["v = max4(v, w);"]) == ""
    assert "sigmoid8(" not in function_helpers([4, 8], ["v = sigmoid4(v);"])
