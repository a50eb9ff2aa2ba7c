"""``fleetseg benchmark``: engines side by side on one network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.console import complain
from fleetseg.cli.options import (
    JsonFileOption,
    ThreadsOption,
    parse_size,
    print_json,
    write_json,
)
from fleetseg.cli.own_network import NetworkOption, use_network

if TYPE_CHECKING:
    from rich.console import Console

    from fleetseg.benchmark.choices import Choice
    from fleetseg.benchmark.compare import Tell
    from fleetseg.benchmark.peak import PeakMeter
    from fleetseg.benchmark.record import Comparison, Profile

_HELP = """Time engines side by side on one network: uint8 image in, uint8 class map out, the same threads for all.

Each engine runs in a process of its own and in its best form: normalisation and arg-max inside its graph where that is
quickest, settings for latency. Only one process is awake at a time; they take turns, in ten rounds, each after a
warm-up. The image is a built-in scene. Networks that end at an eighth of the image's size (espnet-c) are timed with a
class map of that size in every engine.

MODEL is a packaged name, a checkpoint or a run's folder, or a registered network (enet, espnet, espnet-c …), which gets
random weights and --classes classes: speed does not depend on weights, agreement does. MODEL may also
be FILE.py:CLASS, a network of your own; its weights need --network FILE.py:CLASS beside them.

Engines: native (our compiled library; fp32, bf16), openvino (fp32, bf16, int8), onnxruntime (fp32), opencv (fp32),
torch (fp32, bf16), torch.compile (fp32, bf16), ncnn (fp32). The default is all; one that is not installed or cannot
run the network gets a line with the reason. One that is asked for by name must run.

Columns: median, p90 and p99 of the trials; agree: pixels with the class that PyTorch gives in float32; GFLOP/s:
useful multiply-adds × 2 over the median; peak: that against multiply-adds in registers, measured between the rounds;
first: from reading the network to the first class map, packages imported, files prepared (torch.compile compiles then;
for the native engine it opens the library); MB: the process's largest resident set, Python included.

\b
Examples:
  fleetseg benchmark enet-camvid --size 640x360 --json enet.json
  fleetseg benchmark enet espnet espnet-c --size 640x360 --size 1024x512 --threads 2
  fleetseg benchmark enet-camvid --size 640x360 --engine native:bf16 --engine openvino --trials 50
  fleetseg benchmark enet-camvid --size 640x360 --engine native:fp32 --profile
"""


#: Columns of the tables where stdout is no terminal.
_WIDTH = 120


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("benchmark", help=_HELP, short_help="Time engines side by side on a network.")(benchmark)


def benchmark(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Networks, see above.")],
    size: Annotated[
        list[str], typer.Option("--size", metavar="WxH", help="Size of the image, such as 640x360; may be repeated.")
    ],
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", metavar="NAME[:PRECISION]", help="An engine; may be repeated.  [default: all]"),
    ] = None,
    threads: ThreadsOption = None,
    trials: Annotated[int, typer.Option("--trials", min=1, metavar="N", help="Timed runs of each engine.")] = 200,
    classes: Annotated[
        int, typer.Option("--classes", min=2, max=255, metavar="N", help="Classes of a network with random weights.")
    ] = 20,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also show time, GFLOP/s and bytes of each kernel of the native engine.")
    ] = False,
    own_network: NetworkOption = None,
    json: JsonFileOption = None,
) -> None:
    """Run the command."""
    from rich.console import Console

    from fleetseg.atomic import check_file_writable
    from fleetseg.benchmark.choices import choose
    from fleetseg.benchmark.machine import describe_machine, describe_versions
    from fleetseg.benchmark.record import as_json
    from fleetseg.errors import UsageError
    from fleetseg.runtime.threads import processors
    from fleetseg.variants import is_users

    sizes = [parse_size(text) for text in dict.fromkeys(size)]
    chosen = choose(engine or [])
    if profile and all(choice.engine != "native" for choice in chosen):
        raise UsageError("--profile looks into the native engine, which --engine leaves out; add --engine native")
    to_stdout = str(json) == "-"
    if json is not None and not to_stdout:
        check_file_writable(json)
    threads = threads or processors()
    peak = _peak_meter(threads)
    own = [word for word in dict.fromkeys((own_network, *models)) if word is not None and is_users(word)]
    comparisons = _compare(list(dict.fromkeys(models)), sizes, chosen, threads, trials, classes, profile, peak, own)
    machine = {**describe_machine(), "bf16_peak_gflops": _rounded(peak.bf16_gflops if peak else None)}
    versions = describe_versions(peak.compiler if peak else None)
    record = as_json(comparisons, _rounded(peak.gflops if peak else None), machine, versions)
    if to_stdout:
        print_json(record)
    else:
        # Into a file or a pipe, the profile's places fit on one line.
        console = Console()
        print_comparisons(console if console.is_terminal else Console(width=_WIDTH), comparisons, peak)
    if json is not None and not to_stdout:
        write_json(json, record)


def _peak_meter(threads: int) -> PeakMeter | None:
    """None without a C compiler: the peak stays unknown, which is said."""
    from fleetseg.benchmark.peak import PeakMeter
    from fleetseg.errors import CompileError

    try:
        return PeakMeter(threads)
    except CompileError as error:
        complain(f"the processor's peak is not measured: {error}")
        return None


def _compare(
    models: list[str],
    sizes: list[tuple[int, int]],
    choices: tuple[Choice, ...],
    threads: int,
    trials: int,
    classes: int,
    profile: bool,
    peak: PeakMeter | None,
    own: list[str],
) -> list[Comparison]:
    import importlib.util

    from fleetseg.errors import MissingExtraError

    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("reading a network to time it", "benchmark")
    from fleetseg.benchmark.compare import Settings, compare
    from fleetseg.benchmark.subject import read_subject, write_subject

    settings = Settings(choices, threads, trials, profile)
    # Every name is looked up before the first engine starts.
    for word in own:
        use_network(word)
    networks = {model: read_subject(model, classes) for model in models}
    comparisons = []
    for model, (network, metadata, random_weights) in networks.items():
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder, _progress(model, size) as tell:
                subject = write_subject(model, network, metadata, random_weights, size, Path(folder), own)
                comparisons.append(compare(subject, settings, peak, tell))
    return comparisons


@contextmanager
def _progress(model: str, size: tuple[int, int]) -> Iterator[Tell]:
    """A bar on stderr, and in its front what is going on; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(model, total=1.0)

        def tell(what: str, done: float) -> None:
            progress.update(task, description=f"{model} {size[0]}x{size[1]}: {what}", completed=done)

        yield tell


