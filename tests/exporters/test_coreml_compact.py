"""The program that Core ML gets: constants once, short names, and the same operations on the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fleetseg.exporters.coreml import write
from fleetseg.exporters.coreml_compact import compact
from fleetseg.exporters.source import Source
from fleetseg.metadata import ExportedForm

ct = pytest.importorskip("coremltools")


class Chosen(nn.Module):
    """Three convolutions alike, two of them with the same weights, and zeros where a map is not positive."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.third.load_state_dict(self.second.state_dict())

    def forward(self, image: Tensor) -> Tensor:
        x = self.third(self.second(self.first(image)))
        return torch.where(x > 0, x, torch.zeros(()))


def converted() -> Any:
    torch.manual_seed(0)
    traced = torch.jit.trace(Chosen().eval(), torch.zeros(1, 3, 20, 30))
    return ct.convert(
        traced,
        inputs=[ct.TensorType(name="image", shape=(1, 3, 20, 30))],
        outputs=[ct.TensorType(name="logits")],
        convert_to="mlprogram",
        skip_model_load=True,
    )


def read(spec: Any, weights: str) -> list[tuple[str, dict[str, Any]]]:
    """Operations but constants, by coremltools' own reader: kind, and value of every input that is constant."""
    from coremltools.converters.mil.frontend.milproto.load import load

    program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=weights)
    program.validate()
    found = []
    for operation in program.functions["main"].operations:
        if operation.op_type != "const":
            values = {name: value.val for name, value in operation.inputs.items() if hasattr(value, "val")}
            found.append((operation.op_type, {name: one for name, one in values.items() if one is not None}))
    return found


def test_the_same_operations_with_the_same_constants() -> None:
    model = converted()
    spec = model.get_spec()
    compact(spec)
    before, after = read(model.get_spec(), model.weights_dir), read(spec, model.weights_dir)
    assert [kind for kind, _ in after] == [kind for kind, _ in before]
    assert "conv" in {kind for kind, _ in after}
    for (_, ours), (_, theirs) in zip(after, before, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_constants_are_there_once_and_ends_keep_their_names() -> None:
    model = converted()
    spec = model.get_spec()
    before = len(spec.SerializeToString())
    compact(spec)
    assert len(spec.SerializeToString()) < 0.7 * before
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    assert [value.name for value in function.inputs] == ["image"]
    assert list(block.outputs) == ["logits"]
    small = [one.attributes["val"] for one in block.operations if one.type == "const"]
    texts = [one.SerializeToString() for one in small]
    assert len(texts) == len(set(texts))
    names = [value.name for one in block.operations for value in one.outputs]
    assert len(names) == len(set(names))


def test_zeros_of_a_maps_size_are_not_in_the_file(tmp_path: Path) -> None:
    form = ExportedForm(format="coreml", size=(160, 120), precision="fp16")
    path = tmp_path / "a.mlpackage"
    write(Source(Chosen().eval(), torch.zeros(1, 3, 120, 160), form, {"fleetseg": "fields"}), path)
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 20_000 < 2 * 3 * 120 * 160
    found = ct.models.MLModel(str(path), skip_model_load=True)
    assert found.user_defined_metadata["fleetseg"] == "fields"
    assert [kind for kind, _ in read(found.get_spec(), found.weights_dir)].count("select") == 1
