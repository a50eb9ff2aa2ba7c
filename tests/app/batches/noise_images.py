"""Images of noise whose class maps are known, and what a batch must make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetseg.app.batches.job import Job, network_files
from fleetseg.cli.network_sight import size_rule

parquet = pytest.importorskip("pyarrow.parquet")


def write_images(folder: Path, count: int, size: tuple[int, int] = (40, 30)) -> dict[str, np.ndarray[Any, Any]]:
    """PNG files of noise; their name without a suffix → the class map that the colour network gives."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    wanted = {}
    for number in range(count):
        picture = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{number:04}.png", compress_level=1)
        wanted[f"{number:04}"] = picture.argmax(axis=2)
    return wanted


def break_some(folder: Path) -> None:
    """Three files that are no images, by names that are."""
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.png").touch()
    whole = (folder / "0000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(out / "manifest.parquet").to_pylist()
    return found


def check_each_once(out: Path, wanted: dict[str, Any], failed: set[str]) -> None:
    """Every good image has its mask and one row, every broken one a row, and nothing else is there."""
    found = rows(out)
    assert len(found) == len(wanted) + len(failed)
    assert {Path(row["input"]).stem for row in found if row["status"] == "done"} == set(wanted)
    assert {Path(row["input"]).name for row in found if row["status"] == "failed"} == failed
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*(f"{name}.png" for name in wanted), "manifest.parquet"]
    )
    for name, mask in wanted.items():
        np.testing.assert_array_equal(np.asarray(Image.open(out / f"{name}.png")), mask)


def job_of(model: Path, **more: Any) -> Job:
    files, name, digest = network_files(str(model))
    rule = more.pop("choose_size", size_rule("native"))
    return Job(str(model), "own", "cpu", 1, rule, "native", files=files, name=name, digest=digest, **more)
