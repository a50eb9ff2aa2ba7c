"""C that looks whether the processor, and the system for its registers, can run what the kernels use.

By CPUID itself: __builtin_cpu_supports of gcc and clang does not know every extension, and zig's always says no.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Extension → (leaf, sub-leaf, register, bit) of CPUID, from Intel's manual, volume 2, CPUID; registers in the order
#: eax, ebx, ecx, edx.
_FLAGS = {
    "fma": (1, 0, 2, 12),
    "avx2": (7, 0, 1, 5),
    "avx512f": (7, 0, 1, 16),
    "avx512dq": (7, 0, 1, 17),
    "avx512bw": (7, 0, 1, 30),
    "avx512vl": (7, 0, 1, 31),
    "avx512bf16": (7, 1, 0, 5),
}
#: Registers that the system must save, as bits of XCR0: those of SSE and AVX, and the masks and halves of AVX-512.
_AVX_STATE, _AVX512_STATE = 0x6, 0xE6

_HELPERS = """\
#include <cpuid.h>

static int processor_has(unsigned leaf, unsigned part, int reg, int bit)
{
    unsigned r[4] = {0};
    return __get_cpuid_count(leaf, part, &r[0], &r[1], &r[2], &r[3]) && (r[reg] >> bit & 1u);
}

static int system_saves(unsigned state)
{
    unsigned low, high;
    if (!processor_has(1, 0, 2, 27)) /* no xgetbv */
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return (low & state) == state;
}

"""


def processor_check(extensions: Sequence[str]) -> str:
    """C: ``processor_fits()``, 1 where all the extensions may be used."""
    if not extensions:
        return "static int processor_fits(void)\n{\n    return 1;\n}\n"
    state = _AVX512_STATE if any(name.startswith("avx512") for name in extensions) else _AVX_STATE
    has = [f"processor_has({', '.join(map(str, _FLAGS[name]))}) /* {name} */" for name in extensions]
    conditions = "\n        && ".join([f"system_saves({state:#x}u)", *has])
    return f"{_HELPERS}static int processor_fits(void)\n{{\n    return {conditions};\n}}\n"
