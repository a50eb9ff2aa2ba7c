"""What PyTorch squeezes is written to ONNX without an ``If``, in the users' own modules too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.exporters.branchless import response_normalised, squeezed
from fleetseg.exporters.onnx import export_onnx
from fleetseg.metadata import NetworkSpec, metadata_for


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_response_norm_is_pytorchs(size: int) -> None:
    x = torch.randn(2, 7, 5, 4) * 3
    options = {"alpha": 0.3, "beta": 0.6, "k": 2.0}
    expected = F.local_response_norm(x, size, **options)
    torch.testing.assert_close(response_normalised(x, size, **options), expected)
    torch.testing.assert_close(response_normalised(x[0], size, **options), F.local_response_norm(x[0], size, **options))


@pytest.mark.parametrize("dims", [(), (1,), (-1,), (0,), ((0, 1),), ((-2, 1, 0),)])
def test_squeeze_is_pytorchs(dims: tuple[int | tuple[int, ...], ...]) -> None:
    x = torch.randn(3, 1, 2, 1, 1)
    assert torch.equal(squeezed(x, *dims), torch.squeeze(x, *dims))


class Normed(nn.Module):
    """Both kinds of norm, and a squeezed dimension whose length the exporter cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.LocalResponseNorm(5), nn.Conv2d(6, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = F.local_response_norm(self.norm(self.first(image)), 2, alpha=0.1)
        n, c, h, w = x.shape
        return self.last(F.avg_pool3d(x.view(n, -1, c, h, w), 1).squeeze(1) + x.unsqueeze(2).squeeze(dim=2))


def test_a_users_module_has_no_branch(tmp_path: Path) -> None:
    module = Normed()
    export_onnx(module, metadata_for(NetworkSpec(name="mine", num_classes=2), "mine", "ab"), tmp_path / "a.onnx")
    assert "If" not in {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    for shape in ((1, 3, 5, 8), (3, 3, 20, 7)):
        image = torch.randn(shape)
        (logits,) = session.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(logits, module(image).detach().numpy(), atol=1e-5)
