"""``fleetseg predict`` on a video, a stream or a camera."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fleetseg.app.video.run import VideoOptions, VideoResult, label_video
from fleetseg.app.video.source import VideoSource, is_video, without_password
from fleetseg.cli.console import complain
from fleetseg.cli.frame_window import FrameWindow
from fleetseg.cli.network_sight import SizeRule
from fleetseg.cli.options import print_json
from fleetseg.errors import UsageError

if TYPE_CHECKING:
    from fleetseg.runtime import Model

#: As main's for Ctrl-C: what shells report for a process that SIGINT ended.
_INTERRUPTED = 130
_STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
Loader = Callable[[int], "Model"]


def the_video(inputs: Sequence[str]) -> str | None:
    """The input if it is a video, a stream or a camera; `UsageError` for one among other inputs."""
    videos = [word for word in inputs if is_video(word)]
    if videos and len(inputs) > 1:
        raise UsageError(f"{without_password(videos[0])}: a video is labelled by itself; give no other inputs with it")
    return videos[0] if videos else None


def predict_video(
    argument: str,
    load: Loader,
    options: VideoOptions,
    size_rule: SizeRule,
    threads: int | None,
    show: bool,
    as_json: bool,
) -> None:
    """Label it, tell the progress, and end with the exit status that fits."""
    options.check()
    _check_outputs(argument, options)
    with VideoSource(argument) as source:
        models = _models(load, source.live, threads)
        window = _Watching(source.name) if show else None
        with _progress(source) as advance, _stopping() as on_signal:

            def on_start(stop: Callable[[], None]) -> None:
                on_signal(stop)
                if window is not None:
                    window.stop = stop

            def told(result: VideoResult, picture: Any) -> None:
                advance(result)
                if window is not None:
                    window.show(picture)

            result = label_video(models, source, options, size_rule, told, on_start, show)
    _report(result, source, options, models[0], as_json)
    raise typer.Exit(_status(result, source))


class _Watching:
    """The window, and how it ends the work."""

    def __init__(self, title: str) -> None:
        self.stop: Callable[[], None] = lambda: None
        self._window = FrameWindow(title, lambda: self.stop())

    def show(self, picture: Any) -> None:
        self._window.show(picture)


def _models(load: Loader, live: bool, threads: int | None) -> list[Model]:
    """A file gets a network of one thread a processor, the most frames a second; a camera one with all: the least
    latency.
    """
    import cv2

    from fleetseg.runtime.threads import processors

    cv2.setNumThreads(1)  # the stages share the processors already
    count = threads or processors()
    return [load(count)] if live else [load(1) for _ in range(count)]


def _check_outputs(argument: str, options: VideoOptions) -> None:
    taken: set[Path] = {Path(argument).resolve()}
    named = {"--out": options.out, "--mask-video": options.mask_video, "--shares": options.shares}
    for option, path in named.items():
        if path is None:
            continue
        if path.resolve() in taken:
            raise UsageError(f"{option} {path}: is the input or another output; use another name")
        if path.is_dir():
            raise UsageError(f"{option} {path}: is a folder; the name of a file is needed")
        taken.add(path.resolve())


@contextmanager
def _stopping() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Ctrl-C, SIGTERM and a closed terminal end the work with whole files, or, before it began, at once; so does a
    second Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda _stop: None
        return
    stops: list[Callable[[], None]] = []

    def handle(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not stops:
            raise KeyboardInterrupt
        # Not here: the interrupted thread may hold the locks that stopping needs.
        threading.Thread(target=stops[0], daemon=True).start()

    # What nohup and shells' background jobs ignore stays ignored.
    heard = [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield stops.append
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(source: VideoSource) -> Iterator[Callable[[VideoResult], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    first = SpinnerColumn() if source.live else BarColumn()
    rest = () if source.live else (MofNCompleteColumn(), TimeRemainingColumn())
    columns = (TextColumn("Labelling"), first, TextColumn("{task.description}"), *rest)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=source.expected_frames)

        def advance(result: VideoResult) -> None:
            progress.update(task, completed=result.frames + result.dropped, description=_rate(result))

        yield advance if console.is_terminal else lambda _result: None


def _rate(result: VideoResult) -> str:
    text = f"{result.frames / max(result.seconds, 1e-9):.1f} frames/s"
    if result.live:
        recent = sorted(result.latencies[-30:])
        text += f", {1000 * recent[len(recent) // 2]:.0f} ms behind, {result.dropped} dropped"
    return text


def _report(result: VideoResult, source: VideoSource, options: VideoOptions, model: Model, as_json: bool) -> None:
    for note in result.notes:
        complain(note)
    if result.damaged:
        complain(f"{source.name}: {result.damaged} packets are damaged; their frames are missing or wrong")
    if result.ended_by is not None:
        complain(f"{source.name}: ends after frame {result.frames + result.dropped} ({result.ended_by})")
    elif _breaks_off(result):
        complain(f"{source.name}: is cut off: {result.frames} frames of about {result.expected_frames} are there")
    if as_json:
        print_json(_as_json(result, source, options, model))
        return
    rate = result.frames / max(result.seconds, 1e-9)
    late = f", {result.latency_ms(0.5):.0f} ms behind (median), {result.dropped} dropped" if result.live else ""
    said = f"{result.frames} frames, {rate:.1f} frames/s on {model.engine}{late}"
    print(f"{said}{'; stopped early' if result.stopped else ''}; results in {options.out}")
    parts = sorted(zip(result.shares, model.classes, strict=True), reverse=True)
    print(", ".join(f"{name} {100 * part:.1f} %" for part, name in parts if part >= 0.001))


def _as_json(result: VideoResult, source: VideoSource, options: VideoOptions, model: Model) -> dict[str, Any]:
    paths = {"overlay": options.out, "mask_video": options.mask_video, "shares_file": options.shares}
    return {
        "input": source.name,
        **{key: str(path) for key, path in paths.items() if path is not None},
        "width": result.size[0],
        "height": result.size[1],
        "network_size": list(result.network_size),
        "engine": model.engine,
        "frames": result.frames,
        "dropped": result.dropped,
        "damaged_packets": result.damaged,
        "seconds": round(result.seconds, 3),
        "latency_ms": {"median": round(result.latency_ms(0.5), 1), "p99": round(result.latency_ms(0.99), 1)},
        "shares": {name: round(float(part), 6) for name, part in zip(model.classes, result.shares, strict=True)},
        "stopped": result.stopped,
        "complete": not (result.damaged or result.ended_by or result.stopped or _breaks_off(result)),
    }


def _breaks_off(result: VideoResult) -> bool:
    """Whether clearly fewer frames came than the file promised; containers round, so a few do not count."""
    if result.live or result.stopped or result.expected_frames is None:
        return False
    return result.frames + result.dropped < 0.95 * result.expected_frames - 2


def _status(result: VideoResult, source: VideoSource) -> int:
    if result.stopped:
        return 0 if source.live else _INTERRUPTED
    return 1 if result.damaged or result.ended_by is not None or _breaks_off(result) else 0
