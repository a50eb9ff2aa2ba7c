"""Reading a recipe: packaged or from a file, with --set overrides, its mistakes named. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from fleetseg.errors import RecipeError, UnknownNameError
from fleetseg.training.network_options import has_encoder
from fleetseg.training.recipe import Recipe


def packaged_recipes() -> tuple[str, ...]:
    """Names of the recipes inside the package."""
    folder = resources.files("fleetseg") / "recipes"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


def load_recipe(
    name_or_path: str,
    overrides: Sequence[str] = (),
    *,
    network: str | None = None,
    init: str | None = None,
    teachers: Sequence[str] = (),
) -> Recipe:
    """A packaged recipe by name or a YAML file by path, with `key=value` overrides applied.

    Keys are dotted; a stage is named by its name or number: ``stages.fine.epochs=20``,
    ``stages.0.batch_size=4``. Before them `network` replaces the recipe's, with its own default options. After them
    `init` replaces the recipe's own, `teachers` those of every stage with a distillation section or, where there is
    none, of every stage that trains the whole network.
    Raises `RecipeError` naming the key and what is legal there.
    """
    text, source = _read(name_or_path)
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not valid YAML: {_one_line(error)}") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{source}: a recipe is a mapping with the keys {', '.join(Recipe.model_fields)}")
    if network is not None:
        _put_network(tree, network)
    for override in overrides:
        _apply(tree, override)
    if init is not None:
        tree["init"] = init
    if teachers:
        _set_teachers(tree, teachers)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{source}: {describe(error)}") from error


def _read(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"{path}: no such recipe file")
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: the recipe cannot be read ({_one_line(error)})") from error
    if (path / "recipe.yaml").is_file():
        raise RecipeError(f"{path}: is the folder of a run; its recipe is {path / 'recipe.yaml'}")
    if name_or_path not in packaged_recipes():
        raise UnknownNameError("recipe", name_or_path, packaged_recipes())
    resource = resources.files("fleetseg") / "recipes" / f"{name_or_path}.yaml"
    return resource.read_text(encoding="utf-8"), f"recipe {name_or_path}"


def _put_network(tree: dict[str, Any], name: str) -> None:
    """Another network in the recipe's place, and no stage of an encoder that it does not have."""
    section = tree.get("network")
    if not isinstance(section, dict) or section.get("name") != name:
        tree["network"] = {"name": name}
    stages = tree.get("stages")
    if isinstance(stages, list) and not has_encoder(name):
        tree["stages"] = [s for s in stages if not (isinstance(s, dict) and s.get("part") == "encoder")]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {override}: write key=value, for example stages.0.epochs=3")
    place: Any = tree
    for part in parts[:-1]:
        place = _descend(place, part, key)
    parsed = _value(value, override)
    last = parts[-1]
    if isinstance(place, list):
        place[_index(place, last, key)] = parsed
    elif isinstance(place, dict):
        place[last] = parsed
    else:
        raise RecipeError(f"--set {override}: '{last}' has no place below a plain value")


def _set_teachers(tree: dict[str, Any], teachers: Sequence[str]) -> None:
    """Leaves a tree alone that is no recipe: validation says why."""
    chosen = teachers[0] if len(teachers) == 1 else list(teachers)
    stages = tree.get("stages")
    sections = [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    taught = [stage for stage in sections if isinstance(stage.get("distillation"), dict)]
    for stage in taught or [stage for stage in sections if stage.get("part", "network") == "network"]:
        stage["distillation"] = {**(stage.get("distillation") or {}), "teacher": chosen}


def _value(text: str, override: str) -> Any:
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not valid YAML") from error
    # YAML 1.1 reads 2e-3 as a string; people mean a number.
    if isinstance(parsed, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", parsed):
        return float(parsed)
    # It reads 1:5 as 65, minutes and seconds; people mean the range of fleetseg tune.
    return text if isinstance(parsed, int | float) and ":" in text else parsed


def _descend(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, key)]
    if isinstance(place, dict):
        if place.get(part) is None:  # a complete recipe says null where a section is off
            place[part] = {}
        return place[part]
    raise RecipeError(f"--set {key}: '{part}' has no place below a plain value")


def _index(items: list[Any], part: str, key: str) -> int:
    """Position of the item called `part` (a stage) or numbered so."""
    stages = ((place, item) for place, item in enumerate(items) if isinstance(item, dict))
    names = {str(item["name"]): place for place, item in stages if "name" in item}
    if part in names:
        return names[part]
    if part.isascii() and part.isdigit() and int(part) < len(items):
        return int(part)
    legal = "".join(f"{name}, " for name in names)
    what = "stage" if key.startswith("stages.") else "item"
    raise RecipeError(f"--set {key}: there is no {what} '{part}'; legal: {legal}0 to {len(items) - 1}")


def describe(error: ValidationError) -> str:
    """One sentence for the first problem pydantic found: the key, the value and what is legal."""
    errors = error.errors()
    first = errors[0]
    location = _known(first["loc"])
    key = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'; legal here: {', '.join(_section(location[:-1]).model_fields)}"
    if first["type"] == "missing" and isinstance(location[-1], str):
        return f"the key '{key}' is missing"
    if first["type"] == "model_type":
        return f"{key}: a mapping is needed, with keys out of {', '.join(_section(location).model_fields)}"
    # Where a value may be of several kinds, each of them complains.
    messages = dict.fromkeys(_message(one) for one in errors if _known(one["loc"]) == location)
    message = ", or: ".join(messages)
    given = first.get("input")
    known = isinstance(given, dict | list | BaseModel) or (isinstance(given, str) and given in message)
    shown = "" if known else f" (it is {given!r})"
    return f"{key}: {message}{shown}" if key else message


def _message(error: Any) -> str:
    """What pydantic says, in the words of YAML."""
    context = error.get("ctx", {})
    words = {
        "tuple_type": "a list in brackets is needed",
        "missing": "a value is missing there",
        "too_short": f"a list of at least {context.get('min_length')} item is needed",
        "too_long": f"a list of at most {context.get('max_length')} items is needed",
    }
    return str(words.get(error["type"], error["msg"].removeprefix("Value error, ")))


def _known(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """`location` without what pydantic adds where a value may be of several kinds."""
    model: type[BaseModel] | None = Recipe
    for place, part in enumerate(location):
        if isinstance(part, int):
            continue
        if model is None:
            return location[:place]
        if part in model.model_fields:
            model = _inside(model, part)
    return location


def _section(location: tuple[int | str, ...]) -> type[BaseModel]:
    """The part of the schema at `location`."""
    model: type[BaseModel] = Recipe
    for part in location:
        if isinstance(part, str):
            model = _inside(model, part) or model
    return model


def _inside(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The section that stands at a key, alone or in a list; None if a value stands there."""
    annotation = model.model_fields[key].annotation
    kinds = (annotation, *getattr(annotation, "__args__", ()))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
