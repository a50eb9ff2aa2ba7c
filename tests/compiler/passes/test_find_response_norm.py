from __future__ import annotations

from fleetseg.compiler.passes.find_response_norm import find_response_norm

from ..graphs import GraphBuilder, assert_same_numbers


def response(build: GraphBuilder, value: str, size: int) -> str:
    """As PyTorch writes it."""
    _, channels, height, width = build.types[value].shape
    square = build.add("mul", value, value)
    raised = build.add("reshape", square, shape=(1, 1, channels, height, width))
    amounts = ((0, 0), (0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0))
    padded = build.add("pad", raised, amounts=amounts)
    mean = build.add("avg_pool3d", padded, kernel_size=(size, 1, 1))
    lowered = build.add("reshape", mean, shape=(1, channels, height, width))
    names = []
    for number in (0.3, 0.0, 1.0, 2.0):
        names.append(build.constant(channels))
        build.constants[names[-1]][:] = number
    base = build.add("affine", build.add("affine", lowered, *names[:2]), *names[2:])
    return build.add("div", value, build.add("power", base, exponent=0.75))


def test_the_chain_becomes_one_operation() -> None:
    for size in (1, 2, 5):
        build = GraphBuilder(channels=4)
        before = build.graph(response(build, build.conv("x", 7), size))
        after = find_response_norm(before)
        assert [node.op for node in after.nodes] == ["conv2d", "response_norm"]
        assert_same_numbers(before, after)


def test_another_quotient_stays() -> None:
    build = GraphBuilder(channels=4)
    other = build.conv("x", 4)
    mean = response(build, "x", 3)
    before = build.graph(build.add("div", other, build.nodes[-1].inputs[1]), mean)
    after = find_response_norm(before)
    assert (after.count("div"), after.count("response_norm")) == (1, 1)
