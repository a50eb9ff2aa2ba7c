"""Whole slides: patches on the fly from pyramids, by tifffile and OpenSlide; tissue, overlap, balance, division."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fleetseg.data import open_dataset
from fleetseg.data.opening import layout_of
from fleetseg.data.slides import balanced_order, starts, tissue_of
from fleetseg.errors import DataError

tifffile = pytest.importorskip("tifffile")

#: Level 0, and where its tissue is: the left half.
WIDTH, HEIGHT = 512, 384


def slide_pixels(seed: int) -> np.ndarray:
    """Reddish noise on the left, white glass on the right."""
    rng = np.random.default_rng(seed)
    pixels = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    pixels[:, : WIDTH // 2] = rng.integers(60, 100, (HEIGHT, WIDTH // 2, 3))
    pixels[:, : WIDTH // 2, 0] += 120
    return pixels


def write_pyramid(path: Path, pixels: np.ndarray) -> None:
    """Three levels, tiled, as scanners' software writes generic TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        options = {"tile": (64, 64), "photometric": photometric, "compression": "deflate"}
        file.write(pixels, subifds=2, **options)
        for step in (2, 4):
            file.write(pixels[::step, ::step], subfiletype=1, **options)


def write_plain_pyramid(path: Path, pixels: np.ndarray) -> None:
    """Levels as pages one after another: what OpenSlide calls generic-tiled-tiff, under a scanner's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for step in (1, 2, 4):
            kind = {} if step == 1 else {"subfiletype": 1}
            file.write(pixels[::step, ::step], tile=(64, 64), photometric="rgb", compression="deflate", **kind)


def label_pixels() -> np.ndarray:
    """Class 3 everywhere, a small piece of class 2, one corner unlabelled."""
    label = np.full((HEIGHT, WIDTH), 3, np.uint8)
    label[100:140, 100:140] = 2
    label[:20, :20] = 255
    return label


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("slides")
    for number in range(5):
        write_pyramid(root / "slides" / f"p{number}.tif", slide_pixels(number))
        write_pyramid(root / "labels" / f"p{number}.tif", label_pixels())
    (root / "cut.yaml").write_text("format: slides\nslides: {patch: 64, stride: 32, balanced: false}\n")
    return root


def test_patches_are_windows_of_the_slide(slides: Path) -> None:
    assert layout_of(slides) == "slides"
    val = open_dataset(slides / "cut.yaml", "val")
    assert val.labels.num_classes == 8
    pixels, label = slide_pixels(4), label_pixels()
    seen = set()
    for index in range(len(val)):
        sample = val[index]
        slide, left, top = sample.name.split("_")
        assert slide == "p4"
        x, y = int(left), int(top)
        seen.add((x, y))
        assert np.array_equal(sample.image, pixels[y : y + 64, x : x + 64])
        assert np.array_equal(sample.mask, label[y : y + 64, x : x + 64])
    # Overlapping by half, and none that is glass: the border at 256 needs a quarter of tissue.
    assert {(0, 0), (32, 0), (0, 32)} <= seen
    assert max(x for x, _ in seen) == 224
    assert max(y for _, y in seen) == HEIGHT - 64


def test_other_magnifications_read_a_smaller_level(slides: Path) -> None:
    (slides / "half.yaml").write_text("format: slides\nslides: {patch: 64, downsample: 2, balanced: false}\n")
    sample = open_dataset(slides / "half.yaml", "val")[0]
    assert sample.image.shape == (64, 64, 3)
    assert np.array_equal(sample.image, slide_pixels(4)[:128:2, :128:2])
    assert np.array_equal(sample.mask, label_pixels()[:128:2, :128:2])


def test_training_takes_classes_in_turn(slides: Path) -> None:
    (slides / "even.yaml").write_text("format: slides\nslides: {patch: 32, stride: 32}\n")
    train = open_dataset(slides / "even.yaml", "train")
    assert {train.group(index) for index in range(len(train))} == {"p0", "p1", "p2", "p3"}
    holding = sum(bool((train[index].mask == 2).any()) for index in range(0, 40))
    assert holding >= 20  # every second one, though 4 of 96 patches a slide show class 2
    assert len({train[index].name for index in range(len(train))}) == len(train)


def test_openslide_reads_the_same(tmp_path: Path) -> None:
    pytest.importorskip("openslide")
    write_plain_pyramid(tmp_path / "slides" / "a.svs", slide_pixels(1))
    write_pyramid(tmp_path / "labels" / "a.tif", label_pixels())
    (tmp_path / "cut.yaml").write_text("format: slides\nslides: {patch: 64, balanced: false}\n")
    data = open_dataset(tmp_path / "cut.yaml", "all")
    assert np.array_equal(data[0].image, slide_pixels(1)[:64, :64])
    assert np.array_equal(data[0].mask, label_pixels()[:64, :64])


def test_labels_drawn_on_an_overview(slides: Path, tmp_path: Path) -> None:
    from PIL import Image

    write_pyramid(tmp_path / "slides" / "a.tif", slide_pixels(1))
    (tmp_path / "labels").mkdir()
    Image.fromarray(label_pixels()[::4, ::4]).save(tmp_path / "labels" / "a.png")
    (tmp_path / "cut.yaml").write_text("format: slides\nslides: {patch: 64, balanced: false}\n")
    mask = open_dataset(tmp_path / "cut.yaml", "all")[0].mask
    assert np.array_equal(mask, np.kron(label_pixels()[:64:4, :64:4], np.ones((4, 4), np.uint8)))


def test_faults(slides: Path, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "slides").mkdir()
    broken = tmp_path / "slides" / "a.tif"
    broken.write_bytes(b"II*\0nothing")
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match=r"a\.tif: its label .* is missing"):
        open_dataset(tmp_path, "all")
    Image.fromarray(np.zeros((10, 100), np.uint8)).save(tmp_path / "labels" / "a.png")
    with pytest.raises(DataError, match=r"a\.tif: the slide cannot be read"):
        open_dataset(tmp_path, "all")
    write_pyramid(broken, slide_pixels(1))
    with pytest.raises(DataError, match="100×10 but its slide 512×384"):
        open_dataset(tmp_path, "all")[0]


def test_starts_cover_the_whole_edge() -> None:
    assert starts(100, 40, 20) == [0, 20, 40, 60]
    assert starts(110, 40, 20) == [0, 20, 40, 60, 70]
    assert starts(30, 40, 20) == [0]


def test_glass_is_no_tissue() -> None:
    assert not tissue_of(np.full((20, 20, 3), 240, np.uint8)).any()
    assert tissue_of(slide_pixels(0))[:, : WIDTH // 2 - 2].all()
    assert not tissue_of(slide_pixels(0))[:, WIDTH // 2 + 2 :].any()


def test_balanced_order() -> None:
    order = balanced_order([{0}, {0}, {0}, {0, 1}, set()], 2)
    assert order == [0, 3, 1, 3, 2]
    assert balanced_order([set(), set()], 3) == [0, 1]
