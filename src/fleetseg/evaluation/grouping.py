"""Classes merged into groups, by name: Cityscapes' categories, one data set's classes in another's, one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fleetseg.errors import DataError, UnknownNameError, UsageError
from fleetseg.evaluation.built_in_groupings import BUILT_IN
from fleetseg.labels import Colour

_SUFFIXES = (".yaml", ".yml")

_EXPECTED = "groups with lists of class names are expected, like 'flat: [road, sidewalk]', and perhaps 'ignored: [sky]'"

#: In a file: the classes that belong to no group.
_IGNORED = "ignored"


@dataclass(frozen=True)
class Grouping:
    """Groups in order with the names of their classes, which may be those of several data sets.

    Names are compared without regard to upper and lower case.
    """

    name: str
    groups: Mapping[str, tuple[str, ...]]
    #: Classes that no group can hold; they are not counted.
    ignored: frozenset[str] = frozenset()
    palette: tuple[Colour, ...] | None = None
    _group_of: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for group, names in self.groups.items():
            for name in names:
                other = self._group_of.setdefault(name.lower(), group)
                if other != group:
                    raise UsageError(f"{self.name}: the class '{name}' is in '{other}' and in '{group}'; one is needed")
        object.__setattr__(self, "ignored", frozenset(name.lower() for name in self.ignored))
        both = sorted(self.ignored & set(self._group_of))
        if both:
            raise UsageError(f"{self.name}: the class '{both[0]}' is in '{self._group_of[both[0]]}' and ignored")

    def knows(self, name: str) -> bool:
        """Whether it says what becomes of a class."""
        return name.lower() in self._group_of or name.lower() in self.ignored

    def group_of(self, name: str) -> str | None:
        """The class's group; None if it is ignored or unknown."""
        return self._group_of.get(name.lower())


def read_grouping(name_or_path: str) -> Grouping:
    """A built-in grouping by its name, or a YAML file's; `UnknownNameError` and `DataError` say what is wrong."""
    if Path(name_or_path).suffix.lower() in _SUFFIXES:
        return _from_file(Path(name_or_path))
    if name_or_path not in BUILT_IN:
        raise UnknownNameError("grouping of classes (or file *.yaml)", name_or_path, BUILT_IN)
    groups, ignored, palette = BUILT_IN[name_or_path]()
    return Grouping(name_or_path, groups, ignored, palette)


def _from_file(path: Path) -> Grouping:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file; {_EXPECTED}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: it cannot be read as YAML ({' '.join(str(error).split())}); {_EXPECTED}") from error
    if not isinstance(content, dict) or not set(content) - {_IGNORED}:
        raise DataError(f"{path}: it names no groups; {_EXPECTED}")
    for group, names in content.items():
        if not isinstance(group, str) or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise DataError(f"{path}: '{group}' is no list of class names; {_EXPECTED}")
    ignored = frozenset(content.pop(_IGNORED, []))
    return Grouping(str(path), {group: tuple(names) for group, names in content.items()}, ignored)
