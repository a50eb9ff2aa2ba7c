"""``fleetseg predict`` on videos that are encoded here: codecs, sizes, times, sound, smoothing."""

from __future__ import annotations

import csv
import json
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fleetseg.app.video.labelling import Smoother
from fleetseg.runtime import load

from .videos import av, frames_of, predict, stripes, write_video


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "size", "out"),
    [
        ("a.mp4", "libx264", "yuv444p", (64, 48), "o.mp4"),
        ("a.mkv", "ffv1", "bgr0", (63, 47), "o.mkv"),
        ("a.avi", "mpeg4", "yuv420p", (64, 48), "o.mov"),
        ("a.webm", "libvpx-vp9", "yuv420p", (65, 49), "o.webm"),
        ("a.mov", "mjpeg", "yuvj422p", (64, 50), "o.mkv"),
    ],
)
def test_codecs_and_odd_sizes(
    colour_onnx: Path, name: str, codec: str, pix_fmt: str, size: tuple[int, int], out: str
) -> None:
    times = None if name != "a.avi" else list(range(12))
    base = Fraction(1, 1000) if times is None else Fraction(1, 25)
    write_video(Path(name), size=size, codec=codec, pix_fmt=pix_fmt, times=times, time_base=base)
    assert predict(colour_onnx, name, "--out", out, "--mask-video", "m.mkv") == 0
    pictures, seconds = frames_of(Path(out))
    assert len(pictures) == 12
    assert seconds == pytest.approx([0.04 * number for number in range(12)], abs=0.0021)
    assert pictures[0].shape[0] > size[1], "the legend stands below"
    masks, _ = frames_of(Path("m.mkv"), "gray")
    assert masks[0].shape == size[::-1]
    for number in (0, 5, 11):
        wanted = stripes(number, *size).argmax(axis=2)
        assert (masks[number] == wanted).mean() > 0.9, "chroma is blurred at the borders, nothing more"
        middle = pictures[number][size[1] // 2, size[0] - 4].astype(int)
        assert abs(middle - (0, 0, 215)).max() < 40, "half the frame's 230, half the palette's 200"


def test_masks_are_lossless_and_shares_are_theirs(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(Path("a.mkv"), codec="ffv1", pix_fmt="bgr0")
    assert predict(colour_onnx, "a.mkv", "--out", "o.mkv", "--mask-video", "m.mkv", "--shares", "s.csv", "--json") == 0
    masks, _ = frames_of(Path("m.mkv"), "gray")
    for number, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, stripes(number, 64, 48).argmax(axis=2))
    with Path("s.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["frame", "seconds", "red", "green", "blue"]
    for number, row in enumerate(rows):
        assert int(row[0]) == number
        assert float(row[1]) == pytest.approx(0.04 * number, abs=1e-6)
        counts = np.bincount(masks[number].ravel(), minlength=3) / masks[number].size
        np.testing.assert_allclose([float(value) for value in row[2:]], counts, atol=1e-6)
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["dropped"], result["complete"]) == (12, 0, True)
    mean = np.mean([[float(value) for value in row[2:]] for row in rows], axis=0)
    np.testing.assert_allclose(list(result["shares"].values()), mean, atol=2e-6)


def test_variable_frame_rate_and_sound_are_kept(colour_onnx: Path) -> None:
    times = [0, 40, 50, 200, 201, 900, 1500]
    write_video(Path("a.mp4"), times=times, sound="aac")
    assert predict(colour_onnx, "a.mp4", "--out", "o.mp4") == 0
    _, before = frames_of(Path("a.mp4"))
    _, after = frames_of(Path("o.mp4"))
    assert np.diff(before) == pytest.approx(np.diff(times) / 1000, abs=1e-4)
    assert after == pytest.approx(np.array(before) - before[0], abs=0.0011)

    def sound(name: str) -> list[tuple[bytes, float]]:
        with av.open(name) as file:
            packets = [packet for packet in file.demux(audio=0) if packet.dts is not None]
            return [(bytes(packet), float(packet.pts * packet.time_base)) for packet in packets]

    given, kept = sound("a.mp4"), sound("o.mp4")
    assert len(given) > 50
    assert [content for content, _ in kept] == [content for content, _ in given], "not encoded again"
    assert [time for _, time in kept] == pytest.approx([time for _, time in given], abs=0.002)


def test_sound_that_the_container_cannot_hold(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(Path("a.mp4"), sound="aac")
    assert predict(colour_onnx, "a.mp4", "--out", "o.webm") == 0
    assert ".webm cannot hold the sound of a.mp4, so it is left out; .mkv can" in capsys.readouterr().err
    assert len(frames_of(Path("o.webm"))[0]) == 12


def test_rotated_as_phones_write_it(colour_onnx: Path) -> None:
    path = write_video(Path("a.mp4"), size=(64, 48))
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    one, minus = 0x10000, -0x10000
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, minus, 0, 0, 48 * one, 0, 0x40000000)
    path.write_bytes(content)
    assert predict(colour_onnx, "a.mp4", "--out", "o.mp4", "--mask-video", "m.mkv") == 0
    masks, _ = frames_of(Path("m.mkv"), "gray")
    # Players turn this file clockwise: what was left is on top.
    wanted = np.rot90(stripes(8, 64, 48).argmax(axis=2), -1)
    assert masks[8].shape == wanted.shape == (64, 48)
    assert (masks[8] == wanted).mean() > 0.9


def test_every_third_frame_is_looked_at(colour_onnx: Path) -> None:
    write_video(Path("a.mkv"), codec="ffv1", pix_fmt="bgr0", count=8)
    assert predict(colour_onnx, "a.mkv", "--out", "o.mkv", "--mask-video", "m.mkv", "--every", "3") == 0
    masks, _ = frames_of(Path("m.mkv"), "gray")
    assert len(masks) == 8
    for number, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, stripes(number - number % 3, 64, 48).argmax(axis=2))


def test_smoothing_is_the_exponential_mean_of_probabilities(colour_onnx: Path) -> None:
    write_video(Path("a.mkv"), codec="ffv1", pix_fmt="bgr0")
    words = ["a.mkv", "--out", "o.mkv", "--mask-video", "m.mkv", "--smooth", "0.6"]
    assert predict(colour_onnx, *words) == 0
    masks, _ = frames_of(Path("m.mkv"), "gray")
    model, mean = load(colour_onnx), None
    changed = 0
    for number, mask in enumerate(masks):
        probabilities = model.probabilities(stripes(number, 64, 48))
        mean = probabilities if mean is None else 0.6 * mean + 0.4 * probabilities
        np.testing.assert_array_equal(mask, mean.argmax(axis=0))
        changed += not np.array_equal(mask, probabilities.argmax(axis=0))
    assert changed > 5, "it does smooth"


def test_smoother_with_one_frame_is_the_frame() -> None:
    plane = np.random.default_rng(0).random((3, 2, 2), np.float32)
    np.testing.assert_array_equal(Smoother(0.9)(plane), plane)
