"""Opening a data set by its folder or by the word for the built-in scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fleetseg.data.base import Dataset
from fleetseg.data.camvid import CamVid
from fleetseg.data.classes_file import CLASSES_FILE
from fleetseg.data.folder import Folder, folder_splits
from fleetseg.data.pairing import list_file_splits
from fleetseg.data.scene_dataset import SPLITS as SCENE_SPLITS
from fleetseg.data.scene_dataset import Scenes
from fleetseg.errors import UsageError

#: The word for the built-in scenes; ``scenes:N`` asks for N of them.
SCENES_WORD = "scenes"

Layout = Literal["scenes", "camvid", "folder"]


def open_dataset(path_or_word: str | Path, split: str) -> Dataset:
    """A split of the data set in a folder, or of the built-in scenes for ``scenes`` and ``scenes:N``.

    The layout is found out: ``classes.yaml`` makes a folder of one's own (docs/data.md), ``trainannot`` or
    the like makes CamVid. A split is named by its list file's stem (``test.txt``: ``test``) or by its folder.
    Raises `UsageError` for a folder that is neither and for a split that is not there.
    """
    layout = layout_of(path_or_word)
    if layout == "scenes":
        return Scenes(split, scene_count(str(path_or_word)))
    if layout == "camvid":
        return CamVid(Path(path_or_word), split)
    return Folder(Path(path_or_word), split)


def layout_of(path_or_word: str | Path) -> Layout:
    """How the data lie; `UsageError` with a sentence about the understood layouts if in no known way."""
    if str(path_or_word).partition(":")[0] == SCENES_WORD:
        return "scenes"
    root = Path(path_or_word)
    if not root.exists():
        raise UsageError(
            f"{root}: there is no such data folder; the word '{SCENES_WORD}' stands for the built-in scenes"
        )
    if not root.is_dir():
        raise UsageError(f"{root}: this is a file; the folder of a data set is expected")
    if (root / CLASSES_FILE).is_file():
        return "folder"
    if camvid_folders(root):
        return "camvid"
    if (root / "images").is_dir() and (root / "labels").is_dir():
        raise UsageError(
            f"{root / CLASSES_FILE} is missing; it should list the class names in id order, like 'names: [road, car]'"
        )
    raise UsageError(
        f"{root}: no data set is found in this folder; understood are CamVid's layout (train/, trainannot/, "
        f"train.txt), images/ and labels/ with a {CLASSES_FILE}, and the word '{SCENES_WORD}'"
    )


def camvid_folders(root: Path) -> tuple[str, ...]:
    """Names X, sorted, for which `root` has the folders X (images) and Xannot (labels)."""
    names = (path.name.removesuffix("annot") for path in root.glob("?*annot") if path.is_dir())
    return tuple(sorted(name for name in names if (root / name).is_dir()))


def scene_count(word: str) -> int | None:
    """N of ``scenes:N``, None for ``scenes`` alone."""
    _, colon, number = word.partition(":")
    if not colon:
        return None
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise UsageError(f"'{word}': a number above 0 should follow the colon, for example {SCENES_WORD}:100")
    return int(number)


def available_splits(path_or_word: str | Path) -> tuple[str, ...]:
    """The splits that can be opened; none for CamVid's layout without list files."""
    layout = layout_of(path_or_word)
    if layout == "scenes":
        return tuple(SCENE_SPLITS)
    if layout == "camvid":
        return list_file_splits(Path(path_or_word))
    return folder_splits(Path(path_or_word))
