"""Looking through a whole data set: what its labels hold, and everything that is wrong with its files.

Opening a data set stops at the first fault; this goes on and collects them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.base import Dataset
from fleetseg.data.camvid import UNLABELLED_IN_FILES
from fleetseg.data.check_report import DataReport, SplitReport
from fleetseg.data.classes_file import read_classes_file
from fleetseg.data.file_dataset import FileDataset
from fleetseg.data.folder import folder_pairing, folder_splits
from fleetseg.data.joined import files_of, image_of, mask_of
from fleetseg.data.label_values import Classes, check_label_format, values_outside
from fleetseg.data.listing import read_label_values, read_list_file
from fleetseg.data.opening import Source, camvid_folders, disjoint_splits, scene_count, source_of
from fleetseg.data.pairing import USUAL_SPLITS, Pairing, list_file_splits, pair_as_listed, pair_by_stem
from fleetseg.data.scene_dataset import SPLITS as SCENE_SPLITS
from fleetseg.data.scene_dataset import Scenes
from fleetseg.errors import DataError, ImageError, UnknownNameError
from fleetseg.image import read_image
from fleetseg.labels import CAMVID_11

#: How many of a label's wrong values a message spells out.
_VALUES_NAMED = 5


def check_data(
    path_or_word: str | Path,
    splits: Sequence[str] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Read every image and label of `splits` (default: all that are there); report counts and problems.

    `on_image` is called with how many images are done and how many there are. Raises `UsageError` if there is
    no data set or no such split, and `DataError` for a broken ``classes.yaml``, without which no label has a
    meaning; every other fault is in the report.
    """
    source = source_of(path_or_word)
    layout = "described" if Path(path_or_word).is_file() else source.layout
    known = _known_splits(path_or_word, layout, source)
    for split in splits or ():
        if split not in known:
            raise UnknownNameError(f"split in {path_or_word} named", split, known)
    classes = Classes(CAMVID_11, UNLABELLED_IN_FILES)
    if layout == "folder":
        classes = read_classes_file(Path(path_or_word))
    reports = tuple(SplitReport(split, classes) for split in splits or known)
    if layout in ("scenes", "camvid", "folder"):
        tasks = [task for report in reports for task in _tasks(path_or_word, layout, report)]
    else:
        tasks = [task for report in reports for task in _tasks_of_source(source, report)]
    for done, task in enumerate(tasks, start=1):
        task()
        if on_image is not None:
            on_image(done, len(tasks))
    apart = disjoint_splits(source)
    _report_duplicates([report for report in reports if report.split in apart])
    return DataReport(str(path_or_word), source.layout, reports[0].classes.labels, reports)


def _tasks_of_source(source: Source, report: SplitReport) -> list[Callable[[], None]]:
    """One call a sample of a split that `opening` opens; what keeps it from being opened is its only problem."""
    try:
        dataset = source.open(report.split, False)
    except DataError as error:
        report.add("cannot be opened", report.split, str(error))
        return []
    report.classes = Classes(dataset.labels)
    if isinstance(dataset, FileDataset):
        for fault in dataset.faults:
            report.add(fault.kind, fault.path, fault.message)
    if len(dataset) == 0 and not report.problems:
        report.add("no images", report.split, f"the split '{report.split}' has no images")
    return [partial(_examine_sample, dataset, index, report) for index in range(len(dataset))]


def _examine_sample(dataset: Dataset, index: int, report: SplitReport) -> None:
    """Its image and its mask apart, so that one fault does not hide the other."""
    files = files_of(dataset, index) or (Path(str(index)),)
    image = None
    try:
        image = image_of(dataset, index)
        report.count_image(image, files[0])
    except DataError as error:
        report.add("unreadable image", files[0], str(error))
    try:
        mask = mask_of(dataset, index)
    except ImageError as error:
        report.add("unreadable label", files[-1], str(error))
        return
    except DataError as error:
        report.add("wrong label", files[-1], str(error))
        return
    _count_values(mask, files[-1], report)
    if image is not None:
        _compare_sizes(image, mask, files[0], files[-1], report)


def _report_duplicates(reports: Sequence[SplitReport]) -> None:
    """A problem for each image whose pixels are those of one in an earlier split: it would measure nothing."""
    for place, later in enumerate(reports):
        for earlier in reports[:place]:
            for digest in (digest for digest in later.digests if digest in earlier.digests):
                file, twin = later.digests[digest], earlier.digests[digest]
                if file == twin and not {later.split, earlier.split} <= USUAL_SPLITS:
                    continue  # a list of chosen images, such as night.txt, is a part of another split on purpose
                message = f"{file}: the same picture is in the split '{earlier.split}' ({twin}); one of them should go"
                later.add("duplicate across splits", file, message)


def _known_splits(path_or_word: str | Path, layout: str, source: Source) -> tuple[str, ...]:
    if layout == "scenes":
        return tuple(SCENE_SPLITS)
    root = Path(path_or_word)
    if layout == "folder":
        return folder_splits(root)
    if layout == "camvid":
        return tuple(sorted({*list_file_splits(root), *camvid_folders(root)}))
    return disjoint_splits(source)


