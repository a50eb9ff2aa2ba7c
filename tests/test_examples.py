"""The deployment examples, built and run as their first lines say, beside what `fleetseg predict` gives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fleetseg.cli import main
from fleetseg.compiler.build import cache_folder, find_compiler
from fleetseg.exporting import ExportRequest, export, scene
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import save_checkpoint, spec_of

EXAMPLES = Path(__file__).parents[1] / "examples"
SIZE = (40, 24)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    network = build_network("espnet", CAMVID_11.num_classes, alpha2=1, alpha3=1)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "small", CAMVID_11.names, CAMVID_11.palette))
    return str(path)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A picture, as PNG and, with other suffixes, as PPM and as a PPM of another size."""
    path = tmp_path / "street.png"
    pixels = scene(SIZE)
    Image.fromarray(pixels).save(path)
    path.with_suffix(".ppm").write_bytes(b"P6 40 24 255\n" + pixels.tobytes())
    path.with_suffix(".wide.ppm").write_bytes(b"P6 41 24 255\n" + pixels.tobytes())
    path.with_suffix(".short.ppm").write_bytes(b"P6 40 24 255\n" + pixels.tobytes()[:-1])
    return path


def predicted(model: Path, street: Path) -> npt.NDArray[np.uint8]:
    """What `fleetseg predict` writes for that file."""
    assert main(["predict", str(model), str(street), "--out", str(street.parent / "predicted")]) == 0
    mask = np.asarray(Image.open(street.parent / "predicted" / "street.png"))
    assert len(np.unique(mask)) > 2
    return mask


def run(words: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env={**os.environ, **more})


def shares(text: str) -> list[float]:
    return [float(value) for value in re.findall(r": ([\d.]+)%", text)]


def check(program: list[str], model: Path, street: Path, **more: str) -> None:
    """The program labels the street as `fleetseg predict` does, and says what is wrong with other pictures."""
    folder = street.parent
    done = run([*program, "street.ppm", "classes.pgm"], folder, **more)
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(shares(done.stdout)) == pytest.approx(100, abs=0.1)
    assert np.array_equal(np.asarray(Image.open(folder / "classes.pgm")), predicted(model, street))
    for name, sentence in (("wide", "a binary PPM of 40x24 is needed"), ("short", "is cut short")):
        done = run([*program, f"street.{name}.ppm", "classes.pgm"], folder, **more)
        assert (done.returncode, done.stderr) == (1, f"street.{name}.ppm: {sentence}\n")
    done = run([*program, "street.ppm"], folder, **more)
    assert (done.returncode, done.stderr[:7]) == (2, "usage: ")


def test_c(checkpoint: str, street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = street.parent
    monkeypatch.setenv("FLEETSEG_CACHE", str(folder / "cache"))
    export(checkpoint, folder / "compiled", ExportRequest("c", SIZE))
    words = [*find_compiler(), "-O1", "-Wall", "-Wextra", "-Werror", "-I", "compiled", "-DNETWORK=small"]
    words += ['-DHEADER="small.h"', str(EXAMPLES / "c" / "segment.c"), "compiled/small.so", "-o", "segment"]
    subprocess.run([*words, "-Wl,-rpath,$ORIGIN"], cwd=folder, check=True)
    check(["./segment"], folder / "compiled", street)


def test_cpp_with_openvino(checkpoint: str, street: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO's package brings the headers")
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    folder, package = street.parent, Path(openvino.__file__).parent
    library = next((package / "libs").glob("libopenvino.so.*"), None)
    if library is None:
        pytest.skip("this OpenVINO was built for another system than Linux")
    export(checkpoint, folder / "a.xml", ExportRequest("openvino", SIZE, head="classes", preprocessing=True))
    words = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", str(package / "include")]
    words += [str(EXAMPLES / "cpp" / "segment.cpp"), str(library), f"-Wl,-rpath,{library.parent}", "-o", "segment"]
    subprocess.run(words, cwd=folder, check=True)
    check(["./segment", "a.xml"], folder / "a.xml", street)
    done = run(["./segment", "missing.xml", "street.ppm", "classes.pgm"], folder)
    assert (done.returncode, done.stderr) == (1, "missing.xml: cannot be opened\n")


@pytest.fixture(scope="module")
def node_folder() -> Path:
    """A folder below the cache with the Node.js example installed, as its first lines say."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node.js with npm on this machine")
    folder = cache_folder() / "node-example"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "segment.js"):
        shutil.copy(EXAMPLES / "node" / name, folder)
    if not (folder / "node_modules" / "onnxruntime-node").is_dir():
        words = ["npm", "install", "--no-audit", "--no-fund"]
        done = run(words, folder, ONNXRUNTIME_NODE_INSTALL="skip")
        if done.returncode != 0:
            pytest.skip(f"npm cannot install onnxruntime-node here: {done.stderr[-300:]}")
    return folder


@pytest.mark.slow
def test_node(node_folder: Path, checkpoint: str, street: Path) -> None:
    model = street.with_name("a.onnx")
    export(checkpoint, model, ExportRequest("onnx", SIZE, head="classes", preprocessing=True))
    check(["node", str(node_folder / "segment.js"), "a.onnx"], model, street)


def test_python_without_torch(checkpoint: str, street: Path) -> None:
    folder = street.parent
    export(checkpoint, folder / "a.onnx", ExportRequest("onnx", SIZE, head="classes", preprocessing=True))
    words = [sys.executable, "-W", "error", str(EXAMPLES / "python" / "segment.py"), "a.onnx", "street.png", "mask.png"]
    done = run(words, folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(CAMVID_11.names)
    assert sum(shares(done.stdout)) == pytest.approx(100, abs=0.1)
    mask = Image.open(folder / "mask.png")
    assert mask.mode == "P"
    assert np.array_equal(np.asarray(mask), predicted(folder / "a.onnx", street))
