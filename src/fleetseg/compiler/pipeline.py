"""Graph → C: the passes, the memory plan, the schedule, the text."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetseg.atomic import write_bytes
from fleetseg.compiler.emit.file import header_text, source_text
from fleetseg.compiler.emit.graph import emit_graph
from fleetseg.compiler.emit.unit import Kernel, Unit
from fleetseg.compiler.ir import Graph
from fleetseg.compiler.memory import MemoryPlan, plan_memory
from fleetseg.compiler.passes.order import PASSES
from fleetseg.compiler.strips import Group, plan_strips
from fleetseg.compiler.target import FLAGS, Target
from fleetseg.metadata import ModelMetadata


@dataclass(frozen=True)
class Generated:
    """The C of a network, and what it says about itself."""

    prefix: str
    source: str
    header: str
    description: dict[str, Any]


def generate(
    graph: Graph,
    metadata: ModelMetadata,
    size: tuple[int, int],
    target: Target,
    dump: Path | None = None,
    precision: str = "fp32",
) -> Generated:
    """C for a captured graph and images of `size` (width, height).

    With `dump`, the folder gets the graph after each pass and the schedule. `CompileError` names the first operation
    that has no C.
    """
    _, classes, map_height, map_width = graph.type_of(graph.outputs[0]).shape
    rewritten = _rewrite(graph, precision, dump)
    seen = (map_width, map_height)
    groups = _groups(rewritten, seen, target)
    plan = plan_memory(rewritten, seen, groups)
    unit = Unit(rewritten, plan, target, seen, groups)
    emit_graph(unit, metadata.normalisation, size)
    prefix = c_name(metadata.name)
    sizes = {
        "WIDTH": size[0],
        "HEIGHT": size[1],
        "CHANNELS": metadata.network.in_channels,
        "CLASSES": classes,
        "MAP_WIDTH": map_width,
        "MAP_HEIGHT": map_height,
        "ARENA": plan.size,
        "KERNELS": len(unit.kernels),
    }
    description = _description(unit, metadata, prefix, sizes, precision)
    if dump:
        write_bytes(dump / "schedule.txt", _schedule(unit, plan).encode())
    size_text = f"{size[0]} × {size[1]} pixels of {metadata.network.in_channels} bytes".replace("×", "x")
    title = f"{metadata.name}: {classes} classes, images of {size[0]}x{size[1]}"
    return Generated(
        prefix,
        source_text(unit, prefix, json.dumps(description), size_text),
        header_text(prefix, title, sizes),
        description,
    )


def _groups(graph: Graph, seen: tuple[int, int], target: Target) -> tuple[Group, ...]:
    """None if all maps fit into the cache as they are, or if turns would need more memory: they cost barriers.

    What a group reads and writes whole lives as long as the group, which can outweigh the rings.
    """
    whole = plan_memory(graph, seen).size
    if whole <= target.cache_bytes:
        return ()
    groups = plan_strips(graph, target.cache_bytes // 2)
    return groups if plan_memory(graph, seen, groups).size < whole else ()


def c_name(name: str) -> str:
    """A name that C allows: ``enet-camvid`` → ``enet_camvid``."""
    cleaned = re.sub(r"[^0-9A-Za-z_]", "_", name) or "network"
    return f"n{cleaned}" if cleaned[0].isdigit() else cleaned


def _rewrite(graph: Graph, precision: str, dump: Path | None) -> Graph:
    if dump:
        write_bytes(dump / "00-captured.txt", f"{graph}\n".encode())
    for index, rewrite in enumerate(PASSES[precision], start=1):
        graph = rewrite(graph)
        if dump:
            write_bytes(dump / f"{index:02d}-{rewrite.__name__}.txt", f"{graph}\n".encode())
    return graph


def _description(
    unit: Unit, metadata: ModelMetadata, prefix: str, sizes: dict[str, int], precision: str
) -> dict[str, Any]:
    return {
        "fleetseg_library": 1,
        "prefix": prefix,
        "width": sizes["WIDTH"],
        "height": sizes["HEIGHT"],
        "map_width": sizes["MAP_WIDTH"],
        "map_height": sizes["MAP_HEIGHT"],
        "arena_bytes": sizes["ARENA"],
        "precision": precision,
        "target": unit.target.name,
        "extensions": list(unit.target.extensions),
        "flags": list(FLAGS),
        "weights_sha256": hashlib.sha256(unit.weights.tobytes()).hexdigest(),
        "macs": sum(kernel.macs for kernel in unit.kernels if kernel.when != "logits"),
        "kernels": [_kernel(kernel) for kernel in unit.kernels],
        "metadata": metadata.model_dump(mode="json"),
    }


def _kernel(kernel: Kernel) -> dict[str, Any]:
    """An entry of the description's "kernels", in the order in which they run."""
    return {
        "name": kernel.name,
        "place": kernel.place,
        "when": kernel.when,
        "rows": kernel.rows,
        "macs": kernel.macs,
        "bytes_read": kernel.bytes_read,
        "bytes_written": kernel.bytes_written,
    }


def _schedule(unit: Unit, plan: MemoryPlan) -> str:
    """A line a kernel, then a line a buffer."""
    lines = [
        f"{kernel.name:24} rows {kernel.rows:5}  MACs {kernel.macs:12,}  read {kernel.bytes_read:10,}  "
        f"written {kernel.bytes_written:10,} bytes  {kernel.when:8} {kernel.function}  {kernel.place}"
        for kernel in unit.kernels
    ]
    buffers = {view.buffer.name: view.buffer for view in plan.views.values() if not view.buffer.external}.values()
    lines += [
        f"{buffer.offset:10} {buffer.bytes:10,} bytes  {buffer.segments}×{buffer.height}×{buffer.width} "
        f"margin {buffer.margin}  {buffer.name}"
        for buffer in sorted(buffers, key=lambda buffer: buffer.offset)
    ]
    return "\n".join([*lines, f"arena {plan.size:,} bytes", ""])
