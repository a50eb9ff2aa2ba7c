"""A torch module → `Graph`, by torch.export. The only file of the compiler that knows PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fleetseg.compiler.capture_state import Capture, UnsupportedOperationError
from fleetseg.compiler.ir import Graph, TensorType
from fleetseg.compiler.translations import TRANSLATIONS
from fleetseg.compiler.verify import verify
from fleetseg.errors import CompileError, MissingExtraError

if TYPE_CHECKING:
    from torch import fx, nn


def capture(module: nn.Module, size: tuple[int, int], in_channels: int = 3) -> Graph:
    """The graph of `module` in evaluation mode for one (1, in_channels, height, width) float32 image.

    `size` is (width, height). The first operation that the compiler does not know is named, with its place in the
    module, in a `CompileError`; the module itself is left as it was.
    """
    exported = _export(module, size, in_channels)
    state = Capture()
    placeholders = [node for node in exported.graph.nodes if node.op == "placeholder"]
    _bind(state, exported, placeholders)
    outputs: tuple[str, ...] = ()
    for node in exported.graph.nodes:
        if node.op == "call_function":
            _translate(state, node)
        elif node.op == "output":
            outputs = _outputs(state, node)
    return verify(Graph(dict(state.inputs), dict(state.constants), tuple(state.nodes), outputs))


def _export(module: nn.Module, size: tuple[int, int], in_channels: int) -> Any:
    try:
        import torch
    except ImportError:
        raise MissingExtraError("compiling a PyTorch module", "train") from None
    was_training = module.training
    module.eval()
    try:
        # Without gradients from the start: else every no_grad block becomes a graph within the graph.
        with torch.no_grad(), warnings.catch_warnings():
            # Of classes that PyTorch itself uses while it copies the graph.
            warnings.simplefilter("ignore", FutureWarning)
            image = torch.zeros(1, in_channels, size[1], size[0])
            # In functional form: what happens in place has become an operation with a result of its own.
            return torch.export.export(module, (image,)).run_decompositions({})
    except Exception as error:  # torch.export raises whatever the module raises, and classes of its own
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CompileError(
            f"{type(module).__name__} cannot be exported for {size[0]}×{size[1]} ({line[:200]})"
        ) from error
    finally:
        module.train(was_training)


def _bind(state: Capture, exported: Any, placeholders: Sequence[fx.Node]) -> None:
    signature = exported.graph_signature
    stored: Mapping[str, Any] = {**exported.state_dict, **exported.constants}
    by_placeholder = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    for placeholder in placeholders:
        if not placeholder.users:  # such as BatchNorm's counters
            continue
        if placeholder.name in by_placeholder:
            tensor = stored[by_placeholder[placeholder.name]].detach()
            state.values[placeholder] = state.constant(tensor.numpy(), placeholder.name)
        else:
            state.inputs[placeholder.name] = TensorType(tuple(placeholder.meta["val"].shape))
            state.values[placeholder] = placeholder.name


def _translate(state: Capture, node: fx.Node) -> None:
    target = str(getattr(node.target, "_overloadpacket", node.target))
    state.place = _place(node)
    translation = TRANSLATIONS.get(target)
    if translation is None:
        raise CompileError(f"operation '{target}' at {state.place} is not one that the compiler knows")
    try:
        state.values[node] = translation(state, node)
    except UnsupportedOperationError as error:
        raise CompileError(f"operation '{target}' at {state.place}: {error}") from error


def _place(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    innermost = list(stack.values())[-1] if stack else ("", "the module")
    path, kind = innermost[0], str(innermost[1]).rsplit(".", 1)[-1]
    return f"{path} ({kind})" if path else f"the top ({kind})"


def _outputs(state: Capture, node: fx.Node) -> tuple[str, ...]:
    values = node.args[0]
    if not isinstance(values, list | tuple) or len(values) != 1:
        raise CompileError("a module with exactly one output is needed")
    name = str(state.values[values[0]])
    made = {made.name: made for made in state.nodes}
    while name in made and state.type_of(name).element == "u8":
        # A network that ends in its class map: the logits before it are what is asked for.
        name = made[name].inputs[0]
    return (name,)
