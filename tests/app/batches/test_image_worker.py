"""One worker and one image: what is written, what is not done again."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetseg.app.batches.image_worker import ImageWorker
from fleetseg.app.batches.items import DONE, FAILED, Item
from fleetseg.runtime import load

from .noise_images import job_of, write_images


def test_worker_writes_what_the_network_says(colour_onnx: Path, tmp_path: Path) -> None:
    wanted = write_images(tmp_path / "in", 1)["0000"]
    worker = ImageWorker(job_of(colour_onnx, overlay=True, confidence=True))
    record = worker(Item(str(tmp_path / "in/0000.png"), str(tmp_path / "out/x")))
    assert record.status == DONE
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/x.png")), wanted)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x.png", "x_confidence.png", "x_overlay.png"]
    assert (record.width, record.height, record.network_width) == (40, 30, 40)
    assert record.shares["green"] == pytest.approx((wanted == 1).mean())
    picture = np.asarray(Image.open(tmp_path / "in/0000.png"))
    _, certainty = load(colour_onnx).predict_with_confidence(picture, (40, 30))
    written = np.asarray(Image.open(tmp_path / "out/x_confidence.png"))
    np.testing.assert_array_equal(written, np.rint(255 * certainty))


def test_worker_does_not_repeat_what_is_there(colour_onnx: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 1)
    image, worker = tmp_path / "in/0000.png", ImageWorker(job_of(colour_onnx))
    first = worker(Item(str(image), str(tmp_path / "x")))
    again = Item(str(image), str(tmp_path / "x"), first.stamp)
    assert worker(again).status == "finished"
    (tmp_path / "x.png").unlink()
    assert worker(again).status == "done", "its mask is gone"
    image.write_bytes(image.read_bytes() + b" ")
    assert worker(again).status == "done", "the image changed"


def test_worker_elsewhere_gets_the_network_with_its_job(colour_onnx: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 1)
    job = pickle.loads(pickle.dumps(job_of(colour_onnx)))
    colour_onnx.unlink()
    record = ImageWorker(job, elsewhere=True)(Item(str(tmp_path / "in/0000.png"), str(tmp_path / "x")))
    assert (record.status, record.error) == (DONE, None)


def test_key_of_a_job_is_what_decides_the_results(colour_onnx: Path, write_colour_onnx: Any) -> None:
    job = job_of(colour_onnx)
    assert job.key == job_of(colour_onnx).key
    assert job.key != job_of(colour_onnx, overlay=True).key
    assert job.key != job_of(write_colour_onnx("other.onnx", stride=2)).key


def test_images_that_are_for_windows_are_refused(colour_onnx: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 1)
    item = Item(str(tmp_path / "in/0000.png"), str(tmp_path / "x"))
    record = ImageWorker(job_of(colour_onnx, most_pixels=1199))(item)
    assert record.status == FAILED
    assert record.error == (
        f"{item.input}: 40×30 is 1,200 pixels, but the limit is 1,199; make the image smaller, "
        "or label it by itself with --windows"
    )
    assert ImageWorker(job_of(colour_onnx, most_pixels=1200))(item).status == DONE


def test_what_nobody_foresaw_stays_with_its_image(
    colour_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "in", 2)

    def fail(*_arguments: Any) -> Any:
        raise ZeroDivisionError("odd\nimage")

    worker, image = ImageWorker(job_of(colour_onnx)), str(tmp_path / "in/0000.png")
    with monkeypatch.context() as patch:
        patch.setattr("fleetseg.app.batches.image_worker.decode_image", fail)
        record = worker(Item(image, str(tmp_path / "x")))
    reason = "failed in a way that nobody foresaw (ZeroDivisionError: odd image)"
    assert (record.status, record.error) == (FAILED, f"{image}: {reason}")
    assert worker(Item(str(tmp_path / "in/0001.png"), str(tmp_path / "y"))).status == DONE
