"""The class of each pixel becomes a second output, decided inside the last kernel."""

from __future__ import annotations

from dataclasses import replace

from fleetseg.compiler.ir import Graph, Step
from fleetseg.compiler.types import infer
from fleetseg.compiler.verify import verify


def add_class_map(graph: Graph) -> Graph:
    """Outputs (logits) become (logits, classes).

    Behind a convolution the arg-max joins a second copy of it, of which a run needs one or the other: whoever wants
    classes alone never stores a logit.
    """
    logits = graph.node(graph.outputs[0])
    result = infer("argmax", [logits.type], {})
    # One chain of units that are all classes is what its kernel can count.
    whole = logits.op == "conv2d" and logits["groups"] == 1 and all(step.channels is None for step in logits.epilogue)
    if whole:
        node = replace(logits, name="classes", type=result, epilogue=(*logits.epilogue, Step("argmax")))
    else:
        node = replace(logits, name="classes", op="argmax", inputs=(logits.name,), type=result, epilogue=())
        node = replace(node, attributes={})
    outputs = (logits.name, node.name)
    return verify(Graph(graph.inputs, graph.constants, (*graph.nodes, node), outputs), "add_class_map")
