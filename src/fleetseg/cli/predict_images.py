"""``fleetseg predict`` on image files: masks, overlays, a table of shares."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fleetseg.atomic import check_writable
from fleetseg.cli.console import complain, track
from fleetseg.cli.input_images import InputImage, find_images
from fleetseg.cli.network_sight import Size, SizeRule, training_like
from fleetseg.cli.options import print_json
from fleetseg.errors import ImageError, ImageTooLargeError

if TYPE_CHECKING:
    from fleetseg.cli.predict_windows import Sliding
    from fleetseg.runtime import Model


#: An image that has so many times the pixels that the network sees of it is too large to be seen as it is.
_LARGE = 256


def predict_images(
    inputs: Sequence[str],
    out: Path,
    load: Callable[[], Model],
    choose_size: SizeRule,
    overlay: bool,
    confidence: bool,
    sliding: Sliding,
    threads: int | None,
    as_json: bool,
) -> None:
    """Find the images, label each, print what came of them; exit status 1 if any failed."""
    images = find_images(inputs, out)
    network = load()
    _limit_opencv(threads)
    check_writable(out)
    results, failed = _segment_all(network, images, choose_size, overlay, confidence, sliding)
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


def _segment_all(
    model: Model, images: list[InputImage], choose_size: SizeRule, overlay: bool, confidence: bool, sliding: Sliding
) -> tuple[list[Result], int]:
    """Results in the images' order and the number of those that failed, each of which is named on stderr."""
    huge = [image for image in images if sliding.takes(image.path)]
    whole = [image for image in images if image not in huge] if huge else images
    results = _each(track(whole, "Segmenting"), lambda image: _segment(model, image, choose_size, overlay, confidence))
    if choose_size is training_like:
        scaled = next((result for result in results if result.network_size != result.size), None)
        if scaled is not None:
            complain(_size_note(model, scaled))
    # One after another, each with a progress bar of its own.
    results += _each(huge, lambda image: _slide(model, image, overlay, sliding))
    order = {image: place for place, image in enumerate(images)}
    return sorted(results, key=lambda result: order[result.image]), len(images) - len(results)


def _each(images: Iterable[InputImage], segment: Callable[[InputImage], Result]) -> list[Result]:
    """The results of those images that could be segmented; the others are named."""
    results = []
    for image in images:
        try:
            results.append(segment(image))
        except ImageTooLargeError as error:
            complain(f"{error}, or let windows slide over it: --windows")
        except (ImageError, MemoryError) as error:
            complain(str(error) or f"{image.path}: needs more memory than is free")
    return results


def _slide(model: Model, image: InputImage, overlay: bool, sliding: Sliding) -> Result:
    started = time.perf_counter()
    done, files = sliding.label(model, image, overlay)
    latency_ms = 1000 * (time.perf_counter() - started)
    return Result(image, done.image_size, done.window, done.areas.shares, latency_ms, files)


def _size_note(model: Model, result: Result) -> str:
    (width, height), (seen_width, seen_height) = result.size, result.network_size
    train_width, train_height = model.metadata.train_size or (0, 0)
    is_large = width * height >= _LARGE * seen_width * seen_height
    return (
        f"the network sees images scaled to about the {train_width}×{train_height} pixels it was trained on "
        f"({width}×{height} to {seen_width}×{seen_height}); "
        + ("--windows keeps their own scale, part by part" if is_large else "--size native keeps their own size")
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
    print(f"{counted}, {'median ' if several else ''}{_time(latency)} on {model.engine}; results in {out}")


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f} s"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
