"""What goes wrong while training is one sentence, and nothing that was saved is lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from fleetseg.errors import OutputError, TrainingError, UsageError
from fleetseg.models.checkpoint import load_checkpoint
from fleetseg.training.folder_lock import FolderLock
from fleetseg.training.module import TrainingModule
from fleetseg.training.recipe import Recipe
from fleetseg.training.resume_point import ResumePointIO
from fleetseg.training.run import Run

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]


def test_a_loss_that_is_no_number_keeps_its_batch(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fifth step: the second batch of the second epoch."""
    original, batches = TrainingModule._forward_loss, []

    def loss(self: TrainingModule, images: torch.Tensor, target: torch.Tensor, *more: Any) -> torch.Tensor:
        batches.append(target.clone())
        return original(self, images, target, *more) * (float("nan") if len(batches) == 5 else 1)

    monkeypatch.setattr(TrainingModule, "_forward_loss", loss)
    sentence = r"epoch 2: the loss became nan on the batch of (\d), (\d), which is kept in .*failed-batch.npz; the wei"
    with pytest.raises(TrainingError, match=sentence) as caught:
        Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()
    with np.load(tmp_path / "run" / "failed-batch.npz") as kept:
        assert kept["images"].shape == (2, 3, 24, 32) and kept["images"].dtype == np.uint8
        assert torch.equal(torch.from_numpy(kept["target"]).long(), batches[-1])
        names = [str(name) for name in kept["names"]]
    assert f"on the batch of {', '.join(names)}" in str(caught.value)
    assert set(names) <= set("012345") and len(set(names)) == 2


def test_a_batch_that_cannot_be_kept_does_not_hide_the_loss(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingModule, "_forward_loss", lambda *_: torch.tensor(float("nan")))
    run = Run(make_recipe(), str(tiny_data), tmp_path / "run")
    run.folder.failed_batch.mkdir()
    sentence = r"the loss became nan on the batch of \d, \d, which is not kept \(.*failed-batch.npz: is a folder"
    with pytest.raises(TrainingError, match=sentence):
        run.execute()


def test_a_class_without_pixels_is_named_and_training_goes_on(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    (data / "classes.yaml").write_text("names: [red, green, blue, gold]\n")
    Run(make_recipe(stages=[make_stage("one", epochs=1)]), str(data), tmp_path / "run").execute()
    assert "fleetseg: no pixel of the split 'train' is gold, so this cannot be learnt" in capsys.readouterr().err


def test_a_crop_larger_than_the_images_is_said(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = make_stage("one", epochs=1, augmentation={"crop": [48, 40], "scale": [0.5, 1.1]})
    Run(make_recipe(stages=[stage]), str(tiny_data), tmp_path / "run").execute()
    sentence = "stage one: the crop of 48×40 is larger than the images, 40×32 at a scale of up to 1.1; beyond them"
    assert sentence in capsys.readouterr().err


def test_a_folder_that_a_live_process_trains_in(make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path) -> None:
    """Also with --resume, whose cleaning up would take away what the other is writing. A killed one holds nothing."""
    run = tmp_path / "run"
    Run(make_recipe(), str(tiny_data), run)
    leftover = run / ".best.1a2b3c4d.tmp.safetensors"
    leftover.write_bytes(b"being written")
    code = (
        "import sys, time; from pathlib import Path; from fleetseg.training.folder_lock import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(run / ".lock")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        sentence = rf"run: is in use by a running training \(process {other.pid}\); wait for its end, or choose"
        with pytest.raises(UsageError, match=sentence):
            Run(make_recipe(), str(tiny_data), run, resume=True)
        assert leftover.exists()
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    Run(make_recipe(), str(tiny_data), run, resume=True).lock.release()
    assert not leftover.exists() and not (run / ".lock").exists()


def test_a_worker_that_outlives_its_process_holds_no_lock(tmp_path: Path) -> None:
    """A forked child has copies of all open files."""
    lock = FolderLock(tmp_path / ".lock")
    child = os.fork()
    if child == 0:
        lock.release()  # what garbage collection might do there
        time.sleep(60)
        os._exit(0)
    try:
        assert (tmp_path / ".lock").exists()
        lock.release()
        code = "import sys; from pathlib import Path; from fleetseg.training.folder_lock import FolderLock\n"
        code += "FolderLock(Path(sys.argv[1]))"
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / ".lock")], capture_output=True, timeout=100)
        assert done.returncode == 0, done.stderr
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_full_disk_leaves_the_last_checkpoint(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first epoch no file may grow beyond a limit that its weights stay under and the resume point does not.

    The kernel refuses the write as it does on a full disk.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    original, saves = ResumePointIO.save_checkpoint, 0

    def limited(self: ResumePointIO, *arguments: Any, **keywords: Any) -> None:
        nonlocal saves
        saves += 1
        if saves == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
        original(self, *arguments, **keywords)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(ResumePointIO, "save_checkpoint", limited)
            with pytest.raises(OutputError, match=r"stages/network.ckpt: cannot be written \(") as caught:
                Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    state = ResumePointIO().load_checkpoint(tmp_path / "run" / "stages" / "network.ckpt")
    assert state["epoch"] == 0
    assert not list((tmp_path / "run").rglob("*.tmp*"))
    best = Run(make_recipe(), str(tiny_data), tmp_path / "run", resume=True).execute()
    assert load_checkpoint(best)[1].provenance["stage"] == "network"


def test_a_disk_too_full_for_tensorboard_is_no_traceback(
    make_recipe: MakeRecipe,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It writes in a thread of its own."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()
    assert "Traceback" not in capsys.readouterr().err


def test_too_little_memory_says_which_batch_fits(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TrainingModule._forward_loss

    def needs_memory(self: TrainingModule, images: torch.Tensor, *more: Any) -> torch.Tensor:
        if len(images) > 2:
            torch.empty(2**60)
        return original(self, images, *more)

    monkeypatch.setattr(TrainingModule, "_forward_loss", needs_memory)
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    for kind in ("images", "labels"):
        for number in range(6, 9):
            shutil.copy(data / kind / "train" / "0.png", data / kind / "train" / f"{number}.png")
    recipe = make_recipe(stages=[make_stage("one", batch_size=9)])
    sentence = r"stage one: the memory does not suffice for batches of 9 images; 2 fit: --set stages.one.batch_size=2"
    with pytest.raises(TrainingError, match=sentence):
        Run(recipe, str(data), tmp_path / "run").execute()


def test_images_without_any_label_move_nothing(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    for path in (data / "labels" / "train").iterdir():
        cv2.imwrite(str(path), np.full((32, 40), 255, np.uint8))
    stage = make_stage("one", epochs=1, ema=None, loss={"terms": [{"name": "lovasz"}, {"name": "ohem"}]})
    Run(make_recipe(stages=[stage]), str(data), tmp_path / "run").execute()
    assert (tmp_path / "run" / "best.safetensors").is_file()
