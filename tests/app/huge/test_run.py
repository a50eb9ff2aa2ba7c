"""Labels, areas and outlines of whole images: what is written, what is left after kills and failures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from shapely.geometry import shape
from tests.app.huge.conftest import clouds

from fleetseg.app.huge import sources
from fleetseg.app.huge.plan import TILE, WindowOptions
from fleetseg.app.huge.run import Outputs, Told, Writing, label_image
from fleetseg.errors import ImageError, OutputError, UsageError
from fleetseg.image import read_image, write_png
from fleetseg.runtime import Model
from fleetseg.runtime.test_time import Views

MakeOutputs = Callable[..., Outputs]


@pytest.fixture
def cloudy(tmp_path: Path) -> tuple[Path, np.ndarray]:
    picture = clouds(1300, 1100, grain=40)
    write_png(tmp_path / "a.png", picture)
    return tmp_path / "a.png", picture


def test_labels_are_a_pyramid_that_other_programs_open(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    path, picture = cloudy
    expected = picture.argmax(axis=2)
    label_image(colours, path, outputs(), WindowOptions(window=(256, 256)))
    with tifffile.TiffFile(outputs().labels) as file:
        (series,) = file.series
        assert [level.shape for level in series.levels] == [(1100, 1300), (550, 650), (275, 325)]
        for number, level in enumerate(series.levels):
            np.testing.assert_array_equal(level.asarray(), expected[:: 2**number, :: 2**number])
            assert level.keyframe.is_tiled and level.keyframe.tile == (TILE, TILE)
        about = json.loads(file.pages[0].description)
        assert about["classes"] == ["red", "green", "blue"] and about["unlabelled"] == 255
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(str(outputs().labels)) as slide:
        assert slide.level_dimensions == ((1300, 1100), (650, 550), (325, 275))
        seen = np.asarray(slide.read_region((600, 400), 0, (200, 100)))[..., :3]
    palette = np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200)])
    np.testing.assert_array_equal(seen, palette[expected[400:500, 600:800]])
    np.testing.assert_array_equal(read_image(outputs().labels), palette[expected])


def test_a_caller_hears_of_everything_that_takes_its_time(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, float]] = []

    @contextmanager
    def copying() -> Iterator[Callable[[float], None]]:
        heard.append(("copying", 0))
        yield lambda _share: None

    def writing(steps: Sequence[Writing]) -> Sequence[Writing]:
        heard.append(("writing", len(steps)))
        return steps

    monkeypatch.setattr(sources, "WHOLE_PIXELS", 0)
    told = Told(copying, lambda plan: heard.append(("planned", len(plan.grid))), writing=writing)
    label_image(colours, cloudy[0], outputs(overlay=True), WindowOptions(window=(1000, 1000)), told=told)
    # The levels of the labels, and every file.
    assert heard == [("copying", 0), ("planned", 4), ("writing", 5)]


def test_areas_and_outlines_agree_with_the_labels(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    path, picture = cloudy
    label_image(colours, path, outputs(overlay=True), WindowOptions())
    counts = np.bincount(picture.argmax(axis=2).ravel(), minlength=3)
    areas = json.loads(outputs().areas.read_text())
    assert [entry["pixels"] for entry in areas["classes"]] == counts.tolist()
    assert [entry["share"] for entry in areas["classes"]] == pytest.approx((counts / counts.sum()).tolist(), abs=1e-6)
    assert (areas["width"], areas["height"], areas["unlabelled_pixels"]) == (1300, 1100, 0)
    assert "microns_a_pixel" not in areas
    features = json.loads(outputs().outlines.read_text())["features"]
    shapes = {feature["properties"]["name"]: shape(feature["geometry"]) for feature in features}
    assert all(geometry.is_valid for geometry in shapes.values())
    assert [shapes[name].area for name in ("red", "green", "blue")] == counts.tolist()
    overview = read_image(outputs(overlay=True).overlay)
    assert overview.shape[1] == 1300 and overview.shape[0] > 1100
    assert sorted(found.name for found in outputs().labels.parent.iterdir()) == [
        "a_areas.json", "a_labels.tif", "a_outlines.geojson", "a_overlay.png",
    ]  # fmt: skip


def test_outlines_of_downsampled_labels_lie_in_the_images_pixels(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    path, _ = cloudy
    label_image(colours, path, outputs(), WindowOptions(downsample=3.0))
    features = json.loads(outputs().outlines.read_text())["features"]
    assert sum(shape(feature["geometry"]).area for feature in features) == pytest.approx(1300 * 1100, rel=1e-4)
    assert json.loads(outputs().areas.read_text())["image_pixels_a_pixel"] == pytest.approx(9, rel=0.01)


#: Labels an image in a process of its own, which ends itself before a given step as by `kill -9`.
KILLED = """
import os, signal, sys
from pathlib import Path
from fleetseg.app.huge.plan import WindowOptions
from fleetseg.app.huge.run import Outputs, label_image
from fleetseg.runtime import load

def track(steps):
    for number, step in enumerate(steps):
        if number == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield step

