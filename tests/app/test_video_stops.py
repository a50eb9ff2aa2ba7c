"""Videos that are stopped, damaged or none, disks that are full, calls that cannot be meant."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleetseg.app.video.run import VideoOptions, label_video
from fleetseg.app.video.source import VideoSource, is_video, without_password
from fleetseg.errors import VideoError
from fleetseg.runtime import load

from .videos import av, files_in, frames_of, predict, write_tone, write_video


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


def test_stop_before_the_first_frame_leaves_nothing(colour_onnx: Path, here: Path) -> None:
    write_video(Path("a.mkv"), codec="ffv1", pix_fmt="bgr0")
    before = files_in(here)
    options = VideoOptions(Path("o.mkv"), shares=Path("s.csv"))
    with VideoSource("a.mkv") as source, pytest.raises(VideoError, match="stopped before its first frame"):
        label_video([load(colour_onnx)], source, options, lambda _model, own: own, on_start=lambda stop: stop())
    assert files_in(here) == before


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
        ("encrypted.mp4", "encrypted.mp4: no frame could be decoded; it is empty, broken or encrypted"),
        ("codec.mkv", "codec.mkv: its codec is unknown here; convert it to H.264, for example"),
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
    keys = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16, "encryption_kid": "a7" * 16}
    write_video(Path("encrypted.mp4"), options=keys)
    known = write_video(Path("known.mkv")).read_bytes()
    Path("codec.mkv").write_bytes(known.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
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


def test_a_camera_that_another_program_uses(
    colour_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy(*_arguments: object, **_options: object) -> None:
        raise av.error.OSError(errno.EBUSY, os.strerror(errno.EBUSY), "/dev/video0")

    monkeypatch.setattr(av, "open", busy)
    assert predict(colour_onnx, "webcam:0", "--out", "o.mp4") == 1
    sentence = "webcam:0: the camera cannot be used (Device or resource busy); does another program use it?"
    assert capsys.readouterr().err == f"fleetseg: {sentence}\n"
    assert not Path("o.mp4").exists()


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