def print_comparisons(console: Console, comparisons: list[Comparison], peak: PeakMeter | None) -> None:
    """A table for each network and size, quickest first; then what was left out, and the profiles."""
    if peak is not None:
        bf16 = f", {peak.bf16_gflops:.0f} in bf16" if peak.bf16_gflops else ""
        print(f"peak of {comparisons[0].threads} threads: {peak.gflops:.0f} GFLOP/s in float32{bf16}")
    for comparison in comparisons:
        weights = ", random weights" if comparison.random_weights else ""
        print(
            f"\n{comparison.model} {comparison.size}{weights}, threads: {comparison.threads}, "
            f"trials: {comparison.trials}, {comparison.macs / 1e9:.3f} GMACs"
        )
        if comparison.results:
            _print_table(console, comparison, peak)
        for one in comparison.skipped:
            print(f"{one.engine}:{one.precision}: {one.reason}")
        for profile in comparison.profiles:
            _print_profile(console, profile)


def _print_table(console: Console, comparison: Comparison, peak: PeakMeter | None) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("engine", no_wrap=True)
    for heading in ("median ms", "p90", "p99", "agree %", "GFLOP/s", "peak %", "first ms", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in sorted(comparison.results, key=lambda result: result.median_ms):
        most = peak.of(result.precision) if peak else None
        table.add_row(
            f"{result.engine}:{result.precision}",
            f"{result.median_ms:.2f}",
            f"{result.p90_ms:.2f}",
            f"{result.p99_ms:.2f}",
            f"{result.agreement:.3f}",
            f"{result.gflops:.1f}",
            f"{100 * result.gflops / most:.0f}" if most else "–",
            f"{result.first_result_ms:.0f}",
            f"{result.peak_memory_mb:.0f}",
        )
    console.print(table)


def _print_profile(console: Console, profile: Profile) -> None:
    from rich.table import Table

    table = Table("kernel", box=None, pad_edge=False)
    for heading in ("ms", "time %", "GFLOP/s", "MMACs", "MB read", "MB written", "rows"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("place", overflow="fold")
    total = sum(kernel.ms for kernel in profile.kernels)
    for kernel in profile.kernels:
        table.add_row(
            kernel.name,
            f"{kernel.ms:.3f}",
            f"{100 * kernel.ms / total:.1f}",
            f"{kernel.gflops:.0f}" if kernel.macs else "–",
            f"{kernel.macs / 1e6:.2f}" if kernel.macs else "–",
            f"{kernel.bytes_read / 1e6:.2f}",
            f"{kernel.bytes_written / 1e6:.2f}",
            str(kernel.rows),
            kernel.place,
        )
    macs = sum(kernel.macs for kernel in profile.kernels)
    print(f"\nnative:{profile.precision}, {profile.model} {profile.size}, medians of each kernel")
    console.print(table)
    print(f"together {total:.3f} ms, {2e-6 * macs / total:.0f} GFLOP/s")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
