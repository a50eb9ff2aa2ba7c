"""The C file and its header from a filled unit and the fixed parts beside this file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

import numpy as np

from fleetseg.compiler.emit.functions import function_helpers
from fleetseg.compiler.emit.processor_check import processor_check
from fleetseg.compiler.emit.tiles import HELPERS as TILE_HELPERS
from fleetseg.compiler.emit.unit import Floats, Kernel, Unit
from fleetseg.compiler.emit.unpooling_vectors import unpooling_helper
from fleetseg.compiler.emit.vectors import vector_helpers

_CONDITIONS = {"always": "FOR_ALL", "logits": "FOR_LOGITS", "classes": "FOR_CLASSES"}
_VALUES_PER_LINE = 8

_INCLUDES = """\
#define _POSIX_C_SOURCE 200809L
#include "NAME.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
"""

_TABLE = """\
struct kernel {
    void (*run)(const struct job *job, int first, int last);
    int when;
};

/* Rows [first, last) of a kernel, which the threads share. */
struct turn {
    int kernel;
    int first;
    int last;
};

enum { FOR_ALL, FOR_LOGITS, FOR_CLASSES };
"""


def header_text(prefix: str, title: str, sizes: dict[str, int]) -> str:
    """NAME.h; `sizes` fills the marks between @ signs."""
    text = _part("header.h").replace("TITLE", title)
    for mark, value in sizes.items():
        text = text.replace(f"@{mark}@", str(value))
    return text.replace("NAME", prefix)


def source_text(unit: Unit, prefix: str, description: str, size_text: str) -> str:
    """NAME.c, whole."""
    extensions = unit.target.extensions
    as_bits = any(view.paired for view in unit.plan.views.values())
    vectors = vector_helpers(unit.lanes, unit.target)
    unpooling = [n for n in sorted(unit.lanes) if any(f"unpooled{n}(" in body for body in unit.functions.values())]
    missing = [n // 2 for n in unpooling if n // 2 not in unit.lanes]
    if missing:
        vectors = vector_helpers([*unit.lanes, *missing], unit.target)
    parts = [
        _INCLUDES,
        "#include <immintrin.h>\n" if unit.target.is_x86 else "",
        _part("pool_of_threads.c"),
        _weights(unit.weights, as_bits),
        _open_target(extensions),
        "#define HELPER static inline __attribute__((unused, always_inline))\n",
        vectors,
        TILE_HELPERS if unit.target.tiles else "",
        *(unpooling_helper(n, unit.target) for n in unpooling),
        function_helpers(unit.lanes, unit.functions.values()),
        *unit.functions.values(),
        _close_target(extensions),
        _TABLE,
        _kernels(unit.kernels),
        _turns(unit.turns),
        f"static const char description[] =\n{c_string(description)};\n",
        _interface(extensions, size_text),
    ]
    return "\n".join(part for part in parts if part).replace("NAME", prefix)


def c_string(text: str) -> str:
    """ASCII text as adjacent C string literals of moderate length."""
    chunks = [text[i : i + 400] for i in range(0, len(text), 400)] or [""]
    return "\n".join(f"    {json.dumps(chunk)}" for chunk in chunks)


def _interface(extensions: tuple[str, ...], size_text: str) -> str:
    text = _part("interface.c").replace("PROCESSOR_CHECK", processor_check(extensions))
    text = text.replace("EXTENSIONS_TEXT", json.dumps(", ".join(extensions)))
    # Inside a literal the macro's name would stand for nothing.
    text = text.replace("1 and NAME_MAX_THREADS", "1 and 256")
    return text.replace("SIZE_TEXT", json.dumps(size_text))


def _open_target(extensions: tuple[str, ...]) -> str:
    """Allow the extensions for kernels alone, so that the check of the processor itself needs none."""
    if not extensions:
        return ""
    names = ",".join(extensions)
    return f"""\
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("{names}"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("{names}")
#endif
"""


def _close_target(extensions: tuple[str, ...]) -> str:
    if not extensions:
        return ""
    return "#if defined(__clang__)\n#pragma clang attribute pop\n#else\n#pragma GCC pop_options\n#endif\n"


def _weights(values: Floats, as_bits: bool) -> str:
    kind = "float"
    if as_bits:
        kind, literals = "uint32_t", [f"0x{bits:x}u" for bits in values.view(np.uint32).tolist()]
    else:
        literals = [_literal(float(value)) for value in values]
    lines = [
        "    " + ", ".join(literals[i : i + _VALUES_PER_LINE]) + "," for i in range(0, len(literals), _VALUES_PER_LINE)
    ]
    body = "\n".join(lines)
    return f"static const {kind} weights[{values.size}] __attribute__((aligned(64))) = {{\n{body}\n}};\n"


def _literal(value: float) -> str:
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else text


def _kernels(kernels: list[Kernel]) -> str:
    lines = [
        f"    {{{kernel.function}, {_CONDITIONS[kernel.when]}}}, /* {kernel.name}: {kernel.place} */"
        for kernel in kernels
    ]
    body = "\n".join(lines)
    return f"static const struct kernel kernels[] = {{\n{body}\n}};\nenum {{ KERNELS = {len(kernels)} }};\n"


def _turns(turns: Sequence[tuple[int, int, int]]) -> str:
    body = "\n".join(f"    {{{kernel}, {first}, {last}}}," for kernel, first, last in turns)
    return f"static const struct turn turns[] = {{\n{body}\n}};\nenum {{ TURNS = {len(turns)} }};\n"


def _part(name: str) -> str:
    return (resources.files("fleetseg.compiler.emit") / name).read_text(encoding="utf-8")
