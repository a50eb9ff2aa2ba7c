"""Point-wise steps between a kernel's registers and its stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetseg.compiler.emit.functions import ACTIVATIONS, activation, c_float
from fleetseg.compiler.emit.unit import Unit
from fleetseg.compiler.ir import Array, Step
from fleetseg.errors import CompileError

#: Steps that the generated C can run.
SUPPORTED = frozenset({"affine", "prelu", "relu", "leaky_relu", "add", "mul", "add_unpooled"}) | ACTIVATIONS


@dataclass(frozen=True)
class Operand:
    """A feature map that a step reads, as an argument of a block function."""

    argument: str
    value: str
    #: Its first channel stands for this channel of the result.
    first_channel: int
    #: Whether it has half the result's size and is read through places of maxima.
    pooled: bool = False
    element: str = "float"


@dataclass(frozen=True)
class Epilogue:
    """The steps that apply to one range of channels."""

    steps: tuple[Step, ...]
    operands: tuple[Operand, ...]
    unit: Unit

    def parameters(self, channel: int) -> list[float]:
        """The values that the steps need for a channel, in the order in which the code reads them."""
        values: list[float] = []
        for step in self.steps:
            for name in _constants(self.unit, step):
                array: Array = self.unit.graph.constants[name]
                values.append(float(array[0 if array.size == 1 else channel - (step.channels or (0,))[0]]))
        return values

    @property
    def parameter_count(self) -> int:
        """How many values a channel takes."""
        return sum(len(_constants(self.unit, step)) for step in self.steps)

    def code(self, lanes: int, variable: str, channel: int, offset: int, parameters: str) -> list[str]:
        """C that changes `variable`: the vector of relative channel and pixel offset, `parameters` at its own."""
        lines: list[str] = []
        used = 0
        operands = iter(self.operands)
        for step in self.steps:
            constants = [f"{parameters}[{used + i}]" for i in range(len(_constants(self.unit, step)))]
            used += len(constants)
            loads = [
                self._load(next(operands), lanes, channel, offset) for _ in range(len(step.operands) - len(constants))
            ]
            lines.append(_code(step, lanes, variable, constants, loads))
        return lines

    def _load(self, operand: Operand, lanes: int, channel: int, offset: int) -> str:
        """C: the operand's vector, or the address of its bytes."""
        view = self.unit.view(operand.value)
        column, lanes = (offset // 2, lanes // 2) if operand.pooled else (offset, lanes)
        segment = channel // 2 if view.paired else channel
        address = f"{operand.argument} + {segment * view.buffer.segment + column}"
        if operand.element == "uint8_t":
            return address
        load = f"load{lanes}({address})"
        return f"{('low', 'high')[channel % 2]}_half{lanes}({load})" if view.paired else load


def epilogue_for(unit: Unit, steps: Sequence[Step], first: int, last: int, place: str) -> Epilogue:
    """The steps that apply to channels [first, last), which must not straddle the limits of any step."""
    own = [step for step in steps if step.channels is None or (step.channels[0] <= first and last <= step.channels[1])]
    operands: list[Operand] = []
    for step in own:
        if step.op not in SUPPORTED:
            raise CompileError(f"operation '{step.op}' at {place} has no C yet")
        for name in step.operands:
            if name not in unit.graph.constants:
                element = "uint8_t" if unit.graph.type_of(name).element == "u8" else "float"
                start = (step.channels or (0,))[0]
                pooled = step.op == "add_unpooled"
                operands.append(Operand(f"r{len(operands)}", name, start, pooled, element))
    return Epilogue(tuple(own), tuple(operands), unit)


def boundaries(steps: Sequence[Step], channels: int) -> list[int]:
    """Channels at which the set of steps changes, with both ends."""
    limits = {0, channels}
    for step in steps:
        limits.update(step.channels or ())
    return sorted(limits)


def _constants(unit: Unit, step: Step) -> list[str]:
    return [name for name in step.operands if name in unit.graph.constants]


def _code(step: Step, n: int, v: str, constants: list[str], loads: list[str]) -> str:
    zero = f"splat{n}(0.0f)"
    if step.op == "affine":
        return f"{v} = {v} * {constants[0]} + {constants[1]};"
    if step.op == "prelu":
        return f"{v} = max{n}({v}, {zero}) + min{n}({v}, {zero}) * {constants[0]};"
    if step.op == "leaky_relu":
        return f"{v} = max{n}({v}, {zero}) + min{n}({v}, {zero}) * {c_float(step.attributes['slope'])};"
    if step.op == "relu":
        return f"{v} = max{n}({v}, {zero});"
    if step.op in ACTIVATIONS:
        return f"{v} = {activation(step.op, step.attributes, n, v)};"
    if step.op in ("add", "mul"):
        return f"{v} = {v} {'+' if step.op == 'add' else '*'} {loads[0]};"
    return f"{v} = {v} + unpooled{n}({loads[0]}, {loads[1]}, y & 1);"
