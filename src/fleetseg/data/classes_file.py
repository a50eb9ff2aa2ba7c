"""Reading ``classes.yaml``, which says what the numbers in a folder's labels mean.

names: [road, pavement, car]      # in id order: 0, 1, 2
palette:                          # optional: one RGB colour a class; RGB labels in these colours are read
  - [128, 64, 128]
  - [60, 40, 222]
  - [64, 0, 128]
ignore_index: 255                 # optional: the value of unlabelled pixels in the files
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fleetseg.data.label_values import Classes
from fleetseg.errors import DataError, UsageError
from fleetseg.labels import IGNORE_INDEX, Colour, label_set

CLASSES_FILE = "classes.yaml"

_KEYS = ("names", "palette", "ignore_index")

#: Ids are 8-bit and 255 stands for unlabelled in memory.
_MAX_CLASSES = 255


def read_classes_file(root: Path) -> Classes:
    """Read `root`/classes.yaml.

    Raises `UsageError` if it is missing, and `DataError` naming the file, the key and what would be right if
    it is not as described above.
    """
    path = root / CLASSES_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"{path} is missing; it should list the class names in id order, like 'names: [road, car]'"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: it cannot be read as text ({error})") from error
    content = _parse(path, text)
    names = _names(path, content)
    palette = _palette(path, content, len(names))
    return Classes(label_set(names, palette), _ignore_index(path, content, names), palette is not None)


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise DataError(f"{path}: it is not valid YAML ({where})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: it should hold 'names: [...]', the class names in the order of their ids")
    for key in content:
        if key not in _KEYS:
            raise DataError(f"{path}: '{key}' is no key of this file; its keys are {', '.join(_KEYS)}")
    return content


def _names(path: Path, content: dict[str, Any]) -> list[str]:
    names = content.get("names")
    if not isinstance(names, list) or not 1 <= len(names) <= _MAX_CLASSES:
        raise DataError(f"{path}: 'names' should be a list of 1 to {_MAX_CLASSES} class names in id order")
    for class_id, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{path}: the name of class {class_id} is {name!r}; a text, in quotes, is right")
        if name in names[:class_id]:
            raise DataError(f"{path}: classes {names.index(name)} and {class_id} are both called '{name}'")
    return names


def _palette(path: Path, content: dict[str, Any], count: int) -> list[Colour] | None:
    palette = content.get("palette")
    if palette is None:
        return None
    if not isinstance(palette, list) or len(palette) != count:
        found = f"{len(palette)} entries" if isinstance(palette, list) else repr(palette)
        raise DataError(f"{path}: 'palette' should be {count} colours, one a class, and is {found}")
    return [_colour(path, class_id, colour) for class_id, colour in enumerate(palette)]


def _colour(path: Path, class_id: int, colour: object) -> Colour:
    if isinstance(colour, list) and len(colour) == 3 and all(_is_byte(level) for level in colour):
        return (colour[0], colour[1], colour[2])
    raise DataError(f"{path}: the colour of class {class_id} is {colour!r}; three values 0 to 255 are right")


def _ignore_index(path: Path, content: dict[str, Any], names: list[str]) -> int:
    value = content.get("ignore_index", IGNORE_INDEX)
    if not _is_byte(value):
        raise DataError(f"{path}: 'ignore_index' is {value!r}; a number, {len(names)} to 255, is right")
    if value < len(names):
        raise DataError(
            f"{path}: 'ignore_index' is {value}, the id of '{names[value]}'; a value that no class has, "
            f"{len(names)} to 255, is right"
        )
    return int(value)


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
