"""From a network's class numbers and a data set's to the classes that are scored, always by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.evaluation.grouping import Grouping
from fleetseg.labels import IGNORE_INDEX, LabelSet, label_set

Table = npt.NDArray[np.uint8]

#: Names under which networks predict "no class".
NO_CLASS_NAMES = frozenset({"unlabelled", "unlabeled", "void", "ignore", "background void"})

#: In a table of predictions: the pixel is not counted, whatever its label.
NOT_COUNTED = 254


@dataclass(frozen=True)
class Matching:
    """Which classes are scored, and (256,) uint8 look-up tables that lead there.

    A label without a scored class becomes 255 and is not counted. A prediction becomes 255 if it is no class,
    which is an error on a labelled pixel, and `NOT_COUNTED` if its class has no counterpart.
    """

    labels: LabelSet
    of_target: Table
    of_prediction: Table

    def apply(
        self, target: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], int]:
        """Label and prediction of an image as scored classes, and how many labelled pixels are not counted."""
        wanted = np.asarray(cv2.LUT(target, self.of_target), np.uint8)
        found = np.asarray(cv2.LUT(prediction, self.of_prediction), np.uint8)
        uncounted = 0
        if (self.of_prediction == NOT_COUNTED).any():
            skipped = found == NOT_COUNTED
            uncounted = int(np.count_nonzero(skipped & (wanted != IGNORE_INDEX)))
            wanted[skipped] = found[skipped] = IGNORE_INDEX
        return wanted, found, uncounted

    def ignoring(self, names: Collection[str]) -> Matching:
        """Without some classes: pixels labelled so do not count; predicting one elsewhere is an error."""
        numbers = {_key(name, self.labels): number for number, name in enumerate(self.labels.names)}
        dropped = set()
        for name in names:
            if _key(name, self.labels) not in numbers:
                raise UnknownNameError("class", name, self.labels.names)
            dropped.add(numbers[_key(name, self.labels)])
        kept = [number for number in range(self.labels.num_classes) if number not in dropped]
        if not kept:
            raise UsageError(f"all {len(dropped)} classes are to be ignored; at least one must be left to score")
        renumber = np.full(256, IGNORE_INDEX, np.uint8)
        renumber[kept] = np.arange(len(kept))
        renumber[NOT_COUNTED] = NOT_COUNTED
        labels = LabelSet(
            tuple(self.labels.names[number] for number in kept), tuple(self.labels.palette[number] for number in kept)
        )
        return Matching(labels, renumber[self.of_target], renumber[self.of_prediction])


def match_classes(classes: Sequence[str], labels: LabelSet, grouping: Grouping | None = None) -> Matching:
    """How `classes` (a network's, in its order) meet a data set's, directly or merged by `grouping`.

    `UsageError` if, without a grouping, the two are not the same classes, or if a grouping does not know one.
    """
    if grouping is None:
        identity = np.full(256, IGNORE_INDEX, np.uint8)
        identity[: labels.num_classes] = np.arange(labels.num_classes)
        return Matching(labels, identity, class_table(classes, labels))
    groups = tuple(grouping.groups)
    known = {name.lower() for name in labels.names}
    palette = grouping.palette if grouping.palette is not None else None
    return Matching(
        label_set(groups, palette),
        _merged(labels.names, grouping, IGNORE_INDEX, f"the data set's class '{{}}' ({len(known)} classes)"),
        _merged(classes, grouping, NOT_COUNTED, "the network's class '{}'"),
    )


def _merged(names: Sequence[str], grouping: Grouping, unmapped: int, what: str) -> Table:
    """Position in `names` → position of its group; `unmapped` for names that the grouping leaves out on purpose."""
    positions = {group: number for number, group in enumerate(grouping.groups)}
    table = np.full(256, IGNORE_INDEX, np.uint8)
    for position, name in enumerate(names):
        if grouping.knows(name):
            group = grouping.group_of(name)
            table[position] = unmapped if group is None else positions[group]
        elif name.lower() not in NO_CLASS_NAMES:
            raise UsageError(
                f"{grouping.name} does not say what becomes of {what.format(name)}; "
                f"it should stand in a group or under 'ignored'"
            )
    if not set(table[: len(names)].tolist()) - {IGNORE_INDEX, unmapped}:
        raise UsageError(f"{grouping.name} leaves no class to score: none of {', '.join(names[:5])} … is in a group")
    return table


def class_table(classes: Sequence[str], labels: LabelSet) -> Table:
    """(256,) uint8 look-up table from a network's class numbers to the data set's; "no class" becomes 255.

    Upper and lower case count only where they tell two of the data set's classes apart.
    """
    numbers = {_key(name, labels): number for number, name in enumerate(labels.names)}
    table = np.full(256, IGNORE_INDEX, np.uint8)
    for position, name in enumerate(classes):
        key = _key(name, labels)
        if key in numbers:
            table[position] = numbers.pop(key)
        elif name.lower() not in NO_CLASS_NAMES:
            raise UsageError(
                f"the network predicts the class '{name}', which the data set does not have; "
                f"its classes are {_some(labels.names)}"
            )
    if numbers:
        missing = labels.names[min(numbers.values())]
        raise UsageError(
            f"the data set has the class '{missing}', which the network does not predict; "
            f"its classes are {_some(classes)}"
        )
    return table


def _some(names: Sequence[str], most: int = 25) -> str:
    """Names for a sentence that can still be read: Mapillary has 123 classes."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _key(name: str, labels: LabelSet) -> str:
    lower = name.lower()
    ambiguous = sum(other.lower() == lower for other in labels.names) > 1
    return name if ambiguous else lower
