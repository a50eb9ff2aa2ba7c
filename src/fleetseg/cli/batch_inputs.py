"""Which images a batch means: folders, patterns and files at any address, and lists of them."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fleetseg.cli.input_images import RESULT_SUFFIXES, free_stem
from fleetseg.errors import DataError, UsageError

if TYPE_CHECKING:
    from fleetseg.app.batches.items import Item

#: A list of images has this suffix: an address or path a line, relative ones from the working folder.
LIST_SUFFIX = ".txt"


def is_list(argument: str) -> bool:
    """Whether an argument names a list of images."""
    return argument.lower().endswith(LIST_SUFFIX)


def find_items(arguments: Sequence[str], out: str) -> list[Item]:
    """The images of a batch, each once, and where each one's results go below the folder `out`.

    Results keep the sub-folders below a folder or pattern, or below the folder that a list's images share. Images
    that would share a result are told apart by ``_2``, ``_3`` and so on. Raises `UsageError` for arguments without
    images and results that would replace an input, `DataError` for places that cannot be searched.
    """
    from fleetseg.app.batches import places
    from fleetseg.app.batches.items import Item

    found: dict[str, PurePosixPath] = {}
    for argument in arguments:
        for address, name in _expand(argument, out):
            found.setdefault(address, name)
    taken: set[str] = set()
    items = [Item(address, places.join(out, str(free_stem(name, taken)))) for address, name in found.items()]
    for item in items:
        replaced = next((suffix for suffix in RESULT_SUFFIXES if item.result(suffix) in found), None)
        if replaced is not None:
            raise UsageError(f"--out {out}: would replace the input {item.result(replaced)}; use another folder")
    return items


def _expand(argument: str, out: str) -> Iterator[tuple[str, PurePosixPath]]:
    """Addresses that an argument means, each with its result's name below --out, without a suffix."""
    from fleetseg.app.batches import places

    if is_list(argument):
        yield from _listed(argument)
        return
    if glob.has_magic(urlsplit(argument).path if places.is_url(argument) else argument):
        addresses = [address for address in places.matching(argument) if _is_image(address)]
        fixed = places.full(argument[: argument.rindex("/", 0, _first_magic(argument)) + 1] if "/" in argument else ".")
        wanted = f"{argument}: no image matches this pattern"
    else:
        sort, address = places.kind(argument), places.full(argument)
        if sort == "none":
            raise UsageError(f"{argument}: no such file or folder")
        if sort == "file":
            yield address, PurePosixPath(PurePosixPath(_without_query(address)).stem)
            return
        below = out.rstrip("/") + "/" if out.rstrip("/") != address.rstrip("/") else None
        addresses = [name for name in places.files_below(argument) if below is None or not name.startswith(below)]
        addresses, fixed = [name for name in addresses if _is_image(name)], address
        wanted = f"{argument}: there are no images in this folder"
    if not addresses:
        raise UsageError(wanted)
    for address in addresses:
        yield address, _below(address, fixed)


def _listed(argument: str) -> Iterator[tuple[str, PurePosixPath]]:
    from fleetseg.app.batches import places

    try:
        lines = places.read(argument).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(
            f"{argument}: is no list of images, which is UTF-8 text with a path or address a line"
        ) from None
    words = [line.strip() for line in lines]
    addresses = list(dict.fromkeys(places.full(word) for word in words if word and not word.startswith("#")))
    if not addresses:
        raise UsageError(f"{argument}: there are no images in this list")
    folders = [address.split("/")[:-1] for address in addresses]
    shared = next((n for n, parts in enumerate(zip(*folders)) if len(set(parts)) > 1), min(map(len, folders)))  # noqa: B905
    fixed = "/".join(folders[0][:shared])
    for address in addresses:
        yield address, _below(address, fixed)


def _below(address: str, folder: str) -> PurePosixPath:
    rest = _without_query(address[len(folder) :] if address.startswith(folder) else address)
    parts = [part for part in rest.split("/") if part not in ("", ".", "..")]
    return PurePosixPath(*parts).with_suffix("")


def _without_query(address: str) -> str:
    return address.partition("?")[0] if address.startswith(("http://", "https://")) else address


def _first_magic(pattern: str) -> int:
    return next(place for place, letter in enumerate(pattern) if letter in "*?[")


def _is_image(address: str) -> bool:
    from fleetseg.image import IMAGE_SUFFIXES

    path = PurePosixPath(address)
    # Names with a dot in front are other programs' notes (macOS) or unfinished files.
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
