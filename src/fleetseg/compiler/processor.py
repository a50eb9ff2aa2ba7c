"""What this machine's processor can do."""

from __future__ import annotations

import platform
from pathlib import Path


def extensions(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction set extensions by gcc's names; empty where the system does not say or is no x86-64."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not cpuinfo.is_file():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            # The kernel writes avx512_bf16 where gcc writes avx512bf16.
            return frozenset(flag.replace("_", "") for flag in value.split())
    return frozenset()
