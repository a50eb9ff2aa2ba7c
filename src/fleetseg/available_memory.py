"""How much memory this process may still take, so that impossible images are refused undecoded."""

from __future__ import annotations

import os
from pathlib import Path

#: Assumed where the system does not say (bytes).
UNKNOWN_SYSTEM = 2 * 1024**3


def available_memory() -> int:
    """Bytes that can be allocated without swapping: what the machine or, if less, the container has free."""
    return max(0, min(_machine(), _container()))


def _machine() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        # macOS counts pages but not the free ones; half of the memory is a careful guess.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return UNKNOWN_SYSTEM


def _container(root: Path = Path("/sys/fs/cgroup")) -> int:
    """What the control group (version 2, then 1) still allows; without a limit more than any machine has."""
    for limit_name, used_name, folder in (
        ("memory.max", "memory.current", root),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", root / "memory"),
    ):
        try:
            limit = int((folder / limit_name).read_text())
            used = int((folder / used_name).read_text())
            return limit - used + _reclaimable(folder / "memory.stat")
        except (OSError, ValueError):  # no such group, or the limit is the word "max"
            continue
    return 2**63


def _reclaimable(stat: Path) -> int:
    """Bytes of file cache, which the kernel gives up when it is asked for memory."""
    for line in stat.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0
