"""``fleetseg verify``: the accuracy of an exported file in its own runtime, beside the network it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.cli.console import track
from fleetseg.cli.evaluate import check_outputs
from fleetseg.cli.evaluation_table import print_comparison, print_tables
from fleetseg.cli.options import (
    DataOption,
    DeviceOption,
    EngineOption,
    JsonFileOption,
    SplitOption,
    ThreadsOption,
    print_json,
    write_json,
)
from fleetseg.cli.own_network import NetworkOption, check_network, use_network
from fleetseg.errors import UsageError

if TYPE_CHECKING:
    from fleetseg.data import Dataset
    from fleetseg.evaluation import Evaluation
    from fleetseg.runtime import Model

_HELP = """Measure a file that fleetseg export wrote, through the runtime it is for: mIoU over a whole split.

--against measures the network that it was exported from as well, at the same size, and prints what the file loses.

\b
Examples:
  fleetseg verify enet.tflite --data CamVid
  fleetseg verify enet.xml --data scenes:100 --against enet-camvid
  fleetseg verify enet.onnx --data CamVid --engine openvino --json -
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", help=_HELP, short_help="Measure an exported file in its runtime.")(verify)


def verify(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What fleetseg export wrote.")],
    data: DataOption,
    split: SplitOption = "val",
    against: Annotated[
        str | None, typer.Option("--against", metavar="MODEL", help="The network that it was exported from.")
    ] = None,
    json: JsonFileOption = None,
    engine: EngineOption = "own",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    own_network: NetworkOption = None,
) -> None:
    """Run the command."""
    from fleetseg.data import open_dataset
    from fleetseg.runtime import load

    if own_network is not None and against is None:
        raise UsageError(f"--network {own_network}: goes with --against; FILE needs no class beside it")
    asked = use_network(own_network)
    to_stdout = str(json) == "-"
    exported = load(file, engine, threads, device)
    dataset = open_dataset(data, split)
    check_outputs(None if to_stdout else json, None)
    reference = None
    if against is not None:
        reference = load(against, threads=threads)
        check_network(asked, {against: reference.metadata.network.name})
    result = _measured(exported, dataset, exported, "Running the file")
    figures: dict[str, Any] = result.as_json(file, exported.engine)
    if against is not None and reference is not None:
        other = _measured(reference, dataset, exported, "Running the network")
        figures["against"] = other.as_json(against, reference.engine)
        figures["comparison"] = result.compared(other).as_json()
        figures["miou_drop"] = other.scores.miou - result.scores.miou
    if to_stdout:
        print_json(figures)
    else:
        print(f"{file} on {data} {split}: {len(dataset)} images, {exported.engine}")
        print_tables(result, ())
        if against is not None:
            print_comparison(file, against, result.compared(other))
    if json is not None and not to_stdout:
        write_json(json, figures)


def _measured(model: Model, dataset: Dataset, exported: Model, what: str) -> Evaluation:
    """At the size that the exported file takes, whatever model it is."""
    from fleetseg.evaluation import evaluate

    size = exported.fixed_size
    indices = track(range(len(dataset)), what)
    try:
        return evaluate(lambda image: model.predict(image, size), dataset, model.classes, indices=indices)
    except UsageError as error:
        raise UsageError(f"{model.source} does not fit the data: {error}") from error
