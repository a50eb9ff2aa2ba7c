"""A Core ML program without what its converter writes again and again.

Strides, dilations and the like are constants of their own for every operation, and every name is there three times or
more. Here equal constants are one, and values have short names; inputs and outputs of the program keep theirs.
"""

from __future__ import annotations

from typing import Any


def compact(spec: Any) -> None:
    """Make the ML program in `spec`, a Model message of coremltools, smaller, in place; it computes the same.

    A program with blocks inside of operations stays as it is.
    """
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            if not any(operation.blocks for operation in block.operations):
                kept = _merged(block)
                _rename(kept, {value.name for value in function.inputs} | set(block.outputs))
                _replace(block.operations, kept)


def _merged(block: Any) -> list[Any]:
    """The operations, but of equal constants the first alone, which all operations then take."""
    first: dict[bytes, str] = {}
    instead: dict[str, str] = {}
    kept = []
    for operation in block.operations:
        if operation.type == "const" and operation.outputs[0].name not in block.outputs:
            name = operation.outputs[0].name
            # With its type; weights are places in the file of weights, so those are never equal.
            content = operation.attributes["val"].SerializeToString(deterministic=True)
            if content in first:
                instead[name] = first[content]
                continue
            first[content] = name
        kept.append(operation)
    _rewire(kept, instead)
    return kept


def _rename(operations: list[Any], fixed: set[str]) -> None:
    """Short names for all values and operations but the `fixed` values."""
    short: dict[str, str] = {}
    for operation in operations:
        for value in operation.outputs:
            if value.name not in fixed:
                short[value.name] = value.name = _free(len(short), fixed)
        if "name" in operation.attributes:
            operation.attributes["name"].immediateValue.tensor.strings.values[:] = [operation.outputs[0].name]
    _rewire(operations, short)


def _free(number: int, fixed: set[str]) -> str:
    name = f"v{number}"
    return name if name not in fixed else f"{name}_"


def _rewire(operations: list[Any], names: dict[str, str]) -> None:
    """Let operations take other values, by name."""
    for operation in operations:
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                binding.name = names.get(binding.name, binding.name)


def _replace(field: Any, kept: list[Any]) -> None:
    """The messages `kept`, which may be of the repeated field itself, are all that is in it."""
    copies = [type(message).FromString(message.SerializeToString()) for message in kept]
    del field[:]
    field.extend(copies)
