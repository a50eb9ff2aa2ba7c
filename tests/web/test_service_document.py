"""The examples of docs/service.md, run as they are printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fleetseg.data.scenes import render_scene
from fleetseg.web.problems import KINDS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
PRINTED = "127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("service")
    Image.fromarray(render_scene(4, 96, 64)[0]).save(folder / "street.jpg")
    return folder


@pytest.fixture(scope="module")
def host(workplace: Path) -> Iterator[str]:
    """A service like the one that the document starts, on a port that is free."""
    words = [sys.executable, "-m", "fleetseg", "serve", "--port", "0", "--no-compile", "--size", "64x48", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=workplace)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"].removeprefix("http://")
    process.terminate()
    assert process.wait(60) == 0


def run(command: list[str], workplace: Path) -> str:
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(host: str, workplace: Path) -> None:
    outputs = [run(["sh", "-c", block.replace(PRINTED, host)], workplace) for block in blocks("sh")]
    mask = np.array(Image.open(workplace / "mask.png"))
    assert mask.shape == (64, 96) and mask.max() < 11
    assert np.array(Image.open(workplace / "overlay.png")).shape[1] >= 96
    facts = json.loads(outputs[-1])
    assert (facts["model"], facts["width"]) == ("espnet-camvid", 96)


def test_python(host: str, workplace: Path) -> None:
    image, stream = (run([sys.executable, "-c", b.replace(PRINTED, host)], workplace) for b in blocks("python"))
    assert re.fullmatch(r"\d+\.\d % road, \d+ % sure, onnxruntime\n", image)
    assert re.fullmatch(r"frame 0: \d+ ms in the network\n", stream)


def test_every_problem_and_address_is_listed(client: TestClient) -> None:
    for kind, (status, _) in KINDS.items():
        if kind != "failed":
            assert f"`{kind}`" in TEXT and str(status) in TEXT, kind
    for path in client.get("/openapi.json").json()["paths"]:
        assert path.replace("{number}", "N") in TEXT


def test_options_are_real(capsys: pytest.CaptureFixture[str]) -> None:
    from fleetseg.cli import main

    main(["serve", "--help"])
    shown = capsys.readouterr().out
    for option in set(re.findall(r"`(--[a-z-]+)", TEXT)):
        assert option in shown, option
