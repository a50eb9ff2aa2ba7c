"""Opening a data set by its folder, by a description of it, or by the word for the built-in scenes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fleetseg.data.annotated import AnnotatedDataset, Options
from fleetseg.data.base import Dataset
from fleetseg.data.biopsy import BreastBiopsy
from fleetseg.data.camvid import CamVid
from fleetseg.data.camvid_original import CamVidOriginal
from fleetseg.data.cityscapes import Cityscapes
from fleetseg.data.classes_file import CLASSES_FILE
from fleetseg.data.coco_instances import CocoInstances
from fleetseg.data.coco_panoptic import CocoPanoptic
from fleetseg.data.cvat import Cvat
from fleetseg.data.description import Description, DivisionSection, read_description
from fleetseg.data.division import divide
from fleetseg.data.file_dataset import FileDataset
from fleetseg.data.folder import Folder, folder_splits
from fleetseg.data.joined import Chosen, Joined, Relabelled, group_of
from fleetseg.data.label_map import LabelMap
from fleetseg.data.label_studio import LabelStudio
from fleetseg.data.labelme import Labelme
from fleetseg.data.mapillary import Mapillary
from fleetseg.data.pairing import list_file_splits
from fleetseg.data.scene_dataset import SPLITS as SCENE_SPLITS
from fleetseg.data.scene_dataset import Scenes
from fleetseg.data.slides import Slides
from fleetseg.data.sunrgbd import SunRgbd
from fleetseg.data.sunrgbd_exported import SunRgbdExported
from fleetseg.data.voc import PascalVoc
from fleetseg.data.yolo import Yolo
from fleetseg.errors import DataError, UnknownNameError, UsageError

#: The word for the built-in scenes; ``scenes:N`` asks for N of them.
SCENES_WORD = "scenes"

#: Layouts that a folder is tried for, in this order; the first that it has counts.
FORMATS: dict[str, type[FileDataset]] = {
    kind.format: kind
    for kind in (
        Cityscapes,
        Mapillary,
        SunRgbd,
        SunRgbdExported,
        PascalVoc,
        CamVidOriginal,
        Slides,
        BreastBiopsy,
        CocoPanoptic,
        CocoInstances,
        Yolo,
        Cvat,
        LabelStudio,
        Labelme,
    )
}

#: All words that `layout_of` answers with.
LAYOUTS = ("scenes", "camvid", "folder", *FORMATS)

#: Splits that hold images of others.
_UNIONS = {"voc": ("trainval", "trainaug"), "sunrgbd": ("train_part", "val")}

_DESCRIPTION_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Source:
    """A data set that was found, no split of it opened yet."""

    layout: str
    splits: Callable[[], tuple[str, ...]]
    #: (split, strict) → the split; see `file_dataset.FileDataset`.
    open: Callable[[str, bool], Dataset]


def open_dataset(path_or_word: str | Path, split: str) -> Dataset:
    """A split of the data set in a folder or description, or of the built-in scenes for ``scenes`` and ``scenes:N``.

    The layout is found out (docs/data.md); a YAML file describes what cannot be (`description`). ``A+B`` joins two
    splits. Raises `UsageError` for what is no data set and for a split that is not there, `DataError` for files
    that are missing or broken.
    """
    return _open_joined(source_of(path_or_word), split, strict=True)


def _open_joined(source: Source, split: str, strict: bool) -> Dataset:
    names = [name.strip() for name in split.split("+")]
    if len(names) == 1:
        return source.open(split, strict)
    return Joined([source.open(name, strict) for name in names], split)


def layout_of(path_or_word: str | Path) -> str:
    """How the data lie, one of `LAYOUTS`; `UsageError` with a sentence about them if in no known way."""
    return source_of(path_or_word).layout


def source_of(path_or_word: str | Path) -> Source:
    """The data set behind what --data says; `UsageError` if there is none."""
    if str(path_or_word).partition(":")[0] == SCENES_WORD:
        return Source("scenes", lambda: tuple(SCENE_SPLITS), partial(_open_scenes, str(path_or_word)))
    path = Path(path_or_word)
    if not path.exists():
        raise UsageError(
            f"{path}: there is no such data folder; the word '{SCENES_WORD}' stands for the built-in scenes"
        )
    if path.is_dir():
        return _folder_source(path, _layout_of_folder(path))
    if path.suffix.lower() in _DESCRIPTION_SUFFIXES and path.name != CLASSES_FILE:
        return _described(path)
    raise UsageError(
        f"{path}: this is a file; the folder of a data set, or a YAML file that describes one, is expected"
    )


def _layout_of_folder(root: Path) -> str:
    if (root / CLASSES_FILE).is_file() and not Slides.matches(root):
        return "folder"
    if camvid_folders(root):
        return "camvid"
    for name, kind in FORMATS.items():
        if kind.matches(root):
            return name
    if (root / "images").is_dir() and (root / "labels").is_dir():
        raise UsageError(
            f"{root / CLASSES_FILE} is missing; it should list the class names in id order, like 'names: [road, car]'"
        )
    raise UsageError(
        f"{root}: no data set is found in this folder; understood are CamVid's layout (train/, trainannot/, "
        f"train.txt), images/ and labels/ with a {CLASSES_FILE}, the official layouts and exports of "
        f"{', '.join(FORMATS)}, and the word '{SCENES_WORD}'"
    )


def _folder_source(root: Path, layout: str) -> Source:
    if layout == "camvid":
        return Source(layout, lambda: list_file_splits(root), lambda split, _: CamVid(root, split))
    if layout == "folder":
        return Source(layout, lambda: folder_splits(root), lambda split, _: Folder(root, split))
    kind = FORMATS[layout]
    return Source(layout, lambda: kind.splits(root), lambda split, strict: kind(root, split, strict))


def _described(path: Path) -> Source:
    """What a description makes of its folder: options, then division, then label map."""
    description = read_description(path)
    root = (path.parent / description.root).resolve() if description.root != "." else path.parent
    if not root.is_dir():
        raise UsageError(f"{path}: root is '{description.root}', but {root} is no folder")
    source = _with_options(path, root, description)
    renamed = dict(description.splits)

    def base_splits() -> tuple[str, ...]:
        if description.division is not None:
            return tuple(_parts_of(description.division))
        return tuple(dict.fromkeys((*renamed, *source.splits())))

    def open_split(split: str, strict: bool) -> Dataset:
        if description.division is not None:
            dataset = _divided(source, description.division, split, path)
        else:
            dataset = _open_joined(source, renamed.get(split, split), strict)
        if description.label_map is None:
            return dataset
        section = description.label_map
        labels, table = LabelMap(section.merge, section.drop, section.ignore, section.classes).apply(dataset.labels)
        return Relabelled(dataset, labels, table)

    return Source(source.layout, base_splits, open_split)


def _with_options(path: Path, root: Path, description: Description) -> Source:
    layout = description.format or _layout_of_folder(root)
    if layout not in LAYOUTS or layout == "scenes":
        raise UnknownNameError(f"format (in {path})", layout, [name for name in LAYOUTS if name != "scenes"])
    options = Options(description.images, description.annotations, description.names, description.unannotated)
    kind = FORMATS.get(layout)
    if kind is Slides:
        cut = description.slides
        return Source(layout, lambda: Slides.splits(root), lambda split, strict: Slides(root, split, strict, cut))
    if kind is not None and issubclass(kind, AnnotatedDataset | CocoPanoptic):
        return Source(
            layout, lambda: kind.splits(root, options), lambda split, strict: kind(root, split, strict, options)
        )
    if options != Options():
        keys = ("images", "annotations", "names", "unannotated")
        named = next(key for key in keys if key in description.model_fields_set)
        raise UsageError(f"{path}: '{named}' belongs to the annotation formats; {layout} has its own")
    return _folder_source(root, layout)


def _parts_of(section: DivisionSection) -> list[str]:
    return ["train", *(part for part in ("val", "test") if getattr(section, part) > 0)]


def _divided(source: Source, section: DivisionSection, split: str, path: Path) -> Dataset:
    known = _parts_of(section)
    if split not in known:
        raise UnknownNameError(f"split in {path} named", split, known)
    whole = Joined([source.open(name, True) for name in section.of], "+".join(section.of))
    names = [_group_name(whole, index, section, path) for index in range(len(whole))]
    return Chosen(whole, divide(names, section.val, section.test, section.seed)[split], split)


def _group_name(dataset: Joined, index: int, section: DivisionSection, path: Path) -> str:
    if section.by == "image":
        return f"{dataset.paths(index)[0]}#{index}"
    if section.group is None:
        return group_of(dataset, index)
    stem = dataset.paths(index)[0].stem
    found = re.search(section.group, stem)
    if found is None:
        raise DataError(f"{path}: division.group '{section.group}' finds nothing in the name {stem}")
    return found[1] if found.re.groups else found[0]


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


def _open_scenes(word: str, split: str, _strict: bool) -> Dataset:
    return Scenes(split, scene_count(word))


def disjoint_splits(source: Source) -> tuple[str, ...]:
    """The splits that together are the data set, no image in two: neither unions nor second names of others."""
    names = source.splits()
    unions = {"all", *_UNIONS.get(source.layout, ())}
    apart = (name for name in names if "@" not in name and name not in unions)
    return tuple(n for n in apart if not any(re.fullmatch(re.escape(n) + r"\d{4}", other) for other in names))


def available_splits(path_or_word: str | Path) -> tuple[str, ...]:
    """The splits that can be opened; none for CamVid's layout without list files."""
    return source_of(path_or_word).splits()
