"""The switches of the ESPNet family and ENet's choices, compiled, against PyTorch.

Variants of the networks that the papers compare with are in `test_compared_networks.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetseg.models import build_network
from fleetseg.variants import VARIANTS

from .networks import randomised
from .test_library import assert_agrees


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path_factory.getbasetemp() / "libraries"))


SHALLOW = {"alpha2": 1, "alpha3": 1}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("espnet-c", {"module": "shufflenet", "downsampling": "conv", "image_input": "added"}),
        ("espnet-a", {"fusion": "first", "reduce_kernel_size": 3, "act": "relu", "residual": False}),
    ],
)
def test_switches_together(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    assert_agrees(randomised(build_network(name, 4, **options, **SHALLOW), seed=2), (37, 19), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith(("enet", "espnet"))])
def test_every_variant(tmp_path: Path, name: str) -> None:
    options = {} if name.startswith("enet") else {k: v for k, v in SHALLOW.items() if k not in VARIANTS[name].options}
    for place, target in enumerate(("host", "generic")):
        network = randomised(build_network(name, 5 + place, **options), seed=3)
        assert_agrees(network, (41, 27), tmp_path / target, target)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("module", ["mobilenet", "inception", "resnext", "resnet", "asp", "shufflenet"])
def test_modules_in_the_whole_network(tmp_path: Path, module: str) -> None:
    network = build_network("espnet", 3, module=module, decoder_channels=19, **SHALLOW)
    assert_agrees(randomised(network, seed=4), (34, 50), tmp_path)
