"""Reading every kind of image file, resizing, writing."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms

from fleetseg import image as module
from fleetseg.errors import ImageError, ImageTooLargeError, OutputError, UsageError
from fleetseg.image import (
    decode_image,
    image_header,
    max_pixels,
    read_image,
    resize_image,
    resize_logits,
    resize_mask,
    write_mask,
    write_png,
)
from fleetseg.labels import CAMVID_11

Picture = npt.NDArray[np.uint8]
ORIENTATION = 0x0112


def smooth() -> Picture:
    """(24, 36, 3): a ramp that JPEG keeps well, each corner another colour."""
    rows, columns = np.mgrid[0:24, 0:36]
    return np.stack((rows * 9, columns * 6, 200 - rows * 4), axis=-1).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF", "a.bmp"])
def test_lossless_formats(tmp_path: Path, name: str) -> None:
    Image.fromarray(smooth()).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    np.testing.assert_array_equal(image, smooth())


def test_webp(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), smooth())


def test_jpeg(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth()).max() <= 6


def test_suffix_does_not_matter_but_content_does(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.jpg")), smooth())


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(smooth()[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(smooth()[..., :1], 3, axis=2))


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_alpha_is_dropped(tmp_path: Path, name: str) -> None:
    alpha = np.full((24, 36, 1), 3, np.uint8)
    Image.fromarray(np.concatenate((smooth(), alpha), axis=2)).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name), smooth())


def test_grey_with_alpha(tmp_path: Path) -> None:
    Image.fromarray(np.dstack((smooth()[..., 0], np.zeros((24, 36), np.uint8)))).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 1], smooth()[..., 0])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path, name: str, channels: int) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (9, 11, channels), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / name), values)
    expected = (values >> 8).astype(np.uint8)[..., :3][..., ::-1]
    np.testing.assert_array_equal(read_image(tmp_path / name), np.broadcast_to(expected, (9, 11, 3)))


@pytest.mark.parametrize("transparency", [None, 1, bytes([255, 0, 128])])
def test_palette_is_looked_up(tmp_path: Path, transparency: Any) -> None:
    file = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    file.putpalette([9, 8, 7, 60, 50, 40, 250, 0, 1])
    options = {} if transparency is None else {"transparency": transparency}
    file.save(tmp_path / "a.png", **options)
    assert read_image(tmp_path / "a.png").tolist() == [[[9, 8, 7], [60, 50, 40], [250, 0, 1]]]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_first_of_several_frames(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    assert np.unique(read_image(tmp_path / name).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


#: What an upright picture looks like as it is stored, by EXIF orientation (TIFF 6.0, tag 274).
STORED: dict[int, Callable[[Picture], Picture]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.jpg"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(tmp_path: Path, name: str, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](smooth()))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 95, "subsampling": 0}}.get(name, {})
    Image.fromarray(stored).save(tmp_path / name, exif=exif, **options)
    image = read_image(tmp_path / name)
    assert image.shape == smooth().shape
    assert np.abs(image.astype(int) - smooth()).max() <= 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_spoil_sound_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    damaged = exif.tobytes()[:12] + b"\xff\xff\xff"
    Image.fromarray(smooth()).save(tmp_path / "a.png", exif=damaged)
    assert read_image(tmp_path / "a.png").shape == (24, 36, 3)


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.webp", "a.gif"])
def test_truncated_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    truncated(path)
    with pytest.raises(ImageError, match=rf"^{path}: is broken"):
        read_image(path)


@pytest.mark.parametrize("position", range(8, 68, 6))
def test_flipped_bytes_in_a_header_never_escape(tmp_path: Path, position: int) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(smooth()).save(path)
    content = bytearray(path.read_bytes())
    content[position : position + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    try:
        assert read_image(path).ndim == 3
    except ImageError as error:
        assert str(error).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"no image, but a text", "is broken or no PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is a document, not an image"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"{path}: .*{reason}"):
        read_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


def test_samples_of_unknown_range(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="32-bit samples; convert it to 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of some bytes whose header promises any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claiming(2_000_000, 1_000_000))
    with pytest.raises(ImageError, match=r"2000000×1000000 is 2,000,000,000,000 pixels, .* allows [\d,]+; make"):
        read_image(path)


def test_what_opencv_cannot_allocate_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        error = cv2.error("Failed to allocate 30000000000 bytes")
        error.code = cv2.Error.StsNoMem  # as OpenCV's own; a test that asks for so much is no friend of its machine
        raise error

    monkeypatch.setattr(cv2, "resize", refuse)
    with pytest.raises(MemoryError):
        resize_image(np.zeros((2, 2, 3), np.uint8), (100_000, 100_000))


def test_limit_follows_the_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    monkeypatch.setattr(module, "available_memory", lambda: 24 * 36 * module.BYTES_PER_PIXEL)
    assert max_pixels() == 24 * 36
    assert read_image(tmp_path / "a.png").shape == (24, 36, 3)
    monkeypatch.setattr(module, "available_memory", lambda: 24 * 36 * module.BYTES_PER_PIXEL - 1)
    with pytest.raises(ImageError, match="36×24 is 864 pixels, but the free memory allows 863"):
        read_image(tmp_path / "a.png")


def test_pillows_own_limit_neither_stops_us_nor_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_image(tmp_path / "a.png").shape == (24, 36, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_resize_image_averages_when_it_shrinks() -> None:
    board = np.indices((8, 8)).sum(axis=0) % 2 * 200
    image = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    np.testing.assert_array_equal(resize_image(image, (4, 4)), np.full((4, 4, 3), 100))


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (100, 90), (36, 24)])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_resize_image_shapes(size: tuple[int, int], channels: int) -> None:
    image = np.full((24, 36, channels), 77, np.uint8)
    resized = resize_image(image, size)
    assert resized.shape == (size[1], size[0], channels)
    assert np.unique(resized).tolist() == [77]


def test_resize_mask_invents_no_classes_and_does_not_shift() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[3:6, 3:6] = 255
    third = resize_mask(mask, (3, 3))
    assert third.tolist() == [[0, 0, 0], [0, 255, 0], [0, 0, 0]]
    np.testing.assert_array_equal(resize_mask(third, (9, 9)), mask)


@pytest.mark.parametrize("size", [(72, 56), (100, 33), (9, 7), (5, 4)])
def test_resize_logits_is_torchs_bilinear(size: tuple[int, int]) -> None:
    logits = np.random.default_rng(3).normal(size=(5, 7, 9)).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(logits)[None], size=size[::-1], mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resize_logits(logits, size), expected[0].numpy(), atol=1e-5)


def test_empty_sizes_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="0×4 is empty"):
        resize_image(smooth(), (0, 4))


def test_write_mask_is_indexed_with_the_palette_and_reads_back(tmp_path: Path) -> None:
    mask = np.array([[0, 3, 10], [8, 255, 1]], np.uint8)
    write_mask(tmp_path / "new" / "m.png", mask, CAMVID_11)
    with Image.open(tmp_path / "new" / "m.png") as file:
        assert (file.mode, file.format) == ("P", "PNG")
        np.testing.assert_array_equal(np.asarray(file), mask)
        shown = np.asarray(file.convert("RGB"))
    assert shown[0, 1].tolist() == list(CAMVID_11.palette[3])
    assert shown[1, 1].tolist() == [0, 0, 0]


def test_write_png_grey_and_rgb(tmp_path: Path) -> None:
    write_png(tmp_path / "c.png", smooth())
    write_png(tmp_path / "g.png", smooth()[..., 1])
    np.testing.assert_array_equal(read_image(tmp_path / "c.png"), smooth())
    with Image.open(tmp_path / "g.png") as file:
        assert file.mode == "L"


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "a.png", smooth())
    before = (tmp_path / "a.png").read_bytes()

    def save_half(self: Image.Image, path: Path, **options: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save_half)
    with pytest.raises(OutputError, match=r"a\.png: cannot be written \(No space left on device\)"):
        write_png(tmp_path / "a.png", smooth())
    assert (tmp_path / "a.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_bytes_are_decoded_like_files(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", progressive=True)
    np.testing.assert_array_equal(decode_image((tmp_path / "a.jpg").read_bytes()), read_image(tmp_path / "a.jpg"))


def test_a_limit_is_checked_before_decoding(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert decode_image(content, most_pixels=864).shape == (24, 36, 3)
    with pytest.raises(ImageTooLargeError, match="upload: 36×24 is 864 pixels, but the limit is 863"):
        decode_image(content, "upload", 863)


def test_thousands_of_jpeg_scans_are_refused_undecoded() -> None:
    with pytest.raises(ImageError, match="has more than 100 JPEG scans"):
        decode_image(b"\xff\xd8" + 101 * b"\xff\xda\x00\x02")


def swapped_profile() -> bytes:
    """An ICC profile by which red means blue."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = content.replace(b"rXYZ", b"....").replace(b"bXYZ", b"rXYZ").replace(b"....", b"bXYZ")
    renamed = swapped.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    assert renamed.count("swap".encode("utf-16-be"))
    return renamed


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_those_of_the_icc_profile(tmp_path: Path, mode: str) -> None:
    colours = Image.new("RGB", (4, 4), (250, 0, 0)).convert(mode)
    colours.save(tmp_path / "a.png", icc_profile=swapped_profile())
    red, green, blue = read_image(tmp_path / "a.png")[0, 0].tolist()
    assert red < 5 and green < 5 and blue > 245


