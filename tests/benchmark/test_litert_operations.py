"""The profile of LiteRT files that `benchmarks/int8_profile.py` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from fleetseg.exporting import ExportRequest, export
from fleetseg.models.checkpoint import save_checkpoint

pytestmark = [pytest.mark.usefixtures("scripts"), pytest.mark.slow]


def test_every_operation_is_timed(
    random_network: Callable[..., Any], metadata_of: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("litert_torch")
    from litert_operations import operation_times

    network = random_network("espnet-c", 4, seed=4, alpha2=1, alpha3=1)
    checkpoint, out = tmp_path / "small.safetensors", tmp_path / "small.tflite"
    save_checkpoint(checkpoint, network, metadata_of(network))
    export(str(checkpoint), out, ExportRequest("litert", (64, 48), "fp32"))
    runs = operation_times(out, 1, 3)
    assert len(runs) == 3
    assert all(milliseconds > 0 for run in runs for _, _, milliseconds in run)
    kinds = Counter(kind for _, kind, _ in runs[0])
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert kinds["CONV_2D FLOAT32"] == convolutions
    assert [name for name, _, _ in runs[0]] == [name for name, _, _ in runs[2]]
