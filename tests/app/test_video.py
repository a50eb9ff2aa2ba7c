"""``fleetseg predict`` on videos that are encoded here: codecs, sizes, times, sound, damage, stops."""

from __future__ import annotations

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fleetseg.app.video.frame_queue import FrameQueue
from fleetseg.app.video.labelling import Smoother
from fleetseg.app.video.run import VideoOptions, label_video
from fleetseg.app.video.source import Frame, VideoSource, is_video, without_password
from fleetseg.cli import main
from fleetseg.errors import VideoError
from fleetseg.runtime import load

from .videos import av, frames_of, stripes, write_tone, write_video


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def predict(model: Path, *words: str) -> int:
    return main(["predict", str(model), *words, "--size", "native", "--threads", "2"])


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".onnx")


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


# ---- live ----


def frame(number: int) -> Frame:
    return Frame(number, number, 0.0, 0.0, None)


def test_queue_keeps_the_newest_frame_and_all_sound() -> None:
    frames = FrameQueue(2, newest_only=True)
    for item in (frame(0), "sound", frame(1), frame(2)):
        assert frames.put(item)
    assert frames.dropped == 2
    assert [frames.get(), frames.get().number] == ["sound", 2]
    frames.close()
    assert frames.get() is None
    assert not frames.put(frame(3))


def test_queue_of_a_file_makes_its_reader_wait() -> None:
    frames = FrameQueue(2, newest_only=False)
    reader = threading.Thread(target=lambda: [frames.put(frame(number)) for number in range(5)], daemon=True)
    reader.start()
    assert [frames.get().number for _ in range(5)] == list(range(5))
    reader.join(10)
    assert not reader.is_alive()
    assert frames.dropped == 0


def test_slow_network_drops_frames_of_a_live_source(colour_onnx: Path) -> None:
    write_video(Path("a.mkv"), count=60, codec="ffv1", pix_fmt="bgr0")
    model = load(colour_onnx, threads=1)
    quick = model.predict
    model.predict = lambda *given: (time.sleep(0.02), quick(*given))[1]  # type: ignore[method-assign]
    options = VideoOptions(Path("o.mkv"), mask_video=Path("m.mkv"), drop=True)
    with VideoSource("a.mkv", live=True) as source:
        result = label_video([model], source, options, lambda _model, own: own)
    assert result.dropped > 0
    assert result.frames + result.dropped == 60
    masks, seconds = frames_of(Path("m.mkv"), "gray")
    assert len(masks) == result.frames
    for mask, second in zip(masks, seconds, strict=True):
        np.testing.assert_array_equal(mask, stripes(round(second / 0.04), 64, 48).argmax(axis=2))
    assert result.latency_ms(0.5) >= 20


