"""Memory and time of `fleetseg predict --windows` against the size of the image.

python benchmarks/huge_images.py --sizes 2000,5000,10000,20000 --json benchmarks/results/FILE.json

Each size is a tiled RGB TIFF of street scenes (JPEG tiles), generated here, then labelled by the command line in a
process of its own. The figure is that process's largest resident set (ru_maxrss), with Python, packages, network and
every mapped file in it. The network is compiled for the window, as somebody in a hurry would.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from fleetseg.benchmark.machine import describe_machine
from fleetseg.compilation import write_library
from fleetseg.data.scenes import render_scene

TILE, SCENE = 512, 1024

STARTER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)
"""


def tiles(side: int) -> Iterator[np.ndarray]:
    """Tiles of a mosaic of three scenes."""
    scenes = [render_scene(seed, SCENE, SCENE)[0] for seed in range(3)]
    part = SCENE // TILE
    for row in range(-(-side // TILE)):
        for column in range(-(-side // TILE)):
            scene = scenes[(7 * (row // part) + column // part) % len(scenes)]
            top, left = TILE * (row % part), TILE * (column % part)
            yield np.ascontiguousarray(scene[top : top + TILE, left : left + TILE])


def write_mosaic(path: Path, side: int, kind: str) -> None:
    """An image of side × side: tiled TIFF, or a JPEG, which has to be streamed."""
    options = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    tiled = path.with_suffix(".tif")
    tifffile.imwrite(tiled, tiles(side), shape=(side, side, 3), dtype=np.uint8, bigtiff=True, **options)
    if kind == "jpeg":
        Image.MAX_IMAGE_PIXELS = None
        Image.fromarray(tifffile.imread(tiled)).save(path, quality=90)
        tiled.unlink()


def run(words: list[str]) -> tuple[float, float, float]:
    """Largest resident set (10⁶ bytes), seconds of processor, seconds, of a process that must succeed."""
    started = time.perf_counter()
    # Linux begins to count at the starter's size, so a small process starts it.
    found = subprocess.run([sys.executable, "-c", STARTER, *words], capture_output=True, text=True, check=True)
    status, peak, processor = (float(word) for word in found.stdout.split())
    if status:
        raise SystemExit(f"{words}: ended with status {status:.0f}\n{found.stderr}")
    return peak, processor, time.perf_counter() - started


def measure(model: str, side: int, kind: str, window: str, threads: int, folder: Path) -> dict[str, object]:
    """One image of one size."""
    image = folder / f"mosaic{side}.{'tif' if kind == 'tiff' else 'jpg'}"
    write_mosaic(image, side, kind)
    words = [sys.executable, "-m", "fleetseg", "predict", model, str(image), "--out", str(folder / "out")]
    peak, processor, seconds = run([*words, "--window", window, "--threads", str(threads)])
    about = json.loads((folder / "out" / f"mosaic{side}_areas.json").read_text())
    labels = folder / "out" / f"mosaic{side}_labels.tif"
    with tifffile.TiffFile(labels) as file:
        levels = [list(level.shape) for level in file.series[0].levels]
    assert levels[0] == [side, side]
    found = {
        "side": side,
        "kind": kind,
        "megapixels": side * side / 1e6,
        "image_mb": round(image.stat().st_size / 1e6, 1),
        "windows": about["windows"],
        "window": about["window"],
        "peak_memory_mb": round(peak, 1),
        "processor_seconds": round(processor, 1),
        "seconds": round(seconds, 1),
        "labels_mb": round(labels.stat().st_size / 1e6, 1),
        "levels": len(levels),
    }
    image.unlink()
    return found


def row(found: dict[str, object]) -> str:
    """A line of the table."""
    return (
        f"{found['side']:<6} {found['kind']:<6} {found['megapixels']:>10.0f}  {found['windows']:>7}  "
        f"{found['peak_memory_mb']:>7.0f}  {found['processor_seconds']:>11.0f}  {found['labels_mb']:>9}"
    )


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="enet-camvid")
    parser.add_argument("--sizes", default="2000,5000,10000,20000", help="sides of the square images")
    parser.add_argument("--kinds", default="tiff", help="tiff, jpeg or both with a comma between")
    parser.add_argument("--window", default="960x720")
    parser.add_argument("--precision", default="bf16", help="fp32 or bf16; or none: the model as it is")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where images and results go  [default: a temporary one]")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.window.split("x"))
    results = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        model = arguments.model
        if arguments.precision != "none":
            write_library(model, (width, height), Path(folder) / "library", precision=arguments.precision)
            model = str(Path(folder) / "library")
        print("side   kind   megapixels  windows  peak MB  processor s  labels MB")
        for kind in arguments.kinds.split(","):
            for side in (int(word) for word in arguments.sizes.split(",")):
                one = measure(model, side, kind, arguments.window, arguments.threads, Path(folder))
                results.append(one)
                print(row(one), flush=True)
    call = {key: getattr(arguments, key) for key in ("model", "window", "precision", "threads")}
    record = {**call, "results": results, "machine": describe_machine()}
    print(json.dumps(record))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
