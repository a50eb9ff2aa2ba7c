"""Which tensors depend on the number of classes."""

from __future__ import annotations

from fleetseg.models import build_network
from fleetseg.models.class_axes import class_axes


def test_class_axes() -> None:
    assert class_axes(build_network("enet", 3)) == {"fullconv.weight": (1,), "fullconv.bias": (0,)}
    axes = class_axes(build_network("espnet", 6, alpha2=1, alpha3=1))
    assert axes["encoder.classifier.weight"] == (0,) and axes["up1.weight"] == (0, 1)
    assert axes["merge2_norm.0.weight"] is None  # two entries a class
    assert "encoder.level1.0.weight" not in axes
