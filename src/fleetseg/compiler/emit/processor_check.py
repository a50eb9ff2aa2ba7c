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
    "amx-bf16": (7, 0, 3, 22),
    "amx-tile": (7, 0, 3, 24),
}
#: Registers that the system must save, as bits of XCR0: those of SSE and AVX, the masks and halves of AVX-512, tiles.
_AVX_STATE, _AVX512_STATE, _TILE_STATE = 0x6, 0xE6, 0x600E6

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


#: Linux gives a process tiles only on request (its documentation: arch/x86/xstate), others are not known here.
_TILES_ALLOWED = """\
extern long syscall(long number, ...);

static int tiles_allowed(void)
{
#if defined(__linux__)
    const long arch_prctl = 158, request_permission = 0x1023, tile_data = 18;
    return syscall(arch_prctl, request_permission, tile_data) == 0;
#else
    return 0;
#endif
}

"""


def processor_check(extensions: Sequence[str]) -> str:
    """C: ``processor_fits()``, 1 where all the extensions may be used."""
    if not extensions:
        return "static int processor_fits(void)\n{\n    return 1;\n}\n"
    tiles = "amx-tile" in extensions
    state = _AVX512_STATE if any(name.startswith("avx512") for name in extensions) else _AVX_STATE
    state = _TILE_STATE if tiles else state
    has = [f"processor_has({', '.join(map(str, _FLAGS[name]))}) /* {name} */" for name in extensions]
    has += ["tiles_allowed()"] if tiles else []
    conditions = "\n        && ".join([f"system_saves({state:#x}u)", *has])
    helpers = _HELPERS + (_TILES_ALLOWED if tiles else "")
    return f"{helpers}static int processor_fits(void)\n{{\n    return {conditions};\n}}\n"
