"""What the emitters fill: functions (each text once), the weights in the order of use, and the list of kernels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from fleetseg.compiler.ir import Array, Graph
from fleetseg.compiler.memory import MemoryPlan, View
from fleetseg.compiler.strips import Group
from fleetseg.compiler.target import Target

#: Which runs need a kernel: all, those that want logits, those that want a class map.
Condition = Literal["always", "logits", "classes"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Kernel:
    """One entry of the run list. `when`: always, only for logits, or only for a class map."""

    function: str
    rows: int
    name: str
    place: str
    when: Condition = "always"
    #: Useful multiply-adds.
    macs: int = 0
    #: Bytes of the maps and weights that it reads, and of the map that it writes, each counted once.
    bytes_read: int = 0
    bytes_written: int = 0
    #: The graph's node that it computes; "" for the borders of the library.
    node: str = ""


@dataclass
class Unit:
    """One C file under construction."""

    graph: Graph
    plan: MemoryPlan
    target: Target
    #: Width and height of the part of the class map and the logits that leaves the library.
    seen: tuple[int, int]
    #: Kernels that take turns.
    groups: tuple[Group, ...] = ()
    functions: dict[str, str] = field(default_factory=dict)
    kernels: list[Kernel] = field(default_factory=list)
    lanes: set[int] = field(default_factory=set)
    _weights: list[Floats] = field(default_factory=list)
    _weight_count: int = 0

    @property
    def weights(self) -> Floats:
        """All weights, in the order in which the kernels were emitted."""
        return np.concatenate([*self._weights, np.zeros(1, np.float32)])

    def add_weights(self, values: Array) -> int:
        """Append values, aligned to a cache line; returns where they start."""
        start = self._weight_count
        flat = np.asarray(values, np.float32).ravel()
        padded = np.zeros(-(-flat.size // 16) * 16, np.float32)
        padded[: flat.size] = flat
        self._weights.append(padded)
        self._weight_count += padded.size
        return start

    def add_function(self, kind: str, signature: str, body: str) -> str:
        """Add ``static <signature with NAME> { body }``; equal functions become one. Returns its name."""
        digest = hashlib.sha256(f"{signature}{body}".encode()).hexdigest()[:10]
        name = f"{kind}_{digest}"
        self.functions[name] = f"static {signature.replace('NAME', name)}\n{{\n{body}\n}}\n"
        return name

    @property
    def turns(self) -> list[tuple[int, int, int]]:
        """(kernel, first row, last row) in the order of a run: kernel by kernel, but groups strip by strip."""
        numbers = {kernel.node: number for number, kernel in enumerate(self.kernels)}
        groups = {name: group for group in self.groups for name in group.nodes}
        turns: list[tuple[int, int, int]] = []
        for number, kernel in enumerate(self.kernels):
            group = groups.get(kernel.node)
            if group is None:
                turns.append((number, 0, kernel.rows))
            elif kernel.node == group.nodes[0]:
                turns += [(numbers[turn.node], turn.first, turn.last) for turn in group.turns]
        return turns

    def add_kernel(self, kernel: Kernel) -> None:
        """Append to the run list."""
        self.kernels.append(kernel)

    def view(self, name: str) -> View:
        """Where a value lies."""
        return self.plan.views[name]

    def pointer(self, name: str) -> str:
        """C: the first element of the value's buffer."""
        buffer = self.view(name).buffer
        if buffer.external:
            return "job->logits"
        # A pair of bf16 is moved as a float and looked at as its bits.
        kind = "uint8_t" if buffer.element == "u8" else "float"
        return f"({kind} *)(void *)(job->arena + {buffer.offset})"


#: Every kernel's signature: rows [first, last) of its result (or of the grid from which it shuffles).
KERNEL_SIGNATURE = "void NAME(const struct job *job, int first, int last)"


def indented(text: str, levels: int = 1) -> str:
    """Every line moved to the right."""
    pad = "    " * levels
    return "\n".join(pad + line if line else line for line in text.splitlines())
