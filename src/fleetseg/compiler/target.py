"""What the compiler has to know of a processor: data, no decisions."""

from __future__ import annotations

from dataclasses import dataclass

from fleetseg.errors import UnknownNameError


@dataclass(frozen=True)
class Target:
    """An instruction set."""

    name: str
    #: float32 values in the widest vector.
    lanes: int
    #: Vector registers.
    registers: int
    #: Instruction set extensions that the code uses, by the names that gcc and clang give them.
    extensions: tuple[str, ...]
    #: Lane counts for which the intrinsics below exist.
    native_lanes: tuple[int, ...] = ()
    #: Whether an instruction adds products of bf16 pairs to float32.
    dots: bool = False
    #: Whether it has tile registers for such products.
    tiles: bool = False
    #: Bytes of the first data cache.
    first_cache_bytes: int = 32 << 10
    #: Bytes of maps that are read again at full speed: what a share of the last cache may hold.
    cache_bytes: int = 16 << 20

    @property
    def is_x86(self) -> bool:
        """Whether immintrin.h may be used."""
        return bool(self.extensions)


_AVX2 = ("avx2", "fma")
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", *_AVX2)
_DOTS = (*_AVX512, "avx512bf16")

TARGETS = {
    target.name: target
    for target in (
        Target(
            "x86-64-v4-amx",
            lanes=16,
            registers=32,
            extensions=(*_DOTS, "amx-tile", "amx-bf16"),
            native_lanes=(4, 8, 16),
            dots=True,
            tiles=True,
        ),
        Target("x86-64-v4-bf16", lanes=16, registers=32, extensions=_DOTS, native_lanes=(4, 8, 16), dots=True),
        Target("x86-64-v4", lanes=16, registers=32, extensions=_AVX512, native_lanes=(4, 8, 16)),
        Target("x86-64-v3", lanes=8, registers=16, extensions=_AVX2, native_lanes=(4, 8)),
        # GNU vectors of 128 bits: SSE2, NEON, SIMD128 of WebAssembly, or whatever the compiler makes of them.
        Target("generic", lanes=4, registers=16, extensions=()),
    )
}

#: Flags that reorder nothing across values and change no state of the process: never -ffast-math, whose linking
#: switches the whole host to flushing denormals.
FLAGS = (
    "-std=c11",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
)


def target_named(name: str, processor: frozenset[str], precision: str = "fp32") -> Target:
    """The target of that name; "host" is the best whose extensions are all in `processor`.

    A library in float32 asks for no instructions on bf16. `UnknownNameError` for any other name.
    """
    if name == "host":
        fitting = [target for target in TARGETS.values() if set(target.extensions) <= processor]
        return next(target for target in fitting if precision == "bf16" or not target.dots)
    if name not in TARGETS:
        raise UnknownNameError("target", name, (*TARGETS, "host"))
    return TARGETS[name]
