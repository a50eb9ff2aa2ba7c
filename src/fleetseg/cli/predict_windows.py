"""``fleetseg predict`` on images too large to be seen whole: windows slide over them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.console import complain, share_bar, track
from fleetseg.cli.evaluation_views import parse_views
from fleetseg.cli.input_images import InputImage
from fleetseg.cli.options import parse_size
from fleetseg.errors import UsageError

if TYPE_CHECKING:
    from fleetseg.app.huge.plan import Plan, WindowOptions
    from fleetseg.app.huge.run import Labelled
    from fleetseg.runtime import Model

#: Images of more pixels, and slides, are seen in windows, whether asked for or not; unless --size says how they are
#: to be seen whole. No camera of today reaches it.
MOST_PIXELS = 150_000_000

#: As long as no other is given; for evaluation it is more, since time matters less there.
OVERLAP = 0.25

WindowsOption = Annotated[
    bool,
    typer.Option(
        "--windows",
        help=f"Slide windows over the image at its own scale and write labels as TIFF, areas and outlines; what is "
        f"done anyway with slides and images above {MOST_PIXELS // 10**6} million pixels (docs/huge-images.md).",
    ),
]
DownsampleOption = Annotated[
    float,
    typer.Option(
        "--downsample",
        min=1.0,
        max=64.0,
        metavar="D",
        help="Windows: let D×D pixels of the image be one that the network sees.",
    ),
]
BackgroundOption = Annotated[
    bool,
    typer.Option("--skip-background", help="Windows: leave out the glass of a slide, what has no colour."),
]
WindowBatchOption = Annotated[
    int,
    typer.Option(
        "--window-batch", min=1, max=256, metavar="N", help="Windows: how many the network sees at once; for GPUs."
    ),
]


@dataclass(frozen=True)
class Sliding:
    """Which images are seen in windows, and how."""

    #: None: by their size.
    forced: bool | None
    options: WindowOptions

    def takes(self, path: Path) -> bool:
        """Whether an image is seen in windows."""
        if self.forced is not None:
            return self.forced
        from fleetseg.app.huge.sources import needs_windows

        return needs_windows(path, MOST_PIXELS)

    def label(self, model: Model, image: InputImage, overlay: bool) -> tuple[Labelled, dict[str, Path]]:
        """Label it; returns what was done and the files by their key in --json."""
        from fleetseg.app.huge.run import Outputs, Told, label_image

        outputs = Outputs(
            image.result("_labels.tif"),
            image.result("_areas.json"),
            image.result("_outlines.geojson"),
            image.result("_overlay.png") if overlay else None,
        )

        def planned(plan: Plan) -> None:
            if self.forced is None:
                complain(f"{image.path}: {_unasked(plan)}")

        def resuming(share: float) -> None:
            complain(f"{image.path}: going on where an earlier run stopped, at {100 * share:.0f} %")

        name = image.path.name
        told = Told(
            copying=lambda: share_bar(f"{name}: copying"),
            planned=planned,
            resuming=resuming,
            writing=lambda steps: track(steps, f"{name}: writing"),
        )
        done = label_image(model, image.path, outputs, self.options, lambda steps: track(steps, name), told)
        return done, outputs.by_key()


def _unasked(plan: Plan) -> str:
    """The rest of a sentence about windows that nobody asked for."""
    (width, height), columns, rows = plan.image_size, plan.grid.columns, plan.grid.rows
    return (
        f"is {width}×{height} pixels large, so {len(plan.grid):,} windows of {columns.window}×{rows.window} slide over "
        f"it; --downsample D makes them fewer, --size WxH shows the network all of it at once, made smaller"
    )


def sliding(
    asked: bool,
    window: str | None,
    overlap: float,
    scales: str | None,
    flip: bool,
    downsample: float,
    skip_background: bool,
    window_batch: int,
    whole: str | None,
) -> Sliding:
    """From the options; any that is about windows asks for them.

    `whole` is an option by which images are seen whole, if one was given: `UsageError` if windows are asked for too.
    """
    from fleetseg.app.huge.plan import WindowOptions

    options = WindowOptions(
        parse_size(window, "--window") if window else None,
        overlap,
        downsample,
        parse_views(scales, flip, None, overlap),
        skip_background,
        window_batch,
    )
    by_default = WindowOptions(overlap=OVERLAP, views=parse_views(None, False, None, overlap))
    if asked or options != by_default:
        if whole is not None:
            raise UsageError(f"{whole}: goes with images that are seen whole, not with windows")
        return Sliding(True, options)
    return Sliding(None if whole is None else False, options)