def _tasks(path_or_word: str | Path, layout: str, report: SplitReport) -> list[Callable[[], None]]:
    """One call an image; what the names of the files show is reported at once."""
    if layout == "scenes":
        scenes = Scenes(report.split, scene_count(str(path_or_word)))
        return [partial(_examine_scene, scenes, index, report) for index in range(len(scenes))]
    pairing = _pairing(Path(path_or_word), layout, report)
    for fault in pairing.faults:
        report.add(fault.kind, fault.path, fault.message)
    if not pairing.pairs and not report.problems:
        report.add("no images", path_or_word, f"{path_or_word}: the split '{report.split}' has no images")
    return [partial(_examine_pair, image, label, report) for image, label in pairing.pairs]


def _pairing(root: Path, layout: str, report: SplitReport) -> Pairing:
    if layout == "camvid":
        return _camvid_pairing(root, report)
    try:
        return folder_pairing(root, report.split)
    except (DataError, ValueError) as error:  # ValueError: not UTF-8
        _report_list_file(root, report, str(error))
        return Pairing(())


def _camvid_pairing(root: Path, report: SplitReport) -> Pairing:
    """The listed pairs, and what the split's two folders hold beyond them in files without a partner."""
    in_folders = pair_by_stem(root / report.split, root / f"{report.split}annot")
    list_file = root / f"{report.split}.txt"
    if not list_file.is_file():
        _report_list_file(
            root,
            report,
            f"{list_file}: the list file is missing; an image and its label a line, "
            f"'{report.split}/1.png {report.split}annot/1.png', are expected",
        )
        return in_folders
    try:
        listed = pair_as_listed(read_list_file(root, report.split))
    except (DataError, ValueError) as error:
        _report_list_file(root, report, str(error))
        return in_folders
    reported = {fault.path for fault in listed.faults}
    others = tuple(fault for fault in in_folders.faults if fault.path not in reported)
    return Pairing(listed.pairs, listed.faults + others)


def _report_list_file(root: Path, report: SplitReport, message: str) -> None:
    path = root / f"{report.split}.txt"
    report.add("list file", path, message if message.startswith(str(path)) else f"{path}: {message}")


def _examine_scene(scenes: Scenes, index: int, report: SplitReport) -> None:
    sample = scenes[index]
    report.count_image(sample.image, sample.name)
    _count_values(np.where(sample.mask == 255, np.uint8(UNLABELLED_IN_FILES), sample.mask), sample.name, report)
    _compare_sizes(sample.image, sample.mask, sample.name, sample.name, report)


def _examine_pair(image_path: Path, label_path: Path, report: SplitReport) -> None:
    image = _read_image(image_path, report)
    values = _read_label(label_path, report)
    if values is not None:
        _count_values(values, label_path, report)
    if image is not None and values is not None:
        _compare_sizes(image, values, image_path, label_path, report)


def _read_image(path: Path, report: SplitReport) -> npt.NDArray[np.uint8] | None:
    try:
        image = read_image(path)
    except ImageError as error:
        report.add("unreadable image", path, str(error))
        return None
    report.count_image(image, path)
    return image


def _read_label(path: Path, report: SplitReport) -> npt.NDArray[np.uint8] | None:
    try:
        check_label_format(path)
        return read_label_values(path, report.classes)
    except ImageError as error:
        report.add("unreadable label", path, str(error))
    except DataError as error:
        report.add("label without class ids", path, str(error))
    except Exception as error:  # a broken file makes image decoders raise nearly anything
        report.add("unreadable label", path, f"{path}: the label cannot be read ({error})")
    return None


def _count_values(values: npt.NDArray[np.uint8], file: Path | str, report: SplitReport) -> None:
    report.count_label(values)
    outside = values_outside(values, report.classes)
    if outside.any():
        wrong, first, counts = np.unique(values[outside], return_index=True, return_counts=True)
        places = np.argwhere(outside)[first]
        named = [
            f"{value} ({count:,} px, first at row {row}, column {column})"
            for value, count, (row, column) in zip(wrong, counts, places, strict=True)
        ]
        more = f" and {len(named) - _VALUES_NAMED} more" if len(named) > _VALUES_NAMED else ""
        report.add(
            "value outside the classes",
            file,
            f"{file}: values without a class: {', '.join(named[:_VALUES_NAMED])}{more}; "
            f"{report.classes.expected_values}",
        )


def _compare_sizes(
    image: npt.NDArray[np.uint8],
    values: npt.NDArray[np.uint8],
    image_file: Path | str,
    label_file: Path | str,
    report: SplitReport,
) -> None:
    height, width = image.shape[:2]
    if values.shape != (height, width):
        report.add(
            "unequal sizes",
            label_file,
            f"{label_file}: the label is {values.shape[1]}×{values.shape[0]} but its image {image_file} is "
            f"{width}×{height}; the two should be equal",
        )
