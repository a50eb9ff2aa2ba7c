"""From the arguments of `fleetseg serve` to networks that can answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fleetseg.cli.console import complain
from fleetseg.cli.own_network import check_network, use_network
from fleetseg.compilation import PRECISIONS, fastest_precision, is_compilable
from fleetseg.compiling_process import CompilingProcesses
from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.runtime import Model, load, packaged_models
from fleetseg.web.lanes import Loader
from fleetseg.web.served_model import Builder, ServedModel

Size = tuple[int, int]


def load_networks(
    names: Sequence[str],
    engine: str,
    size: Size | None,
    workers: int,
    compiling: CompilingProcesses | None,
    precision: str,
    own_network: str | None = None,
) -> list[ServedModel]:
    """The networks of these names (none: all that are packaged), each on its first engine.

    `own_network` is --network, the FILE.py:CLASS that some of them are weights of. `compiling` None: they stay there.
    Raises as `fleetseg.load`, and `UsageError` for networks that cannot be served or told apart.
    """
    if precision not in ("auto", *PRECISIONS):
        raise UnknownNameError("precision", precision, ("auto", *PRECISIONS))
    # A served network begins to compile at once: none is made before all are known to be right.
    to_serve: dict[str, Callable[[], ServedModel]] = {}
    asked, found = use_network(own_network), {}
    for name in names or packaged_models():
        build = None
        first = _loader(name, engine)
        model = first(1)
        _check(model, name, size)
        found[name] = model.metadata.network.name
        if compiling is not None and is_compilable(name):
            own = own_network if found[name] == asked else None
            build = _builder(name, compiling, fastest_precision() if precision == "auto" else precision, own)
        label = name if name in packaged_models() else Path(name).resolve().name
        if label in to_serve:
            raise UsageError(f"two networks are called '{label}'; requests could not tell them apart")
        to_serve[label] = partial(ServedModel, label, first, workers, size=size, build=build, tell=complain)
    check_network(asked, found)
    return [make() for make in to_serve.values()]


def _loader(name: str | Path, engine: str) -> Loader:
    def load_with(threads: int) -> Model:
        # The service's "auto" is its own: it compiles meanwhile and changes over.
        return load(name, "own" if engine == "auto" else engine, threads)

    return load_with


def _check(model: Model, name: str, size: Size | None) -> None:
    channels = model.metadata.network.in_channels
    if channels != 3:
        raise UsageError(f"{name}: takes images of {channels} channels; the service has RGB, 3 channels")
    if size is not None and model.fixed_size not in (None, size):
        width, height = model.fixed_size or size
        raise UsageError(f"--size {size[0]}x{size[1]}: {name} is compiled for {width}x{height}")


def _builder(name: str, compiling: CompilingProcesses, precision: str, own: str | None) -> Builder:
    def build(size: Size) -> Loader:
        folder = compiling.new_folder()
        compiling.compile(name, size, folder, precision, own)
        return _loader(folder, "native")

    return build
