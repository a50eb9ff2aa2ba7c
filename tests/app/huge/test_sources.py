"""Images of every format give the same pixels a region at a time as decoded whole, or are refused in a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pyvips
import tifffile
from PIL import ExifTags, Image, ImageCms
from tests.app.huge.conftest import clouds

from fleetseg.app.huge import sources, streaming
from fleetseg.app.huge.sources import WholeImage, in_colour, needs_windows, open_source
from fleetseg.app.huge.streaming import tiled_copy
from fleetseg.data.slide_file import SlideFile
from fleetseg.errors import ImageError, ImageTooLargeError, MissingExtraError, OutputError
from fleetseg.image import read_image

WIDTH, HEIGHT = 230, 170
Save = Callable[[Path, np.ndarray], None]


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every image were too large to be decoded whole."""
    monkeypatch.setattr(sources, "WHOLE_PIXELS", 0)


def other_profile() -> bytes:
    """An ICC profile by which red means blue."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = content.replace(b"rXYZ", b"....").replace(b"bXYZ", b"rXYZ").replace(b"....", b"bXYZ")
    return swapped.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def pillow(mode: str = "RGB", **options: Any) -> Save:
    return lambda path, picture: Image.fromarray(picture).convert(mode).save(path, **options)


def turned(orientation: int) -> Save:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return pillow(exif=exif)


def tiff(**options: Any) -> Save:
    return lambda path, picture: tifffile.imwrite(path, picture, photometric="rgb", **options)


def sixteen_bits(path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(path), picture[..., ::-1].astype(np.uint16) * 256 + 77)


def several(path: Path, picture: np.ndarray) -> None:
    file = Image.fromarray(picture)
    file.save(path, save_all=True, append_images=[Image.new("RGB", file.size)])


#: Every kind that section 6 of the service's aims names, and what large images are usually saved as.
KINDS: dict[str, tuple[str, Save]] = {
    "png": ("a.png", pillow()),
    "jpeg": ("a.jpg", pillow(quality=95)),
    "progressive jpeg": ("a.jpg", pillow(quality=95, progressive=True)),
    "jpeg on its side": ("a.jpg", turned(6)),
    "jpeg mirrored on its side": ("a.jpg", turned(7)),
    "png upside down": ("a.png", turned(3)),
    "cmyk jpeg": ("a.jpg", pillow("CMYK", quality=95)),
    "cmyk tiff": ("a.tif", pillow("CMYK")),
    "palette png": ("a.png", pillow("P")),
    "palette tiff": ("a.tif", pillow("P")),
    "one bit png": ("a.png", pillow("1")),
    "one bit tiff": ("a.tif", pillow("1")),
    "grey png": ("a.png", pillow("L")),
    "alpha png": ("a.png", pillow("RGBA")),
    "sixteen bit png": ("a.png", sixteen_bits),
    "sixteen bit tiff": ("a.tif", sixteen_bits),
    "several pages": ("a.tif", several),
    "animated gif": ("a.gif", several),
    "webp": ("a.webp", pillow(lossless=True)),
    "profile png": ("a.png", pillow(icc_profile=other_profile())),
    "damaged profile png": ("a.png", pillow(icc_profile=b"damaged")),
    "tiff of one strip": ("a.tif", tiff()),
    "deflated tiff of one strip": ("a.tif", tiff(compression="deflate")),
    "planar tiff": ("a.tif", lambda path, picture: tiff(planarconfig="separate")(path, picture.transpose(2, 0, 1))),
    "tiled tiff": ("a.tif", tiff(tile=(64, 64))),
    "tiled bigtiff": ("a.tif", tiff(tile=(64, 64), bigtiff=True, compression="deflate")),
    "tiled ome-tiff": ("a.ome.tif", tiff(tile=(64, 64), ome=True)),
    "tiled tiff with profile": ("a.tif", tiff(tile=(64, 64), iccprofile=other_profile())),
}

IN_PLACE = {"tiled tiff", "tiled bigtiff", "tiled ome-tiff"}


@pytest.mark.parametrize("kind", KINDS)
def test_regions_are_those_of_the_whole_image(tmp_path: Path, streamed: None, kind: str) -> None:
    name, save = KINDS[kind]
    save(tmp_path / name, clouds(WIDTH, HEIGHT))
    expected = read_image(tmp_path / name)
    source = open_source(tmp_path / name, tmp_path / "work")
    assert source.sizes[0] == expected.shape[1::-1]
    found = in_colour(source.region(0, 0, source.sizes[0], 1.0))
    # Rounding of CMYK and of profiles differs between the two libraries.
    assert np.abs(found.astype(int) - expected).max() <= (3 if "cmyk" in kind or "profile" in kind else 0)
    np.testing.assert_array_equal(in_colour(source.region(70, 33, (50, 41), 1.0)), found[33:74, 70:120])
    half = in_colour(source.region(20, 40, (30, 20), 2.0))
    np.testing.assert_allclose(half, found[40:80, 20:80].reshape(20, 2, 30, 2, 3).mean(axis=(1, 3)), atol=0.51)
    assert (tmp_path / "work").exists() == (kind not in IN_PLACE)


def test_a_small_image_is_kept_in_memory(tmp_path: Path) -> None:
    picture = clouds(WIDTH, HEIGHT)
    Image.fromarray(picture).save(tmp_path / "a.png")
    source = open_source(tmp_path / "a.png", tmp_path / "work")
    assert isinstance(source, WholeImage)
    np.testing.assert_array_equal(source.region(0, 0, (WIDTH, HEIGHT), 1.0), picture)


def test_the_copy_of_an_earlier_run_is_used_again(
    tmp_path: Path, streamed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(clouds(WIDTH, HEIGHT)).save(tmp_path / "a.png")
    open_source(tmp_path / "a.png", tmp_path / "work")
    monkeypatch.setattr(sources, "tiled_copy", lambda *_: pytest.fail("copied again"))
    assert open_source(tmp_path / "a.png", tmp_path / "work").sizes[0] == (WIDTH, HEIGHT)


def test_large_regions_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = clouds(WIDTH, HEIGHT)
    tifffile.imwrite(tmp_path / "a.tif", picture, tile=(64, 64), photometric="rgb")
    slide = SlideFile(tmp_path / "a.tif")
    whole = slide.region(-8, 4, (120, 80), 2.0)
    monkeypatch.setattr("fleetseg.data.slide_file._MOST_PIXELS", 1000)
    np.testing.assert_array_equal(slide.region(-8, 4, (120, 80), 2.0), whole)


def test_micrometres_from_ome_and_scanners(tmp_path: Path) -> None:
    picture = clouds(WIDTH, HEIGHT)
    scale = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    for unit, expected in (("µm", (0.5, 0.25)), ("mm", None)):
        units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
        options: dict[str, Any] = {"metadata": {"axes": "YXS", **scale, **units}, "photometric": "rgb"}
        tifffile.imwrite(tmp_path / "a.ome.tif", picture, tile=(64, 64), **options)
        assert SlideFile(tmp_path / "a.ome.tif").microns == expected
    text = "Aperio Image Library v1.0\r\n230x170 [0,0 230x170] (64x64) |AppMag = 20|MPP = 0.4990"
    options = {"description": text, "metadata": None, "photometric": "rgb", "compression": "jpeg"}
    tifffile.imwrite(tmp_path / "a.svs", picture, tile=(64, 64), **options)
    assert SlideFile(tmp_path / "a.svs").microns == (0.499, 0.499)


def broken(path: Path, save: Save) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    save(path, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff of one strip", "tiled tiff", "tiled bigtiff"])
def test_truncated_files_are_refused(tmp_path: Path, streamed: None, kind: str) -> None:
    name, save = KINDS[kind]
    broken(tmp_path / name, save)
    with pytest.raises(ImageError, match=rf"^{tmp_path / name}: ") as caught:
        open_source(tmp_path / name, tmp_path / "work").region(0, 0, (WIDTH, HEIGHT), 1.0)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("work/*"))


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.svs", "a.mrxs"])
@pytest.mark.parametrize("content", [b"", b"no image, but a text", b"II*\0nothing"])
def test_files_that_are_no_images_are_refused(tmp_path: Path, streamed: None, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=rf"^{tmp_path / name}: ") as caught:
        open_source(tmp_path / name, tmp_path / "work")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "options", "sentence"),
    [
        (np.ones((64, 64, 3), np.float32), {"photometric": "rgb"}, "32-bit samples|is broken"),
        (np.ones((64, 64), np.float32), {}, "has 32-bit samples"),
        (np.ones((64, 64), np.uint32), {}, "has 32-bit samples|is broken"),
        (np.ones((5, 64, 64), np.uint8), {"metadata": {"axes": "CYX"}, "ome": True}, "has 5 channels in planes"),
    ],
)
def test_pixels_that_no_network_sees_are_refused(
    tmp_path: Path, streamed: None, array: np.ndarray, options: dict[str, Any], sentence: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array, tile=(16, 16), **options)
    with pytest.raises(ImageError, match=sentence):
        open_source(tmp_path / "a.tif", tmp_path / "work")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        open_source(tmp_path / "a.png", tmp_path / "work")
    with pytest.raises(ImageError, match="is a folder"):
        open_source(tmp_path, tmp_path / "work")


def test_a_copy_that_does_not_fit_is_refused_before_it_is_begun(
    tmp_path: Path, streamed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(clouds(WIDTH, HEIGHT)).save(tmp_path / "a.png")
    monkeypatch.setattr(streaming, "_ON_DISK", 10**12)
    with pytest.raises(OutputError, match=r"a tiled copy of a\.png \(230×170\) needs 39,100,000\.0 GB here, of which"):
        open_source(tmp_path / "a.png", tmp_path / "work")


@pytest.mark.parametrize("kind", ["progressive jpeg", "webp"])
def test_what_can_only_be_decoded_whole_is_refused_without_the_memory(
    tmp_path: Path, streamed: None, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    name, save = KINDS[kind]
    save(tmp_path / name, clouds(WIDTH, HEIGHT))
    monkeypatch.setattr(streaming, "available_memory", lambda: WIDTH * HEIGHT)
    with pytest.raises(ImageTooLargeError, match="230×170 is too large for the free memory"):
        open_source(tmp_path / name, tmp_path / "work")


@pytest.mark.parametrize(("orientation", "shares"), [(1, [0, 0.5, 1]), (6, [0, 0.25, 0.5, 0.5, 0.75, 1])])
def test_a_copy_tells_its_share(
    orientation: int, shares: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = streaming._save

    def save(path: Path, copy: Path, image: Any, target: Path, tell_share: Callable[[float], None]) -> None:
        real(path, copy, image, target, lambda _share: None)  # how often libvips tells depends on the machine
        for share in (0, 0.5, 1):
            tell_share(share)

    monkeypatch.setattr(streaming, "_save", save)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("L", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    heard: list[float] = []
    tiled_copy(tmp_path / "a.jpg", tmp_path / "copy.tif", heard.append)
    assert heard == shares
    with tifffile.TiffFile(tmp_path / "copy.tif") as file:
        assert file.pages[0].shape == ((20, 30, 3) if orientation == 1 else (30, 20, 3))


def test_a_copy_can_be_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (4000, 4000)).save(tmp_path / "a.png")
    shares: list[float] = []
    killed, set_kill = threading.Event(), pyvips.Image.set_kill

    def note_kill(image: Any, wanted: bool) -> None:
        set_kill(image, wanted)
        killed.set()

    def interrupt(share: float) -> None:
        shares.append(share)
        if len(shares) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        killed.wait(30)

    monkeypatch.setattr(pyvips.Image, "set_kill", note_kill)
    with pytest.raises(KeyboardInterrupt):
        tiled_copy(tmp_path / "a.png", tmp_path / "work/copy.tif", interrupt)
    assert killed.is_set(), "it does not wait for the end"
    assert shares == sorted(shares) and 0 <= shares[0] <= shares[-1] < 1
    assert not list(tmp_path.glob("work/*"))


def test_a_full_disk_during_the_copy_is_one_sentence(tmp_path: Path) -> None:
    """The kernel refuses to let a file grow, as on a full disk."""
    Image.fromarray(clouds(WIDTH, HEIGHT)).save(tmp_path / "a.png")
    code = (
        "import resource, sys; from pathlib import Path; from fleetseg.app.huge.streaming import tiled_copy;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY));"
        "tiled_copy(Path('a.png'), Path('work/copy.tif'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert "fleetseg.errors.OutputError: work/copy.tif: cannot be written (" in done.stderr
    assert not list(tmp_path.glob("work/*"))


def test_without_the_packages_the_install_line_is_told(
    tmp_path: Path, streamed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(clouds(WIDTH, HEIGHT)).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(MissingExtraError, match=r"\(package pyvips\) needs an extra: pip install 'fleetseg\[huge\]'"):
        open_source(tmp_path / "a.png", tmp_path / "work")


def test_which_files_need_windows(tmp_path: Path) -> None:
    Image.fromarray(clouds(WIDTH, HEIGHT)).save(tmp_path / "a.png")
    pixels = WIDTH * HEIGHT
    assert needs_windows(tmp_path / "a.png", pixels - 1) and not needs_windows(tmp_path / "a.png", pixels)
    assert needs_windows(tmp_path / "slide.SVS", pixels)
    # What Pillow cannot open tells its size all the same.
    tifffile.imwrite(tmp_path / "b.tif", clouds(WIDTH, HEIGHT), tile=(64, 64), photometric="rgb", compression="zstd")
    assert needs_windows(tmp_path / "b.tif", pixels - 1) and not needs_windows(tmp_path / "b.tif", pixels)
    for content in (b"", b"II*\0nothing", b"a text"):
        (tmp_path / "c.tif").write_bytes(content)
        assert not needs_windows(tmp_path / "c.tif", 0)
