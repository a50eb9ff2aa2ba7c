"""The machine and the versions that a measurement belongs to."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from fleetseg.compiler.build import compiler_version
from fleetseg.compiler.processor import extensions
from fleetseg.compiler.target import target_named
from fleetseg.runtime.threads import processors

_PACKAGES = (
    "fleetseg",
    "numpy",
    "torch",
    "openvino",
    "nncf",
    "onnxruntime",
    "opencv-python-headless",
    "opencv-python",
    "ncnn",
    "pnnx",
    "litert-torch",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "executorch",
    "coremltools",
)


def describe_machine() -> dict[str, Any]:
    """Processor, how many of them we may use, memory, system, and the compiler's target for it."""
    return {
        "processor": _processor(),
        "processors": processors(),
        "memory_mb": _memory_mb(),
        "system": platform.platform(),
        "target": target_named("host", extensions()).name,
    }


def describe_versions(compiler: list[str] | None) -> dict[str, str]:
    """Python, every package that takes part and is installed, and the C compiler."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if compiler is not None:
        versions["compiler"] = compiler_version(compiler)
    return versions


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 10**6
    except (AttributeError, OSError, ValueError):
        return None
