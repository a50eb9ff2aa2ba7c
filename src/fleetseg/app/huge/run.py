"""Label an image of any size: windows, tiles, files; a run that was killed goes on."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fleetseg.app.huge.background import tissue_mask
from fleetseg.app.huge.grid import Band, grid
from fleetseg.app.huge.label_tiff import add_levels, tiff_writer, write_label_tiff
from fleetseg.app.huge.labelling import Picture, label_band
from fleetseg.app.huge.plan import TILE, Plan, Size, WindowOptions, plan_for
from fleetseg.app.huge.results import Areas, write_areas, write_outlines, write_overlay
from fleetseg.app.huge.sight import Sight, window_size
from fleetseg.app.huge.sources import Copying, Source, in_colour, open_source, silently
from fleetseg.app.huge.tile_store import TileStore
from fleetseg.atomic import check_writable
from fleetseg.errors import ImageError, OutputError, UsageError
from fleetseg.runtime import Model

#: A row of tiles of a band.
Step = tuple[Band, int]
#: Iterates, and shows on the way how far it is.
Track = Callable[[Sequence[Step]], Iterator[Step]]

#: Grows when labels of unfinished runs would no longer fit those of new ones.
_VERSION = 1


@dataclass(frozen=True)
class Outputs:
    """Where the results of one image go; `overlay` None: none is wanted."""

    labels: Path
    areas: Path
    outlines: Path
    overlay: Path | None = None

    def by_key(self) -> dict[str, Path]:
        """Paths by what they are."""
        return {key: path for key, path in vars(self).items() if path is not None}

    @property
    def work(self) -> Path:
        """The folder of an unfinished run, which the next one takes up."""
        return self.labels.with_name(f".{self.labels.stem}.unfinished")


@dataclass(frozen=True)
class Labelled:
    """What was done."""

    image_size: Size
    plan: Plan
    areas: Areas

    @property
    def window(self) -> Size:
        """(width, height) of the windows."""
        return self.plan.grid.columns.window, self.plan.grid.rows.window


#: One of the steps at the end, in which files are written.
Writing = Callable[[], None]


@dataclass(frozen=True)
class Told:
    """What a caller may want to hear of on the way."""

    #: A copy is made of an image that cannot be read in place.
    copying: Copying = silently
    #: It is known how many windows there are.
    planned: Callable[[Plan], None] = lambda _plan: None
    #: An earlier run of the same job is taken up, which had finished such a share.
    resuming: Callable[[float], None] = lambda _share: None
    #: Iterates over the steps in which files are written at the end.
    writing: Callable[[Sequence[Writing]], Iterable[Writing]] = iter


def label_image(
    model: Model, path: Path, outputs: Outputs, options: WindowOptions, track: Track = iter, told: Told | None = None
) -> Labelled:
    """Slide windows over the image `path` and write its labels, areas and outlines, all or none.

    Raises `ImageError` for an image that cannot be read, `UsageError` for windows that the network cannot see,
    `OutputError` where nothing can be written and `MemoryError` for windows that the free memory does not allow, what
    is finished being kept for the next run, and `MissingExtraError` without the packages that read or write the files.
    """
    told = told or Told()
    window = window_size(model, options.window)
    sight = Sight(model, options)
    # Before hours of work rather than after them.
    grid((1, 1), window, options.overlap)
    tiff_writer(outputs.labels)
    check_writable(outputs.labels.parent)
    try:
        source = open_source(path, outputs.work, told.copying)
        wanted = tissue_mask(source) if options.skip_background else None
        if wanted is not None and not wanted.any():
            raise ImageError(f"{path}: no tissue was found; leave --skip-background out")
        plan = plan_for(source.sizes[0], len(model.classes), window, options, wanted)
        told.planned(plan)
        store = TileStore(outputs.work / "labels.sqlite", _job(model, path, options, plan))
        try:
            _label(plan, store, source, sight, options.window_batch, track, told.resuming)
            areas = Areas.of(plan, source, model.labels, store.counts())
            _write(model, path, outputs, plan, store, source, areas, told)
        finally:
            store.close()
    except (ImageError, UsageError):
        # Nothing that would be better next time.
        shutil.rmtree(outputs.work, ignore_errors=True)
        raise
    shutil.rmtree(outputs.work, ignore_errors=True)
    return Labelled(source.sizes[0], plan, areas)


def _label(
    plan: Plan,
    store: TileStore,
    source: Source,
    sight: Sight,
    window_batch: int,
    track: Track,
    resuming: Callable[[float], None],
) -> None:
    """Fill the store."""

    def read(left: int, top: int, size: Size) -> Picture:
        place = round(left * plan.downsample), round(top * plan.downsample)
        return in_colour(source.region(*place, size, plan.downsample))

    finished = store.finished()
    steps = [(band, row) for band in plan.bands for row in range(plan.tile_rows)]
    left = [(band, row) for band, row in steps if (band.number, row) not in finished]
    if finished:
        resuming(1 - len(left) / len(steps))
    rows: Iterator[Picture] = iter(())
    current = -1
    for band, row in track(left):
        if band.number != current:
            # What is finished of a band is its upper part.
            rows, current = label_band(plan, band, row, window_batch, read, sight), band.number
        store.add(band.number, row, band.left // TILE, next(rows))


def _write(
    model: Model, path: Path, outputs: Outputs, plan: Plan, store: TileStore, source: Source, areas: Areas, told: Told
) -> None:
    """Write every file beside the store, then move them all to their places."""
    about = {
        "image": str(path),
        "width": plan.image_size[0],
        "height": plan.image_size[1],
        "label_width": plan.size[0],
        "label_height": plan.size[1],
        "model": model.metadata.name,
        "windows": len(plan.grid),
        "window": [plan.grid.columns.window, plan.grid.rows.window],
        "overlap": [plan.grid.columns.overlap, plan.grid.rows.overlap],
    }
    made = {key: outputs.work / target.name for key, target in outputs.by_key().items()}
    description = {**about, "classes": list(model.classes), "unlabelled": 255}
    writings: list[Writing] = [
        partial(add_levels, store, plan.size),
        partial(write_label_tiff, made["labels"], store, plan.size, model.labels, description),
        partial(write_areas, made["areas"], about, areas),
        partial(write_outlines, made["outlines"], store, plan, model.labels),
    ]
    if "overlay" in made:
        writings.append(partial(write_overlay, made["overlay"], store, plan, source, areas))
    for write in told.writing(writings):
        write()
    for key, target in outputs.by_key().items():
        try:
            os.replace(made[key], target)  # noqa: PTH105 - as in `atomic`
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error


def _job(model: Model, path: Path, options: WindowOptions, plan: Plan) -> dict[str, Any]:
    """All that labels depend on."""
    found = path.stat()
    return {
        "version": _VERSION,
        "image": [str(path.resolve()), found.st_size, found.st_mtime_ns],
        "model": [model.source, model.engine, hashlib.sha256(model.metadata.to_json().encode()).hexdigest()],
        "weights": _files(Path(model.source)),
        "options": asdict(options),
        "grid": [plan.grid.columns.window, plan.grid.rows.window, plan.bands[0].right],
    }


def _files(source: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a model's files; empty for a packaged one."""
    paths = sorted(source.iterdir()) if source.is_dir() else [source] if source.is_file() else []
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
