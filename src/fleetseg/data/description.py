"""A data set described in one YAML file, for whatever its folder does not say: ``--data mine.yaml``.

format: labelme          # optional where the layout is found out; see `opening.FORMATS`
root: ../photos          # the data folder, from this file on; its own folder without it
images: pictures/{split} # annotation formats: where images and annotations are, from root
annotations: exports/{split}.json
names: [road, car]       # annotation formats: classes in id order
unannotated: ignore      # annotation formats: what nobody outlined is ignored; default: background
splits:                  # other names for splits, also several joined
  train: trainaug+coco
division:                # dividing anew what the splits `of` hold
  of: [all]
  by: group              # or image
  group: '^(\\d+)_'       # what of a file's name is its group; without it, what the format calls one
  val: 0.2
  test: 0.1
  seed: 3                # drawn; without it the last groups by name are taken
label_map: {merge: {…}, drop: […], ignore: […]}
slides: {patch: 384, …}  # format slides alone, see `slides`
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fleetseg.data.slide_options import DEFAULT_SLIDE_OPTIONS, SlideOptions
from fleetseg.errors import DataError, UsageError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DivisionSection(_Section):
    """See `division.divide`."""

    of: tuple[str, ...] = ("all",)
    by: Literal["image", "group"] = "group"
    group: str | None = None
    val: float = Field(default=0.2, ge=0, lt=1)
    test: float = Field(default=0.0, ge=0, lt=1)
    seed: int | None = Field(default=None, ge=0)

    @field_validator("group")
    @classmethod
    def _check_group(cls, group: str | None) -> str | None:
        if group is not None:
            try:
                re.compile(group)
            except re.error as error:
                raise ValueError(f"'{group}' is no regular expression ({error})") from error
        return group

    @model_validator(mode="after")
    def _check_shares(self) -> DivisionSection:
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} and test {self.test:g} leave nothing for train")
        return self


class LabelMapSection(_Section):
    """See `label_map.LabelMap`."""

    merge: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    drop: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None


class Description(_Section):
    """The whole file."""

    format: str | None = None
    root: str = "."
    images: str | None = None
    annotations: str | None = None
    names: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=255)
    unannotated: Literal["background", "ignore"] = "background"
    splits: dict[str, str] = Field(default_factory=dict)
    division: DivisionSection | None = None
    label_map: LabelMapSection | None = None
    slides: SlideOptions = DEFAULT_SLIDE_OPTIONS

    @field_validator("images", "annotations")
    @classmethod
    def _check_place(cls, place: str | None) -> str | None:
        if place is not None and (Path(place).is_absolute() or ".." in Path(place).parts):
            raise ValueError(f"'{place}' should be a path below root")
        return place


def read_description(path: Path) -> Description:
    """The file's content; `UsageError` naming the key and what would be right, `DataError` if it is no YAML."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: it is no valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a description of a data set is a mapping with the keys {_keys(Description)}")
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{path}: {_sentence(error)}") from error


def _keys(section: type[BaseModel]) -> str:
    return ", ".join(section.model_fields)


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        sections: dict[Any, type[BaseModel]] = {
            "division": DivisionSection,
            "label_map": LabelMapSection,
            "slides": SlideOptions,
        }
        section = sections.get(first["loc"][0], Description) if len(first["loc"]) > 1 else Description
        return f"unknown key '{key}'; legal here: {_keys(section)}"
    given = first.get("input")
    shown = "" if isinstance(given, dict | list) else f" (it is {given!r})"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}{shown}"
