"""``fleetseg predict`` on many images: lists, addresses, worker processes, a Ray cluster."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.cli.batch_inputs import find_items, is_list
from fleetseg.cli.console import complain
from fleetseg.cli.network_sight import SizeRule
from fleetseg.cli.options import print_json
from fleetseg.cli.own_network import check_network, use_network
from fleetseg.cli.predict_windows import MOST_PIXELS
from fleetseg.errors import UsageError

if TYPE_CHECKING:
    from fleetseg.app.batches.run import BatchResult, Told

ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ray",
        help="Batch: let a Ray cluster do it ($RAY_ADDRESS, or one on this machine); see docs/batches.md.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, max=100_000, metavar="N", help="Batch: how many engines.  [default: one a processor]"
    ),
]


#: With more engines a processor than this they only take each other's memory.
_WORKERS_A_PROCESSOR = 16


@dataclass(frozen=True)
class Batch:
    """The options of a batch."""

    inputs: Sequence[str]
    out: str
    model: str
    engine: str
    device: str
    #: Of each engine.
    threads: int | None
    size: str | None
    choose_size: SizeRule
    overlay: bool
    confidence: bool
    cluster: str | None
    workers: int | None
    own_network: str | None
    as_json: bool


def is_batch(inputs: Sequence[str], out: str, cluster: str | None, workers: int | None) -> bool:
    """Whether images are to be labelled as a batch: asked for by an option, a list or an address."""
    asked = cluster is not None or workers is not None
    return asked or "://" in out or any(is_list(word) or "://" in word for word in inputs)


def predict_batch(batch: Batch) -> None:
    """Label the images, tell the progress and print what came of them; exit status 1 if any failed."""
    from fleetseg.app.batches import places
    from fleetseg.app.batches.job import Job, network_files
    from fleetseg.app.batches.manifest import Manifest
    from fleetseg.app.batches.run import run_batch

    if batch.cluster not in (None, "ray"):
        raise UsageError(f"--cluster {batch.cluster}: ray is the one that is known")
    if batch.cluster is not None and batch.own_network is not None:
        raise UsageError(
            f"--network {batch.own_network}: machines of a cluster do not have that file; give an ONNX file "
            f"(fleetseg export {batch.model} --network {batch.own_network} --format onnx --out FILE.onnx)"
        )
    _check_workers(batch)
    out = places.full(batch.out)
    items = find_items(batch.inputs, out)
    asked = use_network(batch.own_network)
    files, name, digest = network_files(batch.model, _source_of(batch.own_network))
    # As without a batch: larger ones are for windows, unless it is said how they are to be seen whole.
    most_pixels = MOST_PIXELS if batch.size is None and not batch.confidence else None
    job = Job(
        *(batch.model, batch.engine, batch.device, batch.threads or 1, batch.choose_size, batch.size),
        *(batch.overlay, batch.confidence, most_pixels, files, name, digest),
        prepare=None if asked is None else partial(use_network, batch.own_network),
    )
    network = job.load()  # what is wrong with it is said before any worker starts
    check_network(asked, {batch.model: network.metadata.network.name})
    classes, engine = network.classes, network.engine
    del network
    places.check_writable(out)
    manifest = Manifest(out, classes)
    # The signal last: Ray has a handler of its own.
    with _workers(batch, job) as (workers, count), _interrupted_by_sigterm(), _progress(len(items)) as told:
        result = run_batch(items, job, workers, manifest, classes, told)
    _report(result, batch, manifest.url, f"{count} worker{'s' if count > 1 else ''} with {engine}")
    if result.failed:
        raise typer.Exit(1)


def _source_of(own_network: str | None) -> bytes:
    """The file that defines a network of the user's own: with another one, images are labelled anew."""
    return b"" if own_network is None else Path(own_network.rpartition(":")[0]).read_bytes()


def _check_workers(batch: Batch) -> None:
    from fleetseg.runtime.threads import processors

    most = _WORKERS_A_PROCESSOR * processors()
    if batch.cluster is None and (batch.workers or 0) > most:
        raise UsageError(
            f"--workers {batch.workers}: more than {most} would not help the {processors()} processors of this machine"
        )


@contextmanager
def _workers(batch: Batch, job: Any) -> Iterator[tuple[Any, int]]:
    if batch.cluster is None:
        from fleetseg.app.batches.local_workers import LocalWorkers
        from fleetseg.runtime.threads import processors

        count = batch.workers or max(1, processors() // job.threads)
        yield LocalWorkers(job, count), count
        return
    from fleetseg.app.batches.ray_workers import RayWorkers

    # Ray tells of dead workers on stdout, which is for results.
    with redirect_stdout(sys.stderr):
        workers = RayWorkers(job, batch.workers)
        try:
            yield workers, workers.count
        finally:
            workers.close()


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM as Ctrl-C: the manifest is written."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(total: int) -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    rate = TextColumn("{task.description}")
    columns = (TextColumn("Segmenting"), BarColumn(), rate, MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def told(result: BatchResult) -> None:
            failed = f", {result.failed} failed" if result.failed else ""
            progress.update(task, completed=result.so_far, description=f"{_rate(result):.1f} images/s{failed}")

        yield told


def _rate(result: BatchResult) -> float:
    return result.done / max(result.seconds, 1e-9)


def _report(result: BatchResult, batch: Batch, manifest: str, workers: str) -> None:
    for sentence in result.failures:
        complain(sentence)
    if result.failed:
        more = "; the manifest names all" if result.failed > len(result.failures) else ""
        complain(f"{result.failed} of {result.images} images could not be segmented{more}")
    if batch.as_json:
        shares = {name: round(share, 6) for name, share in result.shares.items()}
        counts = {"images": result.images, "labelled": result.done, "finished_before": result.skipped}
        times = {"seconds": round(result.seconds, 3), "images_per_second": round(_rate(result), 3)}
        print_json({**counts, "failed": result.failed, **times, "shares": shares, "manifest": manifest})
        return
    before = f", {result.skipped} were finished before" if result.skipped else ""
    print(f"{result.done} images labelled, {_rate(result):.1f} a second by {workers}{before}; manifest in {manifest}")
    parts = sorted(((share, name) for name, share in result.shares.items()), reverse=True)
    print(", ".join(f"{name} {100 * share:.1f} %" for share, name in parts if share >= 0.001))
