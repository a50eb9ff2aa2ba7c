from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from fleetseg.data.scenes import render_scene


def run_demo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fleetseg.demo", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_demo_segments_scenes_and_own_images(tmp_path: Path) -> None:
    Image.fromarray(render_scene(5, 160, 120)[0]).save(tmp_path / "mine.jpg")
    result = run_demo("--scenes", "2", "--out", "out", "mine.jpg", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"scene_00_image.png", "scene_01_mask.png", "scene_01_overlay.png", "mine.png", "mine_overlay.png"} <= names
    assert np.array(Image.open(tmp_path / "out" / "mine.png")).shape == (120, 160)
    for word in ("classes found: ", "latency: median ", "mIoU", f"pictures: {tmp_path / 'out'}"):
        assert word in result.stdout


def test_demo_names_a_broken_image_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.fromarray(render_scene(6, 64, 48)[0]).save(tmp_path / "good.png")
    result = run_demo("--scenes", "1", "--out", "out", "broken.png", "good.png", cwd=tmp_path)
    assert result.returncode == 1
    assert "broken.png" in result.stderr and "Traceback" not in result.stderr
    assert (tmp_path / "out" / "good.png").is_file()


def test_demo_refuses_an_unknown_model(tmp_path: Path) -> None:
    result = run_demo("--model", "enet-camvod", cwd=tmp_path)
    assert result.returncode == 2
    assert "enet-camvid" in result.stderr and "Traceback" not in result.stderr
