"""Which images the arguments of a command mean, and a name for each one's results."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from fleetseg.errors import UsageError

#: What is appended to an image's name for its results; all are reserved, asked for or not.
RESULT_SUFFIXES = (
    *(".png", "_overlay.png", "_confidence.png"),
    *("_labels.tif", "_areas.json", "_outlines.geojson"),
)


@dataclass(frozen=True)
class InputImage:
    """One image file and where its results go."""

    path: Path
    #: Results are this and one of `RESULT_SUFFIXES`; unique within a run.
    result_stem: Path

    def result(self, suffix: str) -> Path:
        """Path of one result."""
        return self.result_stem.with_name(self.result_stem.name + suffix)


def find_images(arguments: Sequence[str], out: Path) -> list[InputImage]:
    """Resolve files, folders (searched with all their sub-folders) and glob patterns, each file once.

    Results keep the sub-folders below the folder or pattern; of several folders, each keeps its name. Two
    images that would still share a result are told apart by ``_2``, ``_3`` and so on. Results of an earlier
    run are not taken for images when `out` lies inside a searched folder.

    Raises `UsageError` for a path that does not exist, a folder or pattern without images, and results that
    would replace an input.
    """
    several_folders = sum(Path(argument).is_dir() for argument in arguments) > 1
    found: dict[Path, tuple[Path, PurePath]] = {}
    for argument in arguments:
        for path, name in _expand(argument, out, several_folders):
            found.setdefault(path.resolve(), (path, name))
    taken: set[str] = set()
    images = [InputImage(path, out / free_stem(name, taken)) for path, name in found.values()]
    for image in images:
        replaced = next((s for s in RESULT_SUFFIXES if image.result(s).resolve() in found), None)
        if replaced is not None:
            raise UsageError(f"--out {out}: would replace the input {image.result(replaced)}; use another folder")
    return images


def _expand(argument: str, out: Path, keep_folder_name: bool) -> Iterator[tuple[Path, PurePath]]:
    """Files that an argument means, each with its result's name below --out, without a suffix."""
    path = Path(argument)
    if path.is_dir():
        yield from _in_folder(path, out, PurePath(path.resolve().name if keep_folder_name else ""))
    elif path.exists():
        yield path, PurePath(path.stem)
    elif glob.has_magic(argument):
        yield from _matching(argument)
    else:
        raise UsageError(f"{path}: no such file or folder")


def _in_folder(folder: Path, out: Path, prefix: PurePath) -> Iterator[tuple[Path, PurePath]]:
    from fleetseg.data.slide_file import SCANNER_SUFFIXES
    from fleetseg.image import IMAGE_SUFFIXES

    suffixes = IMAGE_SUFFIXES | SCANNER_SUFFIXES
    below_out = out.resolve() if out.resolve() != folder.resolve() else None
    empty = True
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and Path(parent, f).resolve() != below_out)
        for name in sorted(names):
            path = Path(parent, name)
            # Names with a dot in front are other programs' notes (macOS) or unfinished files.
            if path.suffix.lower() in suffixes and not name.startswith("."):
                empty = False
                yield path, prefix / path.relative_to(folder).with_suffix("")
    if empty:
        raise UsageError(f"{folder}: there are no images in this folder ({', '.join(sorted(suffixes))})")


def _matching(pattern: str) -> Iterator[tuple[Path, PurePath]]:
    fixed = Path()
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    # Not Path.glob: it refuses absolute patterns.
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    files = [Path(match) for match in matches if not Path(match).is_dir()]
    if not files:
        raise UsageError(f"{pattern}: no file matches this pattern")
    for path in files:
        yield path, path.relative_to(fixed).with_suffix("")


def free_stem(name: PurePath, taken: set[str]) -> PurePath:
    """`name`, numbered if one of its results belongs to a name that is taken; case does not count, as on some disks.

    `taken`: what was returned so far, in lower case; the new one is added.
    """
    number = 1
    while True:
        stem = name if number == 1 else name.with_name(f"{name.name}_{number}")
        folded = str(stem).casefold()
        if not any(other in taken for other in _sharing(folded)):
            taken.add(folded)
            return stem
        number += 1


def _sharing(stem: str) -> Iterator[str]:
    """Every stem of which one result would have the name of one of this stem's; itself, too."""
    for own in RESULT_SUFFIXES:
        result = stem + own
        yield from (result.removesuffix(other) for other in RESULT_SUFFIXES if result.endswith(other))
