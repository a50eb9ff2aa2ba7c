"""Vector types and the few helpers that kernels need, for each lane count in use.

GNU vectors, which gcc and clang lower for every processor. Intrinsics stand only where those compilers make several
instructions of what the processor does in one.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetseg.compiler.target import Target

_TYPES = """\
typedef float f{n} __attribute__((vector_size({bytes})));
typedef float uf{n} __attribute__((vector_size({bytes}), aligned(4), may_alias));
typedef int32_t i{n} __attribute__((vector_size({bytes})));
typedef uint32_t u{n} __attribute__((vector_size({bytes})));
typedef int16_t h{n} __attribute__((vector_size({bytes})));
typedef uint8_t b{n} __attribute__((vector_size({n})));
typedef uint8_t ub{n} __attribute__((vector_size({n}), aligned(1), may_alias));
HELPER f{n} load{n}(const float *p) {{ return *(const uf{n} *)p; }}
HELPER void store{n}(float *p, f{n} v) {{ *(uf{n} *)p = v; }}
HELPER void store_bytes{n}(uint8_t *p, b{n} v) {{ *(ub{n} *)p = v; }}
HELPER f{n} splat{n}(float v) {{ return v - (f{n}){{0}}; }}
HELPER f{n} splat_bits{n}(const void *p) {{ int32_t v; __builtin_memcpy(&v, p, 4); return (f{n})(v - (i{n}){{0}}); }}
"""

_GENERIC = """\
HELPER f{n} max{n}(f{n} a, f{n} b) {{ i{n} m = a > b; return (f{n})((m & (i{n})a) | (~m & (i{n})b)); }}
HELPER f{n} min{n}(f{n} a, f{n} b) {{ i{n} m = a < b; return (f{n})((m & (i{n})a) | (~m & (i{n})b)); }}
HELPER void better{n}(f{n} *best, i{n} *id, f{n} v, int32_t c)
{{
    i{n} m = v > *best;
    *best = (f{n})((m & (i{n})v) | (~m & (i{n})*best));
    *id = (m & (c - (i{n}){{0}})) | (~m & *id);
}}
"""

_NATIVE = """\
HELPER f{n} max{n}(f{n} a, f{n} b) {{ return (f{n}){p}_max_ps(a, b); }}
HELPER f{n} min{n}(f{n} a, f{n} b) {{ return (f{n}){p}_min_ps(a, b); }}
"""

_BETTER_GENERIC = _GENERIC[_GENERIC.index("HELPER void better") :]

_BETTER_MASKED = """\
HELPER void better{n}(f{n} *best, i{n} *id, f{n} v, int32_t c)
{{
    __mmask16 m = _mm512_cmp_ps_mask(v, *best, _CMP_GT_OQ);
    *best = _mm512_mask_mov_ps(*best, m, v);
    *id = (i{n})_mm512_mask_mov_epi32((__m512i)*id, m, _mm512_set1_epi32(c));
}}
"""

_PREFIX = {4: "_mm", 8: "_mm256", 16: "_mm512"}

#: Two channels of bf16 in a vector of 32-bit elements: as float32, and from float32 to the nearest, ties to even.
_HALVES = """\
HELPER f{n} low_half{n}(f{n} pair) {{ return (f{n})((i{n})pair << 16); }}
HELPER f{n} high_half{n}(f{n} pair) {{ return (f{n})((i{n})pair & (int32_t)0xffff0000); }}
"""

_PAIR_GENERIC = """\
HELPER u{n} nearest_bf16_{n}(f{n} v) {{ u{n} b = (u{n})v; return b + 0x7fffu + ((b >> 16) & 1u); }}
HELPER f{n} pair{n}(f{n} low, f{n} high)
{{
    return (f{n})((nearest_bf16_{n}(low) >> 16) | (nearest_bf16_{n}(high) & 0xffff0000u));
}}
"""

#: For rows that are narrower than any vector with the instruction.
_DOT_GENERIC = """\
HELPER f{n} dot{n}(f{n} sum, f{n} pairs, f{n} weights)
{{
    sum += high_half{n}(pairs) * high_half{n}(weights);
    return sum + low_half{n}(pairs) * low_half{n}(weights);
}}
"""

#: The instruction puts all of one operand behind all of the other; the channels must alternate.
_PAIR_NATIVE = """\
HELPER f{n} pair{n}(f{n} low, f{n} high)
{{
    h{n} both = (h{n}){p}_cvtne2ps_pbh((__m{bits})high, (__m{bits})low);
    return (f{n})__builtin_shufflevector(both, both, {alternating});
}}
HELPER f{n} dot{n}(f{n} sum, f{n} pairs, f{n} weights)
{{
    return (f{n}){p}_dpbf16_ps((__m{bits})sum, (__m{bits}bh)pairs, (__m{bits}bh)weights);
}}
"""


def vector_helpers(lanes: Iterable[int], target: Target) -> str:
    """Types and helpers for those lane counts and, where interleaving needs them, their halves."""
    return "\n".join(_for_lanes(n, target) for n in sorted(set(lanes)))


def _for_lanes(n: int, target: Target) -> str:
    text = _TYPES
    if n in target.native_lanes:
        text += _NATIVE + (_BETTER_MASKED if n == 16 else _BETTER_GENERIC)
    else:
        text += _GENERIC
    text += _HALVES + (_PAIR_NATIVE if target.dots and n in target.native_lanes else _PAIR_GENERIC + _DOT_GENERIC)
    alternating = ", ".join(str(half * n + index) for index in range(n) for half in (0, 1))
    bits = 32 * n
    marks = {"n": n, "bytes": 4 * n, "p": _PREFIX.get(n, ""), "bits": bits, "alternating": alternating}
    return text.format(**marks) + _pairs(n)


def _pairs(n: int) -> str:
    """Even and odd elements of two vectors, and the inverse."""

    def shuffle(kind: str, name: str, order: list[int]) -> str:
        numbers = ", ".join(map(str, order))
        return (
            f"HELPER {kind}{n} {name}{n}({kind}{n} a, {kind}{n} b) "
            f"{{ return __builtin_shufflevector(a, b, {numbers}); }}\n"
        )

    mixed = [index for pair in zip(range(n), range(n, 2 * n), strict=True) for index in pair]
    text = shuffle("f", "even", list(range(0, 2 * n, 2)))
    for kind, suffix in (("f", ""), ("b", "_bytes")):
        text += shuffle(kind, f"low{suffix}", mixed[:n]) + shuffle(kind, f"high{suffix}", mixed[n:])
    return text


def strided_load(lanes: int, pointer: str, stride: int) -> str:
    """C: `lanes` values from `pointer`, `stride` apart."""
    if stride == 1:
        return f"load{lanes}({pointer})"
    if stride == 2:
        return f"even{lanes}(load{lanes}({pointer}), load{lanes}({pointer} + {lanes}))"
    return f"(f{lanes}){{{', '.join(f'({pointer})[{index * stride}]' for index in range(lanes))}}}"
