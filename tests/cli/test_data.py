"""``fleetseg data camvid`` and ``fleetseg data check`` as a user calls them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.cli import main
from fleetseg.data import camvid_download


def write_pair(root: Path, image: str, label: str, value: int) -> None:
    for path in (root / image, root / label):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(root / image)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(root / label)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """One pair in CamVid's layout."""
    root = tmp_path / "source"
    write_pair(root, "val/z.png", "valannot/z.png", 3)
    (root / "val.txt").write_text("val/z.png valannot/z.png\n")
    return root


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(camvid: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of `camvid`, whose checksums stand for CamVid's."""
    names = ("val/z.png", "valannot/z.png")
    checksums = {name: hashlib.sha256((camvid / name).read_bytes()).hexdigest() for name in names}
    monkeypatch.setattr(camvid_download, "camvid_checksums", lambda: checksums)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(camvid)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_then_check(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "CamVid"
    call = ["data", "camvid", "--out", str(out), "--splits", "val", "--url", url]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == camvid_download.LICENCE
    assert "2 files" in said
    assert "0 were there" in said
    assert main(call) == 0
    assert "2 were there" in capsys.readouterr().out
    assert main(["data", "check", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Road" in said
    assert "val: 1 image (1 of 8×8)" in said
    assert "No problems." in said


def test_a_download_that_fails_is_one_sentence(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "camvid", "--out", str(tmp_path / "x"), "--splits", "val", "--url", f"{url}/no"]) == 1
    said = capsys.readouterr().err
    assert "404" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--splits", "vla"], "CamVid split 'vla'; did you mean val?"),
        (["--url", "camvid.zip"], "should begin with https:// or http://"),
    ],
)
def test_wrong_download_calls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert main(["data", "camvid", "--out", str(tmp_path / "x"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_problems_are_listed_and_the_status_says_so(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(camvid, "val/y.png", "valannot/y.png", 40)
    (camvid / "valannot/z.png").unlink()
    (camvid / "val.txt").write_text("val/y.png valannot/y.png\nval/z.png valannot/z.png\n")
    assert main(["data", "check", str(camvid)]) == 1
    said = capsys.readouterr().out
    assert "2 problems:" in said
    assert f"[val] image without label: {camvid}/val/z.png" in said
    assert f"[val] value outside the classes: {camvid}/valannot/y.png" in said


def test_json_is_all_that_stdout_gets(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--data", str(camvid), "--split", "val", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["splits"]["val"]["pixels"]["Road"] == 64
    assert report["splits"]["val"]["shares"]["Road"] == 100


def test_a_table_of_many_splits_is_not_cut(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        (camvid / f"a-long-name-{number}.txt").write_text("val/z.png valannot/z.png\n")
    assert main(["data", "check", str(camvid)]) == 0
    said = capsys.readouterr().out
    assert "…" not in said
    assert all(f"a-long-name-{number}" in said.splitlines()[2] for number in range(6))


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["scenes:0"], ["scenes", "--data", "scenes"]])
def test_wrong_check_calls(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", *arguments]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1


def test_scenes_can_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "scenes:1", "--split", "train,val"]) == 0
    assert "train: 1 image (1 of 480×360)" in capsys.readouterr().out
