"""The deployment examples, built and run as their first lines say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fleetseg
from fleetseg.compiler.build import find_compiler
from fleetseg.exporting import ExportRequest, export, scene
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import save_checkpoint, spec_of

EXAMPLES = Path(__file__).parents[1] / "examples"
SIZE = (40, 24)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    network = build_network("espnet-c", CAMVID_11.num_classes, alpha2=1, alpha3=1)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "small", CAMVID_11.names, CAMVID_11.palette))
    return str(path)


def shares(text: str) -> list[float]:
    return [float(value) for value in re.findall(r": ([\d.]+)%", text)]


def test_c(checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    report = export(checkpoint, tmp_path / "compiled", ExportRequest("c", SIZE))
    assert report.agreement is not None
    image = scene(SIZE)
    (tmp_path / "street.ppm").write_bytes(b"P6 40 24 255\n" + image.tobytes())
    words = [*find_compiler(), "-O1", "-Wall", "-Wextra", "-Werror", "-I", "compiled", "-DNETWORK=small"]
    words += ['-DHEADER="small.h"', str(EXAMPLES / "c" / "segment.c"), "compiled/small.so", "-o", "segment"]
    subprocess.run([*words, "-Wl,-rpath,$ORIGIN"], cwd=tmp_path, check=True)
    done = subprocess.run(["./segment", "street.ppm", "classes.pgm"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(shares(done.stdout)) == pytest.approx(100, abs=0.1)
    expected = fleetseg.load(tmp_path / "compiled").logits(image).argmax(0)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "classes.pgm")), expected)
    (tmp_path / "street.ppm").write_bytes(b"P6 41 24 255\n" + image.tobytes())
    done = subprocess.run(["./segment", "street.ppm", "classes.pgm"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "street.ppm: a binary PPM of 40x24 is needed\n")


def test_python_without_torch(checkpoint: str, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "a.onnx", ExportRequest("onnx", SIZE, head="classes", preprocessing=True))
    image = scene(SIZE)
    Image.fromarray(image).save(tmp_path / "street.png")
    words = [sys.executable, "-W", "error", str(EXAMPLES / "python" / "segment.py"), "a.onnx", "street.png", "mask.png"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(CAMVID_11.names)
    assert sum(shares(done.stdout)) == pytest.approx(100, abs=0.1)
    mask = Image.open(tmp_path / "mask.png")
    assert (mask.mode, mask.size) == ("P", (SIZE[0] // 8, SIZE[1] // 8))
    assert np.array_equal(np.asarray(mask), fleetseg.load(tmp_path / "a.onnx").raw(image))
