"""``fleetseg predict`` on batches by processes of this machine: broken files, lists, buckets, deadly images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from fleetseg.app.batches.items import Item
from fleetseg.app.batches.local_workers import LocalWorkers
from fleetseg.app.batches.manifest import Manifest
from fleetseg.app.batches.run import run_batch
from fleetseg.cli import main
from fleetseg.errors import OutputError
from fleetseg.runtime import load

from .bucket_server import ACCESS_KEY, Bucket, served_bucket
from .noise_images import break_some, check_each_once, job_of, rows, write_images


def predict(model: Path, *words: str) -> int:
    return main(["predict", str(model), *words, "--size", "native"])


def test_folder_with_broken_files_then_again(colour_onnx: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = write_images(here / "in", 6)
    break_some(here / "in")
    broken = {"text.jpg", "empty.png", "cut.png"}
    assert predict(colour_onnx, "in", "--out", "out", "--workers", "2", "--json") == 1
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert (result["images"], result["labelled"], result["failed"]) == (9, 6, 3)
    assert all(f"in/{name}: is " in shown.err for name in broken)
    assert "3 of 9 images could not be segmented" in shown.err
    check_each_once(here / "out", wanted, broken)
    assert sum(result["shares"].values()) == pytest.approx(1, abs=1e-5)
    times = {path.name: path.stat().st_mtime_ns for path in (here / "out").glob("0*.png")}
    for name in broken:
        shutil.copy(here / "in/0001.png", (here / "in" / name).with_suffix(".png"))
    (here / "in/text.jpg").unlink()
    (here / "out/0002.png").unlink()
    assert predict(colour_onnx, "in", "--out", "out", "--workers", "1", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["labelled"], result["finished_before"], result["failed"]) == (4, 5, 0)
    again = {path.name: path.stat().st_mtime_ns for path in (here / "out").glob("0*.png")}
    assert {name for name in times if times[name] != again[name]} == {"0002.png"}


def test_images_for_windows_are_named(
    colour_onnx: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(here / "in", 1)
    monkeypatch.setattr("fleetseg.cli.predict_batches.MOST_PIXELS", 1199)
    assert main(["predict", str(colour_onnx), "in", "--out", "out", "--workers", "1"]) == 1
    assert "0000.png: 40×30 is 1,200 pixels, but the limit is 1,199; make the image" in capsys.readouterr().err


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    s3fs = pytest.importorskip("s3fs")
    with served_bucket() as bucket:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.address)
        s3fs.S3FileSystem.clear_instance_cache()
        yield bucket


@pytest.mark.slow
def test_list_in_and_bucket_out(
    colour_onnx: Path, here: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = write_images(here / "in", 2)
    for name in wanted:
        bucket.objects[f"drives/day/{name}.png"] = (here / f"in/{name}.png").read_bytes()
    Path("list.txt").write_text("".join(f"s3://drives/day/{name}.png\n" for name in [*wanted, "gone"]))
    assert predict(colour_onnx, "list.txt", "--out", "s3://masks/out", "--workers", "1") == 1
    shown = capsys.readouterr()
    assert "s3://drives/day/gone.png: cannot be read (it does not exist)" in shown.err
    assert "manifest in s3://masks/out/manifest.parquet" in shown.out
    masks = sorted(name for name in bucket.objects if name.startswith("masks/"))
    assert masks == [*(f"masks/out/{name}.png" for name in wanted), "masks/out/manifest.parquet"]


@pytest.mark.parametrize("words", [["s3://drives/day", "--out", "out"], ["list.txt", "--out", "s3://drives/out"]])
def test_bucket_that_is_not_ours_is_one_sentence(
    colour_onnx: Path,
    words: list[str],
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bucket.objects["drives/day/a.png"] = b""
    Path("list.txt").write_text("a.png\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    assert predict(colour_onnx, *words) == 1
    error = capsys.readouterr().err
    assert error.startswith("fleetseg: s3://drives/")
    assert "(not allowed: " in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["in", "--out", "out", "--cluster", "slurm"], "--cluster slurm: ray is the one that is known"),
        (["in", "--out", "out", "--workers", "2", "--every", "3"], "--every: goes with a video, not with a batch"),
        (["gone.txt", "--out", "out"], "gone.txt: cannot be read (it does not exist)"),
        (["in", "--out", "out", "--workers", "90000"], "--workers 90000: more than "),
        (["in", "--out", "file/below", "--workers", "1"], "file/below: cannot be written to (Not a directory)"),
        (["in", "--out", "file", "--workers", "1"], "file: cannot be written to ("),
    ],
)
def test_wrong_calls(
    colour_onnx: Path, words: list[str], sentence: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(here / "in", 1)
    Path("file").touch()
    assert predict(colour_onnx, *words) in (1, 2)
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


DEADLY = """
import os, signal
def rule(model, own):
    if own == (13, 13):
        os.kill(os.getpid(), signal.SIGKILL)
    return own
"""


@pytest.mark.slow
def test_image_that_kills_its_worker_takes_no_other_with_it(
    colour_onnx: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "deadly.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(here)
    import deadly  # type: ignore[import-not-found]

    wanted = write_images(here / "in", 8)
    Image.new("RGB", (13, 13)).save(here / "in/0003a.png")
    items = [Item(str(path), str(here / "out" / path.stem)) for path in sorted((here / "in").iterdir())]
    job = job_of(colour_onnx, choose_size=deadly.rule)
    classes = load(colour_onnx).classes
    result = run_batch(items, job, LocalWorkers(job, 2), Manifest(str(here / "out"), classes), classes)
    assert (result.done, result.failed) == (8, 1)
    assert "0003a.png: the worker process died of it" in result.failures[0]
    check_each_once(here / "out", wanted, {"0003a.png"})


@pytest.mark.slow
def test_full_disk_ends_the_batch_and_keeps_what_is_finished(colour_onnx: Path, here: Path) -> None:
    write_images(here / "in", 4)
    (here / "out/0002.png").mkdir(parents=True)  # a folder where a mask should go
    (here / "out/0002.png/full").touch()
    items = [Item(str(path), str(here / "out" / path.stem)) for path in sorted((here / "in").iterdir())]
    job, classes = job_of(colour_onnx), load(colour_onnx).classes
    with pytest.raises(OutputError, match=r"0002\.png: cannot be written"):
        run_batch(items, job, LocalWorkers(job, 1), Manifest(str(here / "out"), classes), classes)
    done = {Path(row["input"]).stem for row in rows(here / "out") if row["status"] == "done"}
    assert done >= {"0000", "0001"}