def test_stream_that_goes_away_leaves_a_playable_file(
    colour_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    from fleetseg.app.video import source as source_module

    monkeypatch.setattr(source_module, "READ_SECONDS", 2.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"udp://127.0.0.1:{port}"

    def send() -> None:
        time.sleep(0.5)
        write_video(Path("sent.ts"), count=150, pix_fmt="yuv420p", size=(128, 96), format="mpegts")
        content = Path("sent.ts").read_bytes()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(6):
                for start in range(0, len(content), 1316):
                    sender.sendto(content[start : start + 1316], ("127.0.0.1", port))
                    time.sleep(0.001)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    status = predict(colour_onnx, address, "--out", "o.mp4", "--json")
    sender.join(30)
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert status == 1, "the source went away"
    assert f"{address}: ends after frame" in shown.err
    assert not result["complete"]
    assert len(frames_of(Path("o.mp4"))[0]) == result["frames"] > 0


# ---- stops and bad input ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_playable_file(colour_onnx: Path, number: signal.Signals, here: Path) -> None:
    write_video(Path("a.mp4"), count=500, size=(96, 72), codec="mpeg4", pix_fmt="yuv420p", sound="aac")
    words = [sys.executable, "-m", "fleetseg", "predict", str(colour_onnx), "a.mp4", "--out", "o/o.mkv"]
    words += ["--shares", "o/s.csv"]
    # A network that sees many pixels is slow enough to be interrupted.
    process = subprocess.Popen([*words, "--size", "960x720", "--json"], stdout=subprocess.PIPE, text=True)
    folder, end = Path("o"), time.monotonic() + 60
    while not any(path.read_bytes().count(b"\n") > 10 for path in folder.glob(".s.*.csv")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, number)
    out, _ = process.communicate(timeout=60)
    result = json.loads(out)
    assert process.returncode == 130
    assert result["stopped"]
    assert files_in(folder) == ["o.mkv", "s.csv"]
    assert len(frames_of(folder / "o.mkv")[0]) == result["frames"] < 500
    assert len(Path("o/s.csv").read_text().splitlines()) == 1 + result["frames"]


def test_truncated_file_gives_what_is_there(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(Path("a.mkv"), count=50, codec="ffv1", pix_fmt="bgr0", size=(160, 120))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert predict(colour_onnx, "a.mkv", "--out", "o.mp4", "--json") == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("fleetseg: a.mkv: ")
    frames = json.loads(shown.out)["frames"]
    assert 10 < frames < 40
    assert len(frames_of(Path("o.mp4"))[0]) == frames


def test_damaged_frames_are_counted_and_the_rest_is_labelled(
    colour_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_video(Path("a.mp4"), count=40, size=(160, 120), pix_fmt="yuv420p")
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 1200
    content[start : start + 60] = bytes(range(60))
    path.write_bytes(content)
    status = predict(colour_onnx, "a.mp4", "--out", "o.mp4", "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] >= 30, "decoders conceal what they can"
    assert status == (0 if result["complete"] else 1)
    assert len(frames_of(Path("o.mp4"))[0]) == result["frames"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("text.mp4", "text.mp4: is broken, cut off or no video"),
        ("empty.mp4", "empty.mp4: is broken, cut off or no video"),
        ("cut.mp4", "cut.mp4: is broken, cut off or no video"),
        ("sound.mp4", "sound.mp4: has sound but no pictures"),
        ("none.mkv", "none.mkv: no frame could be decoded; it is empty, broken or encrypted"),
        ("webcam:87", "webcam:87: there is no such camera"),
        ("rtsp://user:secret@127.0.0.1:9/x", "rtsp://…@127.0.0.1:9/x: cannot be opened (Connection refused)"),
    ],
)
def test_bad_videos_leave_nothing(
    colour_onnx: Path, name: str, sentence: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.mp4").write_text("no video at all\n" * 100)
    Path("empty.mp4").touch()
    whole = write_video(Path("whole.mp4")).read_bytes()
    Path("cut.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open("sound.mp4", "w") as file:
        tone = file.add_stream("aac", rate=48000)
        tone.layout = "mono"
        write_tone(file, tone, 0.5)
    with av.open("none.mkv", "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        file.start_encoding()
    before = files_in(here)
    assert predict(colour_onnx, name, "--out", "o.mp4", "--mask-video", "m.mkv", "--shares", "s.csv") == 1
    assert capsys.readouterr().err == f"fleetseg: {sentence}\n"
    assert files_in(here) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a.mp4", "--out", "o"], "--out o: a video's name is needed, ending with .mp4, .mov, .mkv, .webm"),
        (["a.mp4", "--out", "a.mp4"], "--out a.mp4: is the input or another output"),
        (["a.mp4", "--out", "d.mp4"], "--out d.mp4: is a folder"),
        (["a.mp4", "--out", "o.mp4", "--mask-video", "m.mp4"], "--mask-video m.mp4: the name must end with .mkv"),
        (["a.mp4", "--out", "o.mp4", "--overlay"], "--overlay: goes with images, not with a video"),
        (["a.mp4", "b.png", "--out", "o.mp4"], "a.mp4: a video is labelled by itself"),
        (["b.png", "--out", "o", "--every", "2"], "--every: goes with a video, not with images"),
        (["gone.mp4", "--out", "o.mp4"], "gone.mp4: no such file or folder"),
        (["webcam:front", "--out", "o.mp4"], "webcam:front: a camera is webcam: and its number, such as webcam:0"),
    ],
)
def test_wrong_calls(
    colour_onnx: Path, words: list[str], sentence: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(Path("a.mp4"))
    Path("d.mp4").mkdir()
    before = files_in(here)
    assert predict(colour_onnx, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fleetseg: {sentence}")
    assert error.count("\n") == 1
    assert files_in(here) == before


def test_folder_that_cannot_be_written(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(Path("a.mp4"))
    Path("file").touch()
    assert predict(colour_onnx, "a.mp4", "--out", "file/o.mp4") == 1
    assert capsys.readouterr().err.startswith("fleetseg: file/o.mp4: cannot be written (")


def test_full_disk_is_one_sentence_and_leaves_nothing(colour_onnx: Path, here: Path) -> None:
    write_video(Path("a.mkv"), count=200, codec="ffv1", pix_fmt="bgr0")
    before = files_in(here)
    words = ["predict", str(colour_onnx), "a.mkv", "--out", "o.mkv", "--mask-video", "m.mkv", "--size", "native"]
    # To a program, a limit on the size of files is a disk that is full after so many bytes.
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000));"
    code = f"{limited} from fleetseg.cli import main; sys.exit(main({words!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "cannot be written (" in result.stderr
    assert result.stderr.count("\n") == 1
    assert files_in(here) == before


def test_show_without_a_screen(
    colour_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    write_video(Path("a.mp4"))
    assert predict(colour_onnx, "a.mp4", "--out", "o.mp4", "--show") == 2
    assert capsys.readouterr().err.startswith("fleetseg: --show: ")
    assert not Path("o.mp4").exists()


def test_without_pyav_the_install_line(
    colour_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(Path("a.mp4"))
    monkeypatch.setitem(sys.modules, "av", None)
    assert predict(colour_onnx, "a.mp4", "--out", "o.mp4") == 2
    assert "pip install 'fleetseg[video]'" in capsys.readouterr().err


def test_playlists_do_not_reach_other_files(tmp_path: Path) -> None:
    segment = write_video(tmp_path / "secret.ts", pix_fmt="yuv420p", format="mpegts")
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile {segment.name}\n")
    with pytest.raises(VideoError):
        VideoSource(str(playlist))


def test_what_counts_as_a_video() -> None:
    words = [
        "a.MP4",
        "rtsp://h/x",
        "webcam:0",
        "https://h/v.mp4?key=1",
        "udp://127.0.0.1:5",
        "a.png",
        "https://h/a.png",
    ]
    assert [is_video(word) for word in words] == [True] * 5 + [False] * 2
    assert without_password("rtsp://u:p@h:5/x") == "rtsp://…@h:5/x"
