"""Downloads from a local server that breaks off, lies, stalls and comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetseg.data.verified_download import Connection, Fetched, download_verified
from fleetseg.errors import DownloadError, OutputError, UsageError

FILES = {f"train/{n}.png": bytes([n]) * (1000 + n) for n in range(6)} | {"val/a b.png": b"x" * 50}
SERVED = {name.replace(" ", "%20"): content for name, content in FILES.items()}
CHECKSUMS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
QUICK = Connection(parallel=3, timeout=1, patience=1.5, attempts=3, backoff=0.01)


@pytest.fixture
def server(serving) -> Iterator:
    with serving(dict(SERVED)) as state:
        yield state


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_files_arrive_and_each_is_reported(server, tmp_path: Path) -> None:
    sizes: list[int] = []
    fetched = download_verified(server.url, CHECKSUMS, tmp_path / "new" / "out", QUICK, sizes.append)
    total = sum(len(content) for content in FILES.values())
    assert fetched == Fetched(files=7, kept=0, bytes=total)
    assert files_below(tmp_path / "new" / "out") == FILES
    assert sum(sizes) == total
    assert len(sizes) == 7


def test_a_second_run_asks_for_nothing(server, tmp_path: Path) -> None:
    download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    server.requests.clear()
    assert download_verified(server.url, CHECKSUMS, tmp_path, QUICK) == Fetched(files=7, kept=7, bytes=0)
    assert not server.requests


def test_only_missing_and_wrong_files_are_fetched_again(server, tmp_path: Path) -> None:
    download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    server.requests.clear()
    (tmp_path / "train/0.png").unlink()
    (tmp_path / "train/1.png").write_bytes(b"half")
    fetched = download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    assert (fetched.kept, fetched.bytes) == (5, 1000 + 1001)
    assert set(server.requests) == {"train/0.png", "train/1.png"}
    assert files_below(tmp_path) == FILES


@pytest.mark.parametrize("trouble", ["truncate", "wrong", "stall", "drip", "close", "redirect", 503, 429])
def test_passing_trouble_is_survived(server, tmp_path: Path, trouble: int | str) -> None:
    server.trouble["train/2.png"] = [trouble, trouble]
    download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    assert server.requests["train/2.png"] == 3
    assert files_below(tmp_path) == FILES


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("truncate", "the answer broke off after 501 of 1002 bytes, 3 times"),
        ("wrong", r"the content is wrong \(SHA-256 \w{12}… of 1002 bytes, \w{12}… is right\), 3 times"),
        ("stall", r"no answer within 1 s, 3 times"),
        ("drip", r"only \d+ bytes came before the time was up"),
        ("close", "the connection broke"),
        (503, "the server answered 503 Service Unavailable, 3 times"),
    ],
)
def test_lasting_trouble_ends_the_download(server, tmp_path: Path, trouble: int | str, sentence: str) -> None:
    server.trouble["train/2.png"] = [trouble] * 10
    with pytest.raises(DownloadError, match=sentence) as caught:
        download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    message = str(caught.value)
    assert message.startswith(f"{server.url}/train/2.png: ")
    assert "run it again" in message
    assert "\n" not in message
    found = files_below(tmp_path)
    assert "train/2.png" not in found
    assert found.items() <= FILES.items()  # what is there is whole, and no temporary file is left


def test_after_lasting_trouble_the_same_call_goes_on(server, tmp_path: Path) -> None:
    server.trouble["val/a%20b.png"] = ["truncate"] * 3
    with pytest.raises(DownloadError):
        download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    there = len(files_below(tmp_path))
    assert there > 0
    assert download_verified(server.url, CHECKSUMS, tmp_path, QUICK).kept == there
    assert files_below(tmp_path) == FILES


def test_a_file_that_the_server_does_not_have_is_asked_for_once(server, tmp_path: Path) -> None:
    del server.files["train/3.png"]
    with pytest.raises(DownloadError, match=r"train/3\.png: the server answered 404 Not Found; the address"):
        download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    assert server.requests["train/3.png"] == 1


def test_nobody_listens(serving, tmp_path: Path) -> None:
    with serving({}) as state:
        url = state.url
    with pytest.raises(DownloadError, match="the connection failed"):
        download_verified(url, CHECKSUMS, tmp_path, QUICK)


def test_an_interruption_ends_the_waiting_and_keeps_what_is_there(server, tmp_path: Path) -> None:
    stubborn = list(SERVED)[3:]
    for name in stubborn:
        server.trouble[name] = [503] * 8
    patient = Connection(parallel=3, timeout=5, attempts=8, backoff=0.1)

    def interrupt(size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_verified(server.url, CHECKSUMS, tmp_path, patient, interrupt)
    # Eight attempts would take 12.7 seconds of waiting between them.
    assert all(server.requests[name] < 8 for name in stubborn)
    server.trouble.clear()
    assert download_verified(server.url, CHECKSUMS, tmp_path, QUICK).kept >= 1
    assert files_below(tmp_path) == FILES


def test_a_place_that_cannot_be_written(server, tmp_path: Path) -> None:
    (tmp_path / "train").write_text("a file where a folder should be")
    with pytest.raises(OutputError, match=r"train: the folder cannot be made"):
        download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    assert not server.requests
    (tmp_path / "train").unlink()
    (tmp_path / "train" / "1.png").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"train/1\.png"):
        download_verified(server.url, CHECKSUMS, tmp_path, QUICK)


@pytest.mark.parametrize("url", ["", "camvid", "file:///etc", "ftp://host/x", "https://"])
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="https:// or http://"):
        download_verified(url, CHECKSUMS, tmp_path, QUICK)


def test_redirects_in_a_circle_are_one_sentence(server, tmp_path: Path) -> None:
    server.trouble["train/2.png"] = ["circle"] * 100
    with pytest.raises(DownloadError, match=r"train/2\.png: the server answered 302") as caught:
        download_verified(server.url, CHECKSUMS, tmp_path, QUICK)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "train/2.png").exists()
