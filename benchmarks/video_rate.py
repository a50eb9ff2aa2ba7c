"""Frame rate of `fleetseg predict` on a video beside what the processors allow.

python benchmarks/video_rate.py enet-camvid --json benchmarks/results/FILE.json

The processors allow their number divided by the CPU seconds that decoding, network, overlay and encoding of a frame
take, each measured alone on one thread. The pipeline is then timed on the same file with the same networks. Rounds of
both take turns, so that a slow minute hits both; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2

from fleetseg.app.video.labelling import Labeller, Painter
from fleetseg.app.video.run import VideoOptions, label_video
from fleetseg.app.video.sink import VideoSink
from fleetseg.app.video.source import Frame, VideoSource
from fleetseg.benchmark.machine import describe_machine
from fleetseg.compilation import fastest_precision, write_library
from fleetseg.data.scenes import render_scene
from fleetseg.runtime import load
from fleetseg.runtime.threads import processors


def write_drive(path: Path, size: tuple[int, int], count: int) -> None:
    """A camera that pans over a few street scenes, as H.264."""
    width, height = size
    scenes = [render_scene(seed, width * 5 // 4, height)[0] for seed in range(4)]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            scene = scenes[number * len(scenes) // count]
            left = number * 2 % (width // 4)
            frame = av.VideoFrame.from_ndarray(scene[:, left : left + width].copy(), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def stage_seconds(video: Path, library: Path, out: Path, size: tuple[int, int]) -> dict[str, float]:
    """CPU seconds a frame of each stage, all threads counted."""
    model = load(library, threads=1)
    with VideoSource(str(video)) as source:
        labeller, painter = Labeller([model], size, size, smoothed=False), Painter(model.labels, size)
        frames, decode = cpu(lambda: [item for item in source if isinstance(item, Frame)])
        seen, network = cpu(lambda: [labeller.look(frame) for frame in frames])
        with VideoSink(out, source, painter.size) as sink:
            painted, overlay = cpu(lambda: [sink.prepared(painter(one.picture, one.mask)) for one in seen])
            started = time.process_time()
            for frame, encodable in zip(frames, painted, strict=True):
                sink.write(encodable, frame.pts)
        encode = time.process_time() - started
    total = {"decode": decode, "network": network, "overlay": overlay, "encode": encode}
    return {name: seconds / len(frames) for name, seconds in total.items()}


def cpu(work: Callable[[], list[Any]]) -> tuple[list[Any], float]:
    """Result and CPU seconds of this process."""
    started = time.process_time()
    return work(), time.process_time() - started


def pipeline_rate(video: Path, library: Path, out: Path, count: int) -> float:
    """Frames a second of the whole pipeline."""
    models = [load(library, threads=1) for _ in range(count)]
    with VideoSource(str(video)) as source:
        result = label_video(models, source, VideoOptions(out), lambda model, own: model.fixed_size or own)
    return result.frames / result.seconds


def main() -> None:
    """Measure and print a table for people and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="enet-camvid")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default=fastest_precision())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    count = processors()
    cv2.setNumThreads(1)
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library, video = folder / "library", folder / "drive.mp4"
        write_library(arguments.model, (width, height), library, precision=arguments.precision)
        write_drive(video, (width, height), arguments.frames)
        for _ in range(arguments.rounds):
            stages = stage_seconds(video, library, folder / "stages.mp4", (width, height))
            rounds.append({**stages, "rate": pipeline_rate(video, library, folder / "pipeline.mp4", count)})
    stages = {stage: statistics.median(one[stage] for one in rounds) for stage in rounds[0]}
    rate = stages.pop("rate")
    ratios = [one["rate"] * sum(one[stage] for stage in stages) / count for one in rounds]
    result = {
        "model": arguments.model,
        "size": arguments.size,
        "precision": arguments.precision,
        "processors": count,
        "cpu_ms_per_frame": {stage: round(1000 * seconds, 3) for stage, seconds in stages.items()},
        "frames_per_second": round(rate, 2),
        "allowed_per_second": round(count / sum(stages.values()), 2),
        "ratio": round(statistics.median(ratios), 3),
        "machine": describe_machine(),
    }
    for stage, milliseconds in result["cpu_ms_per_frame"].items():
        print(f"{stage:8} {milliseconds:8.2f} ms of one processor a frame")
    print(f"{rate:.1f} frames/s of {result['allowed_per_second']} that {count} processors allow: {result['ratio']:.2f}")
    print(json.dumps(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