out = Path(sys.argv[3])
outputs = Outputs(out / "a_labels.tif", out / "a_areas.json", out / "a_outlines.geojson")
label_image(load(sys.argv[1], threads=1), Path(sys.argv[2]), outputs, WindowOptions(window=(128, 96)), track)
"""


def test_a_killed_run_goes_on_to_the_same_labels(
    blurring: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    path, _ = cloudy
    options = WindowOptions(window=(128, 96))
    label_image(blurring, path, outputs("whole"), options)
    words = [sys.executable, "-c", KILLED, blurring.source, str(path), str(outputs().labels.parent), "2"]
    assert subprocess.run(words, timeout=100).returncode == -signal.SIGKILL
    assert [found.name for found in outputs().labels.parent.iterdir()] == [".a_labels.unfinished"]
    told: list[float] = []
    rows: list[int] = []

    def track(steps):
        for band, row in steps:
            rows.append(row)
            yield band, row

    label_image(blurring, path, outputs(), options, track, Told(resuming=told.append))
    assert told == [pytest.approx(2 / 3)]
    assert rows == [2], "the other two rows of tiles were there"
    for key, result in outputs().by_key().items():
        assert result.read_bytes() == outputs("whole").by_key()[key].read_bytes()
    assert not outputs().work.exists()


@pytest.mark.parametrize("change", ["image", "options", "model"])
def test_an_unfinished_run_of_another_job_is_not_taken_up(
    blurring: Model, colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs, change: str
) -> None:
    path, picture = cloudy
    _stop_after(1, blurring, path, outputs())
    if change == "image":
        write_png(path, picture[::-1])
    told: list[float] = []
    model = colours if change == "model" else blurring
    window = (128, 128) if change == "options" else (128, 96)
    label_image(model, path, outputs(), WindowOptions(window=window), told=Told(resuming=told.append))
    assert told == []


def _stop_after(steps: int, model: Model, path: Path, outputs: Outputs) -> None:
    """What Ctrl-C does."""

    def track(found):
        yield from found[:steps]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_image(model, path, outputs, WindowOptions(window=(128, 96)), track)


def test_a_damaged_store_is_begun_anew(colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs) -> None:
    path, picture = cloudy
    outputs().work.mkdir(parents=True)
    (outputs().work / "labels.sqlite").write_bytes(b"no data base at all, for longer than its header is" * 100)
    label_image(colours, path, outputs(), WindowOptions())
    np.testing.assert_array_equal(tifffile.imread(outputs().labels), picture.argmax(axis=2))


def test_a_second_run_on_the_same_image_is_refused(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    path, _ = cloudy

    def track(steps):
        code = KILLED.replace("window=(128, 96)", "window=None")
        words = [sys.executable, "-c", code, colours.source, str(path), str(outputs().labels.parent), "9"]
        second = subprocess.run(words, capture_output=True, text=True, timeout=100)
        assert "OutputError" in second.stderr and "another fleetseg works on this image already" in second.stderr
        yield from steps

    label_image(colours, path, outputs(), WindowOptions(), track)
    assert outputs().labels.exists()


#: As `KILLED`, under a limit for the size of files: the kernel refuses the write as it does on a full disk.
LIMITED = """
import resource, sys
from fleetseg.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("limit", [150_000, 5_000_000])
def test_a_full_disk_is_one_sentence_and_what_is_finished_is_kept(
    colours: Model, tmp_path: Path, outputs: MakeOutputs, limit: int
) -> None:
    """The smaller limit stops the tiles, the larger one the files that are made of them."""
    picture = np.random.default_rng(3).integers(0, 256, (1600, 600, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", picture)
    call = ["predict", colours.source, str(tmp_path / "a.png"), "--out", str(outputs().labels.parent), "--windows"]
    call += ["--window", "256x256", "--threads", "1"]
    failed = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *call], capture_output=True, text=True, timeout=100
    )
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1 and "cannot be written (" in failed.stderr
    assert [found.name for found in outputs().labels.parent.iterdir()] == [".a_labels.unfinished"]
    told: list[float] = []
    options = WindowOptions(window=(256, 256), views=Views(overlap=0.25))
    label_image(colours, tmp_path / "a.png", outputs(), options, told=Told(resuming=told.append))
    np.testing.assert_array_equal(tifffile.imread(outputs().labels), picture.argmax(axis=2))
    (share,) = told
    assert share == 1 if limit > 1_000_000 else 0 < share < 1


def test_memory_that_runs_out_keeps_what_is_finished(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, picture = cloudy

    def track(steps):
        yield steps[0]
        monkeypatch.setattr("fleetseg.runtime.model.available_memory", lambda: 0)
        yield from steps[1:]

    with pytest.raises(MemoryError, match="a window of 64×48 is 3,072 pixels, but the free memory"):
        label_image(colours, path, outputs(), WindowOptions(), track)
    monkeypatch.undo()
    told: list[float] = []
    label_image(colours, path, outputs(), WindowOptions(), told=Told(resuming=told.append))
    assert len(told) == 1
    np.testing.assert_array_equal(tifffile.imread(outputs().labels), picture.argmax(axis=2))


def test_what_a_network_cannot_see_is_told_at_once(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    network = colours.metadata.network.model_copy(update={"in_channels": 4})
    colours.metadata = colours.metadata.model_copy(update={"network": network})
    with pytest.raises(UsageError, match="sees 4 channels; windows of images have 3"):
        label_image(colours, cloudy[0], outputs(), WindowOptions())
    assert not outputs().labels.parent.exists()


def test_a_folder_that_nothing_can_be_written_to(colours: Model, cloudy: tuple[Path, np.ndarray]) -> None:
    folder = Path("/proc/fleetseg")
    outputs = Outputs(folder / "a_labels.tif", folder / "a_areas.json", folder / "a_outlines.geojson")
    with pytest.raises(OutputError, match=r"^/proc/fleetseg: cannot be written to"):
        label_image(colours, cloudy[0], outputs, WindowOptions())


def test_a_broken_image_leaves_nothing(colours: Model, tmp_path: Path, outputs: MakeOutputs) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, clouds(1300, 1100), tile=(256, 256), photometric="rgb", compression="deflate")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"^{path}: "):
        label_image(colours, path, outputs(), WindowOptions(window=(128, 96)))
    assert list(outputs().labels.parent.iterdir()) == []
