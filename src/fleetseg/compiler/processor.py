"""What this machine's processor can do."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

#: Linux's arch_prctl: its number, ARCH_REQ_XCOMP_PERM, and the tiles' part of the processor's state.
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


def extensions(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction set extensions by gcc's names; empty where the system does not say or is no x86-64.

    Of AMX only what the system lets this process use: it has to be asked, and may refuse.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or not cpuinfo.is_file():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            # The kernel writes avx512_bf16 and amx_tile where gcc writes avx512bf16 and amx-tile.
            found = {flag.replace("amx_", "amx-").replace("_", "") for flag in value.split()}
            with_tiles = "amx-tile" in found and tiles_allowed()
            return frozenset(name for name in found if with_tiles or not name.startswith("amx-"))
    return frozenset()


def tiles_allowed() -> bool:
    """Ask Linux for AMX's tile registers, for this process and what it starts; whether it grants them."""
    try:
        syscall = ctypes.CDLL(None).syscall
    except (OSError, AttributeError, TypeError):
        return False
    return bool(syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0)
