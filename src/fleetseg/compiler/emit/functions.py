"""Activations and the functions behind them, on vectors: polynomials in float32, accurate to about 1e-6.

Everything is GNU vector arithmetic, so that each target gets it without a line of its own. The helpers of a lane count
are part of the file if any kernel calls one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

#: Operations that `activation` writes.
ACTIVATIONS = frozenset(
    {"sigmoid", "silu", "elu", "tanh", "gelu", "gelu_tanh", "hard_sigmoid", "hard_swish", "clip", "relu6"}
)

_NAMES = ("pick", "expm1_", "exp_", "log_", "sigmoid", "elu", "tanh_", "gelu", "gelu_tanh")

_HELPERS = """\
HELPER f{n} pick{n}(i{n} mask, f{n} a, f{n} b) {{ return (f{n})((mask & (i{n})a) | (~mask & (i{n})b)); }}
/* 2^k, and exp(r) - 1 of what is left: x = k ln 2 + r with |r| at most half of ln 2. */
HELPER f{n} reduced{n}(f{n} x, f{n} *power)
{{
    x = min{n}(max{n}(x, splat{n}(-87.33f)), splat{n}(88.37f));
    const f{n} shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the whole part ends in the last bits */
    const f{n} k = shifted - 12582912.0f;
    const f{n} r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    *power = (f{n})(((i{n})shifted - 0x4b400000 + 127) << 23);
    f{n} q = r * 1.9875691500e-4f + 1.3981999507e-3f;
    q = q * r + 8.3334519073e-3f;
    q = q * r + 4.1665795894e-2f;
    q = q * r + 1.6666665459e-1f;
    q = q * r + 5.0000001201e-1f;
    return q * (r * r) + r;
}}
HELPER f{n} exp_{n}(f{n} x) {{ f{n} s; const f{n} q = reduced{n}(x, &s); return s * q + s; }}
HELPER f{n} expm1_{n}(f{n} x) {{ f{n} s; const f{n} q = reduced{n}(x, &s); return s * q + (s - 1.0f); }}
/* The natural logarithm of a positive normal number: m in [sqrt(1/2), sqrt(2)) times 2^e. */
HELPER f{n} log_{n}(f{n} x)
{{
    const i{n} bits = (i{n})x - 0x3f3504f3;
    const i{n} e = bits >> 23;
    const f{n} m = (f{n})((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    const f{n} k = __builtin_convertvector(e, f{n}), z = m * m;
    f{n} q = m * 7.0376836292e-2f - 1.1514610310e-1f;
    q = q * m + 1.1676998740e-1f;
    q = q * m - 1.2420140846e-1f;
    q = q * m + 1.4249322787e-1f;
    q = q * m - 1.6668057665e-1f;
    q = q * m + 2.0000714765e-1f;
    q = q * m - 2.4999993993e-1f;
    q = q * m + 3.3333331174e-1f;
    q = q * m * z - k * 2.12194440e-4f - 0.5f * z;
    return (q + m) + k * 0.693359375f;
}}
HELPER f{n} sigmoid{n}(f{n} x) {{ return 1.0f / (1.0f + exp_{n}(-x)); }}
HELPER f{n} elu{n}(f{n} x, float alpha)
{{
    return max{n}(x, splat{n}(0.0f)) + expm1_{n}(min{n}(x, splat{n}(0.0f))) * alpha;
}}
/* tanh(x) = -expm1(-2x) / (expm1(-2x) + 2), which keeps its digits near zero. */
HELPER f{n} tanh_{n}(f{n} x) {{ const f{n} q = expm1_{n}(x * -2.0f); return -q / (q + 2.0f); }}
/* x times the normal distribution function, by Abramowitz and Stegun's 7.1.26. */
HELPER f{n} gelu{n}(f{n} x)
{{
    const f{n} u = max{n}(x, -x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * u);
    f{n} q = t * 1.061405429f - 1.453152027f;
    q = q * t + 1.421413741f;
    q = q * t - 0.284496736f;
    q = q * t + 0.254829592f;
    const f{n} tail = q * t * exp_{n}(-u * u) * 0.5f;
    return x * pick{n}(x > 0.0f, 1.0f - tail, tail);
}}
HELPER f{n} gelu_tanh{n}(f{n} x)
{{
    return x * sigmoid{n}((x + x * x * x * 0.044715f) * 1.59576912f);
}}
"""


def function_helpers(lanes: Iterable[int], bodies: Iterable[str]) -> str:
    """C: the helpers for those lane counts at which any of `bodies` calls one."""
    text = "\n".join(bodies)
    return "\n".join(_HELPERS.format(n=n) for n in sorted(set(lanes)) if any(f"{name}{n}(" in text for name in _NAMES))


def activation(op: str, attributes: Mapping[str, Any], n: int, v: str) -> str:
    """C: the value of the activation at the vector variable `v` of `n` lanes."""
    if op in ("sigmoid", "gelu", "gelu_tanh"):
        return f"{op}{n}({v})"
    if op == "silu":
        return f"{v} * sigmoid{n}({v})"
    if op == "tanh":
        return f"tanh_{n}({v})"
    if op == "elu":
        return f"elu{n}({v}, {c_float(attributes['alpha'])})"
    if op == "clip":
        return _clipped(v, n, attributes["low"], attributes["high"])
    if op == "relu6":
        return _clipped(v, n, 0.0, 6.0)
    gate = f"{_clipped(f'{v} + 3.0f', n, 0.0, 6.0)} * (1.0f / 6.0f)"
    return gate if op == "hard_sigmoid" else f"{v} * ({gate})"


def _clipped(value: str, n: int, low: float, high: float) -> str:
    """C: the value within limits, of which either may be infinite."""
    if low != -math.inf:
        value = f"max{n}({value}, splat{n}({c_float(low)}))"
    return value if high == math.inf else f"min{n}({value}, splat{n}({c_float(high)}))"


def c_float(value: float) -> str:
    """A float32 literal that reads back exactly."""
    text = f"{value:.9g}"
    return f"{text}f" if any(mark in text for mark in ".en") else f"{text}.0f"
