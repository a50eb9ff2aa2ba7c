"""Every operation: PyTorch, the interpreter before and after the passes, and the generated C say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fleetseg.compilation
from fleetseg.compiler.build import FLAGS
from fleetseg.compiler.capture import capture
from fleetseg.compiler.interpret import interpret
from fleetseg.compiler.ir import Array, Graph
from fleetseg.compiler.passes.order import PASSES
from fleetseg.errors import CompileError
from fleetseg.metadata import NetworkSpec, metadata_for

from .operations import FAMILIES, Together

#: One odd in both directions and above every vector's width, one even and below the widest.
SIZES = {"host": (35, 13), "generic": (12, 8)}


@pytest.fixture(autouse=True)
def quick_build(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries of many small kernels: less optimising, and every warning an error."""
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path_factory.getbasetemp() / "libraries"))
    flags = tuple("-O1" if flag == "-O3" else flag for flag in FLAGS)
    monkeypatch.setattr("fleetseg.compiler.build.FLAGS", (*flags, "-Wall", "-Wextra", "-Werror"))


def rewritten(graph: Graph) -> Graph:
    for rewrite in PASSES["fp32"]:
        graph = rewrite(graph)
    return graph


def interpreted(graph: Graph, image: Array) -> Array:
    """The logits for an image, on the right and below of which the graph may want zeros."""
    name, tensor_type = next(iter(graph.inputs.items()))
    full = np.zeros(tensor_type.shape, np.float32)
    full[:, :, : image.shape[2], : image.shape[3]] = image
    return interpret(graph, {name: full})[0]


def compare(names: list[str], expected: list[Array], found: Array) -> None:
    """Case by case, so that a failure says which."""
    flat, position = found[0, 0, 0], 0
    for name, values in zip(names, expected, strict=True):
        own = flat[position : position + values.size].reshape(values.shape)
        np.testing.assert_allclose(own, values, atol=2e-5 * max(1.0, float(np.abs(values).max())), err_msg=name)
        position += values.size
    assert position == flat.size
    np.testing.assert_array_equal(found[0, 1, 0], -flat)


@pytest.mark.parametrize("target", SIZES)
@pytest.mark.parametrize("name", FAMILIES)
def test_three_meanings_agree(name: str, target: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Together(FAMILIES[name]).eval()
    size, cases = SIZES[target], list(FAMILIES[name])
    metadata = metadata_for(NetworkSpec(name="cases", num_classes=2), "cases", ["one", "two"])
    model = fleetseg.compilation.compile(network, size, tmp_path, target=target, threads=2, metadata=metadata)
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    batch = metadata.normalisation.apply(image)
    with torch.inference_mode():
        expected = [case(torch.from_numpy(batch)).numpy() for case in network.cases]
    graph = capture(network, size)
    compare(cases, expected, interpreted(graph, batch))
    compare(cases, expected, interpreted(rewritten(graph), batch))
    compare(cases, expected, model.logits(image)[None])


class Classes(nn.Module):
    """A network that ends in its class map."""

    def __init__(self, by: str) -> None:
        super().__init__()
        self.by, self.conv = by, nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.conv(image)
        return logits.argmax(1) if self.by == "argmax" else torch.max(logits, dim=1)[1]


@pytest.mark.parametrize("by", ["argmax", "max"])
def test_networks_that_end_in_classes(by: str, tmp_path: Path) -> None:
    network = Classes(by).eval()
    # Its result does not say how many classes there are.
    metadata = metadata_for(NetworkSpec(name="classes", num_classes=6), "classes", list("abcdef"))
    model = fleetseg.compilation.compile(network, (21, 9), tmp_path, metadata=metadata)
    image = np.random.default_rng(2).integers(0, 256, (9, 21, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(model.metadata.normalisation.apply(image)))[0].numpy()
    assert (model(image) == expected).mean() > 0.99
    np.testing.assert_array_equal(model(image), model.logits(image).argmax(0))


class Odd(nn.Module):
    """One operation that nothing knows, or that has no C."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "cubic":
            return nn.functional.interpolate(x, scale_factor=2, mode="bicubic")
        return x.clamp(min=0.5) ** 1.5


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cubic", r"operation 'aten\.upsample_bicubic2d' at 1\.1 \(Odd\) is not one that the compiler knows"),
        ("power", r"operation 'power' at 1\.1 \(Odd\) has no C yet"),
    ],
)
def test_first_unsupported_operation_is_named_with_its_place(kind: str, message: str) -> None:
    # Behind an operation that nothing knows another one; what has no C is found when everything is known.
    behind = nn.Softsign() if kind == "cubic" else nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), Odd(kind), behind))
    metadata = metadata_for(NetworkSpec(name="odd", num_classes=4), "odd", list("abcd"))
    with pytest.raises(CompileError, match=message):
        fleetseg.compilation.compile(network, (16, 16), metadata=metadata)
