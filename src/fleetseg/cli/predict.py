"""``fleetseg predict``: label every pixel of image files."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.cli.console import complain, track
from fleetseg.cli.input_images import InputImage, find_images
from fleetseg.cli.options import (
    DeviceOption,
    EngineOption,
    ModelArgument,
    ThreadsOption,
    parse_size,
    print_json,
)
from fleetseg.cli.own_network import NetworkOption, check_network, use_network
from fleetseg.errors import ImageError

if TYPE_CHECKING:
    from fleetseg.runtime import Model

Size = tuple[int, int]

_HELP = """Label every pixel of images: files, folders with their sub-folders, or quoted patterns.

For photo.jpg, DIR gets photo.png, a mask of the image's own size whose values are class ids and whose palette
shows them, and on demand photo_overlay.png and photo_confidence.png. Earlier results are replaced. An image
that cannot be read is named, the others are finished, and the exit status is 1.

\b
Examples:
  fleetseg predict enet-camvid photo.jpg --out results --overlay
  fleetseg predict enet-camvid drive/ "more/*.png" --out results --json
  fleetseg predict runs/enet 4k.jpg --out results --size 960x544
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", help=_HELP, short_help="Label every pixel of images.")(predict)


def predict(
    model: ModelArgument,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Images, folders or quoted patterns.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results; made if missing.")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write the classes over the image.")] = False,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Also write how sure the network is: grey, 255 for certain.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="WxH",
            help="Size that the network sees, such as 480x360, or native for the image's own.  "
            "[default: as many pixels as the training images, in the image's proportions]",
        ),
    ] = None,
    engine: EngineOption = "own",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    own_network: NetworkOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of results for programs.")] = False,
) -> None:
    """Run the command."""
    from fleetseg.runtime import load

    choose_size = _size_rule(size)
    images = find_images(inputs, out)
    asked = use_network(own_network)
    network = load(model, engine, threads, device)
    check_network(asked, {model: network.metadata.network.name})
    _limit_opencv(threads)
    _check_writable(out)
    results, failed = _segment_all(network, images, choose_size, overlay, confidence)
    if as_json:
        print_json([result.as_json(network.classes) for result in results])
    elif results:
        _print_table(network, results, out)
    if failed:
        complain(f"{failed} of {len(images)} images could not be segmented")
        raise typer.Exit(1)


@dataclass(frozen=True)
class Result:
    """One segmented image."""

    image: InputImage
    size: Size
    network_size: Size
    #: Part of the pixels (0–1) for each class, in id order.
    shares: tuple[float, ...]
    latency_ms: float
    #: What was written, by the name of its key in --json.
    files: dict[str, Path]

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """The object that --json prints; shares are rounded to six places."""
        return {
            "input": str(self.image.path),
            **{key: str(path) for key, path in self.files.items()},
            "width": self.size[0],
            "height": self.size[1],
            "network_size": list(self.network_size),
            "shares": {name: round(share, 6) for name, share in zip(classes, self.shares, strict=True)},
            "latency_ms": round(self.latency_ms, 3),
        }


SizeRule = Callable[["Model", Size], Size]


def _size_rule(option: str | None) -> SizeRule:
    """From a model and an image's size to the size that the network sees."""
    if option is None:
        return _training_like
    if option == "native":
        return lambda _model, own: own
    chosen = parse_size(option)
    return lambda _model, _own: chosen


def _training_like(model: Model, own: Size) -> Size:
    from fleetseg.runtime.network_size import training_like_size

    if model.fixed_size is not None:
        return model.fixed_size
    return training_like_size(own, model.metadata.train_size)


def _segment_all(
    model: Model, images: list[InputImage], choose_size: SizeRule, overlay: bool, confidence: bool
) -> tuple[list[Result], int]:
    """Results and the number of images that failed, each of which is named on stderr."""
    results: list[Result] = []
    failed = 0
    told = choose_size is not _training_like
    for image in track(images, "Segmenting"):
        try:
            result = _segment(model, image, choose_size, overlay, confidence)
        except (ImageError, MemoryError) as error:
            complain(str(error) or f"{image.path}: needs more memory than is free")
            failed += 1
            continue
        results.append(result)
        if not told and result.network_size != result.size:
            told = True
            complain(_size_note(model, result))
    return results, failed


def _size_note(model: Model, result: Result) -> str:
    (width, height), (seen_width, seen_height) = result.size, result.network_size
    train_width, train_height = model.metadata.train_size or (0, 0)
    return (
        f"the network sees images scaled to about the {train_width}×{train_height} pixels it was trained on "
        f"({width}×{height} to {seen_width}×{seen_height}); --size native keeps their own size"
    )


def _segment(model: Model, image: InputImage, choose_size: SizeRule, overlay: bool, confidence: bool) -> Result:
    import numpy as np

    from fleetseg.image import overlay as blend
    from fleetseg.image import read_image, with_legend, write_mask, write_png

    picture = read_image(image.path)
    own = (picture.shape[1], picture.shape[0])
    seen = choose_size(model, own)
    certainty = None
    started = time.perf_counter()
    try:
        if confidence:
            mask, certainty = model.predict_with_confidence(picture, seen)
        else:
            mask = model.predict(picture, seen)
    except ImageError as error:
        raise ImageError(f"{image.path}: {error}") from error
    latency_ms = 1000 * (time.perf_counter() - started)

    counts = np.bincount(mask.ravel(), minlength=model.labels.num_classes)
    shares = tuple(float(count) / mask.size for count in counts)
    files = {"mask": image.result(".png")}
    write_mask(files["mask"], mask, model.labels)
    if overlay:
        files["overlay"] = image.result("_overlay.png")
        write_png(files["overlay"], with_legend(blend(picture, mask, model.labels), model.labels, shares))
    if certainty is not None:
        files["confidence"] = image.result("_confidence.png")
        write_png(files["confidence"], np.rint(255 * certainty).astype(np.uint8))
    return Result(image, own, seen, shares, latency_ms, files)


def _limit_opencv(threads: int | None) -> None:
    if threads is not None:
        import cv2

        cv2.setNumThreads(threads)


def _check_writable(out: Path) -> None:
    """Fail before the first image rather than after it."""
    from fleetseg.atomic import replacing

    probe = out / ".fleetseg-probe"
    with replacing(probe) as temporary:
        temporary.touch()
    probe.unlink()


def _print_table(model: Model, results: list[Result], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    pixels = [result.size[0] * result.size[1] for result in results]
    several = len(results) > 1
    table = Table("class", "share of pixels", *(("least", "most", "images with it") if several else ()))
    for column in table.columns[1:]:
        column.justify = "right"
    for class_id, (name, colour) in enumerate(zip(model.classes, model.palette, strict=True)):
        shares = [result.shares[class_id] for result in results]
        mean = sum(share * count for share, count in zip(shares, pixels, strict=True)) / sum(pixels)
        details = (_percent(min(shares)), _percent(max(shares)), str(sum(share > 0 for share in shares)))
        swatch = Text("■ ", style=f"rgb({colour[0]},{colour[1]},{colour[2]})").append(name, style="default")
        table.add_row(swatch, _percent(mean), *(details if several else ()))
    Console().print(table)
    latency = statistics.median(result.latency_ms for result in results)
    counted = f"{len(results)} images" if several else "1 image"
    print(f"{counted}, {'median ' if several else ''}{latency:.1f} ms on {model.engine}; results in {out}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