@pytest.mark.parametrize("profile", [b"damaged", swapped_profile()[:200]])
def test_damaged_icc_profiles_are_as_good_as_none(tmp_path: Path, profile: bytes) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), smooth())


def test_radiance_and_float_images_are_refused_in_a_sentence(tmp_path: Path) -> None:
    light = np.ones((4, 4, 3), np.float32)
    for name, sentence in (("a.hdr", "is a Radiance HDR image; map its tones"), ("b.tif", "a TIFF of unusual samples")):
        assert cv2.imwrite(str(tmp_path / name), light)
        with pytest.raises(ImageError, match=rf"{name}: .*{sentence}"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("beginning", "what"),
    [
        (b"\x76\x2f\x31\x01\x02\0\0\0", "an OpenEXR image"),
        (b"\0\0\0\x1cftypheic", "a HEIF or AVIF image"),
        (b"\0\0\0\x20ftypavif", "a HEIF or AVIF image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"\xff\x0a\xfa\x7f", "a JPEG XL image"),
        (b"%PDF-1.7", "a document"),
        (b"<svg xmlns=", "drawn with vectors"),
        (b"\0\0\0\x20ftypisom", "broken or no PNG"),
    ],
)
def test_other_formats_are_called_by_their_names(tmp_path: Path, beginning: bytes, what: str) -> None:
    (tmp_path / "a.png").write_bytes(beginning + bytes(50))
    with pytest.raises(ImageError, match=rf"a\.png: is {what}"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match=rf"upload: is {what}"):
        decode_image(beginning + bytes(50), "upload")


def test_headers_tell_sizes_and_what_can_only_be_decoded_whole(tmp_path: Path) -> None:
    file = Image.fromarray(smooth())
    for name, options, only_whole in (
        ("a.png", {}, False),
        ("a.jpg", {}, False),
        ("b.jpg", {"progressive": True}, True),
        ("a.tif", {}, False),
        ("a.webp", {}, True),
    ):
        file.save(tmp_path / name, **options)
        assert image_header(tmp_path / name) == ((36, 24), only_whole)
    (tmp_path / "c.png").write_bytes(png_claiming(2_000_000, 1_000_000))
    assert image_header(tmp_path / "c.png").pixels == 2 * 10**12, "nothing is decoded"
    with pytest.raises(ImageError, match="no such file"):
        image_header(tmp_path / "d.png")


def test_twenty_thousand_pixels_a_side_are_refused_or_read_by_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    monkeypatch.setattr(module, "available_memory", lambda: 4 * 2**30)
    with pytest.raises(
        ImageTooLargeError, match="20000×20000 is 400,000,000 pixels, but the free memory allows 119,304,647"
    ):
        read_image(tmp_path / "a.png")
