"""Fewer classes than the files have: a label map merges, drops and ignores classes by name.

merge:                       # several become one, under a new name or that of one of them
  vehicle: [car, truck, bus]
drop: [bird]                 # no class of their own any more: background (made if there is none)
ignore: [sky]                # 255: in no loss and no score
classes: [road, vehicle]     # optional: the order of the result; every class that is left must be in it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fleetseg.data.annotated import BACKGROUND
from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.labels import IGNORE_INDEX, Colour, LabelSet


@dataclass(frozen=True)
class LabelMap:
    """What becomes of which classes; those not named stay."""

    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drop: Sequence[str] = ()
    ignore: Sequence[str] = ()
    classes: Sequence[str] | None = None

    def apply(self, labels: LabelSet) -> tuple[LabelSet, npt.NDArray[np.uint8]]:
        """The classes that result, and a (256,) uint8 look-up table from old ids to new ones, 255 for ignored.

        Raises `UnknownNameError` for a class that `labels` lacks, `UsageError` for one named twice and for a
        `classes` that leaves a class out.
        """
        targets = self._targets(labels)
        colours = _colours(labels, targets, self.merge)
        names = list(dict.fromkeys(target for target in targets.values() if target is not None))
        if self.classes is not None:
            names = self._ordered(names)
        result = LabelSet(tuple(names), tuple(colours[name] for name in names))
        table = np.full(256, IGNORE_INDEX, np.uint8)
        for class_id, name in enumerate(labels.names):
            target = targets[name]
            if target is not None:
                table[class_id] = names.index(target)
        return result, table

    def _targets(self, labels: LabelSet) -> dict[str, str | None]:
        """Old name → new name, None for ignored."""
        targets: dict[str, str | None] = {name: name for name in labels.names}
        named: set[str] = set()
        rules = [(target, sources) for target, sources in self.merge.items()]
        rules += [(BACKGROUND, self.drop)]
        for target, sources in [*rules, (None, self.ignore)]:
            for source in sources:
                if source not in targets:
                    raise UnknownNameError("class in the data set (named by label_map)", source, labels.names)
                if source in named:
                    raise UsageError(f"label_map names the class '{source}' twice; once is right")
                named.add(source)
                targets[source] = target
        return targets

    def _ordered(self, names: list[str]) -> list[str]:
        wanted = list(self.classes or ())
        missing = [name for name in names if name not in wanted]
        unknown = [name for name in wanted if name not in names]
        if missing or unknown or len(set(wanted)) != len(wanted):
            wrong = f"lacks '{missing[0]}'" if missing else f"has '{unknown[0]}'" if unknown else "repeats a class"
            raise UsageError(f"label_map's 'classes' {wrong}; the classes that are left are {', '.join(names)}")
        return wanted


def _colours(
    labels: LabelSet, targets: Mapping[str, str | None], merge: Mapping[str, Sequence[str]]
) -> dict[str, Colour]:
    """A new class has the colour of the old one of its name, else of the first that it merges; background is black."""
    colours: dict[str, Colour] = {BACKGROUND: (0, 0, 0)}
    old = dict(zip(labels.names, labels.palette, strict=True))
    for name, target in targets.items():
        if target is not None and target != BACKGROUND:
            colours.setdefault(target, old[merge[target][0]] if target in merge else old[name])
    return colours | {name: old[name] for name, target in targets.items() if name == target}
