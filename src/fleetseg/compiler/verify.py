"""The gate at every boundary of the compiler: a graph that passes here means something."""

from __future__ import annotations

from fleetseg.compiler.ir import Graph, Node, Step, TensorType
from fleetseg.compiler.types import BINARY, UNARY, TypeMismatchError, infer

#: Legal epilogue steps; `add_unpooled` adds a value of half the size, spread by its places.
STEPS = UNARY | BINARY | {"add_unpooled"}


class InvalidGraphError(Exception):
    """A pass made a graph that is none: a mistake in the compiler, never the user's."""


def verify(graph: Graph, after: str = "capture") -> Graph:
    """Return the graph if it is sound; `InvalidGraphError` names the pass, the node and what is wrong."""
    known: dict[str, TensorType] = {name: graph.type_of(name) for name in (*graph.inputs, *graph.constants)}
    for node in graph.nodes:
        problem = _problem(node, known)
        if problem:
            raise InvalidGraphError(f"after {after}: {node.name} = {node.op} ({node.place}): {problem}")
        known[node.name] = node.type
    for name in graph.outputs:
        if name not in known:
            raise InvalidGraphError(f"after {after}: the output {name} is defined nowhere")
    return graph


def _problem(node: Node, known: dict[str, TensorType]) -> str:
    if node.name in known:
        return "defined twice"
    for name in node.uses:
        if name not in known:
            return f"reads {name}, which is not defined before it"
    try:
        inferred = infer(node.op, [known[name] for name in node.inputs], node.attributes)
    except KeyError as error:
        return f"unknown operation or missing attribute {error}"
    except TypeMismatchError as error:
        return str(error)
    steps = node.epilogue
    if steps and steps[-1].op == "argmax":
        # Allowed once, at the end: it leaves no feature map.
        feature_map, inferred, steps = inferred, infer("argmax", [inferred], {}), steps[:-1]
    else:
        feature_map = inferred
    if inferred != node.type:
        return f"declared {node.type}, but its operands give {inferred}"
    return next((problem for step in steps if (problem := _step_problem(step, feature_map, known))), "")


def _step_problem(step: Step, result: TensorType, known: dict[str, TensorType]) -> str:
    if step.op not in STEPS:
        return f"unknown epilogue step {step.op}"
    _, channels, height, width = result.shape
    first, last = step.channels or (0, channels)
    if not 0 <= first < last <= channels:
        return f"step {step.op} on channels {first}:{last} of {channels}"
    count = last - first
    expected: tuple[int, ...] = (1, count, height, width)
    if step.op == "add_unpooled":
        expected = (1, count, height // 2, width // 2)
    shapes = [known[name].shape for name in step.operands]
    allowed = {(count,), (1,)} if step.op in UNARY else {expected}
    wrong = [shape for shape in shapes if shape not in allowed]
    return f"step {step.op} with an operand of shape {wrong[0]}" if wrong else ""
