"""What the library and its description say of each kernel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fleetseg.compilation import write_library
from fleetseg.errors import CheckpointError
from fleetseg.models import build_network
from fleetseg.models.cost import multiply_adds
from fleetseg.runtime.native_engine import NativeEngine

from .networks import randomised

WIDTH, HEIGHT, CLASSES = 40, 24, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETSEG_CACHE", str(tmp_path_factory.getbasetemp() / "libraries"))
        network = randomised(build_network("espnet-c", CLASSES, alpha2=1, alpha3=1), 1)
        write_library(network, (WIDTH, HEIGHT), out, dump=out / "dump")
    return out


def test_every_kernel_gets_a_time_and_the_classes_are_those_of_a_run(folder: Path) -> None:
    description = json.loads((folder / "espnetc.json").read_text())
    engine = NativeEngine(description, folder, threads=2)
    image = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    classes, seconds = engine.profile(image)
    np.testing.assert_array_equal(classes, engine.classes(image))
    wanted = np.asarray([kernel["when"] != "logits" for kernel in description["kernels"]])
    assert len(seconds) == len(wanted) and wanted.sum() < len(wanted)
    assert (seconds[wanted] > 0).all()
    assert (seconds[~wanted] == 0).all()


def test_kernels_sum_to_the_networks_multiply_adds(folder: Path) -> None:
    description = json.loads((folder / "espnetc.json").read_text())
    kernels = [kernel for kernel in description["kernels"] if kernel["when"] != "logits"]
    network = build_network("espnet-c", CLASSES, alpha2=1, alpha3=1)
    assert sum(kernel["macs"] for kernel in kernels) == multiply_adds(network, WIDTH, HEIGHT) == description["macs"]


def test_bytes_are_those_of_maps_and_weights(folder: Path) -> None:
    kernels = json.loads((folder / "espnetc.json").read_text())["kernels"]
    assert (kernels[0]["bytes_read"], kernels[0]["bytes_written"]) == (WIDTH * HEIGHT * 3, WIDTH * HEIGHT * 3 * 4)
    last = next(kernel for kernel in kernels if kernel["when"] == "classes")
    assert last["bytes_written"] == (WIDTH // 8) * (HEIGHT // 8)
    assert all(kernel["bytes_read"] > 0 and kernel["bytes_written"] > 0 for kernel in kernels)
    schedule = (folder / "dump" / "schedule.txt").read_text()
    assert f"read {WIDTH * HEIGHT * 3:10,}  written {WIDTH * HEIGHT * 12:10,} bytes" in schedule


def test_a_library_from_before_says_so(folder: Path) -> None:
    engine = NativeEngine(json.loads((folder / "espnetc.json").read_text()), folder, threads=1)
    engine._functions["profile"] = None
    with pytest.raises(CheckpointError, match="cannot time its kernels; compile the network again"):
        engine.profile(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
