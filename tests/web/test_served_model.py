"""Which engine an image gets: the first at once, libraries as they are compiled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fleetseg.errors import CompileError
from fleetseg.runtime import Model, load
from fleetseg.web.lanes import Lanes, Loader
from fleetseg.web.problems import Problem
from fleetseg.web.served_model import MOST_SHAPES, ServedModel

Size = tuple[int, int]


class Native(Model):
    """Stands for a library: it says so, and knows one size."""

    engine = "native"


class Builds:
    """Compilations that finish when they are told to, and what was said about them."""

    def __init__(self, path: Path) -> None:
        self.path, self.sizes, self.told = path, [], []
        self.go, self.said, self.fail = threading.Event(), threading.Event(), False

    def build(self, size: Size) -> Loader:
        self.sizes.append(size)
        assert self.go.wait(30)
        if self.fail:
            raise CompileError("no compiler")
        base = load(self.path, threads=1)
        return lambda _threads: Native(base._engine, base.metadata)

    def tell(self, sentence: str) -> None:
        self.told.append(sentence)
        self.said.set()

    def await_sentence(self) -> None:
        assert self.said.wait(30)
        self.said.clear()


@pytest.fixture
def builds(colour_onnx: Path) -> Builds:
    return Builds(colour_onnx)


@pytest.fixture
def serve(colour_onnx: Path, builds: Builds) -> Callable[..., ServedModel]:
    def make(size: Size | None = None) -> ServedModel:
        loader = lambda threads: load(colour_onnx, threads=threads)  # noqa: E731
        return ServedModel("colours", loader, 2, size=size, build=builds.build, tell=builds.tell)

    return make


def test_images_are_answered_while_the_library_is_made(serve: Callable[..., ServedModel], builds: Builds) -> None:
    served = serve()
    lanes, seen = served.choose((64, 48))
    assert (lanes.model.engine, seen) == ("onnxruntime", (32, 24))
    assert served.engines == ("onnxruntime",)
    with pytest.raises(Problem, match="is not compiled for 32×24"):
        served.choose((64, 48), "native")
    builds.go.set()
    builds.await_sentence()
    assert builds.told == ["colours at 32×24 is compiled and runs on engine native"]
    assert served.engines == ("native", "onnxruntime")
    assert served.choose((64, 48))[0].model.engine == "native"
    assert served.choose((64, 48), "onnxruntime")[0].model.engine == "onnxruntime"


def test_a_failed_compilation_is_told_once(serve: Callable[..., ServedModel], builds: Builds) -> None:
    builds.fail = True
    builds.go.set()
    served = serve()
    builds.await_sentence()
    for _ in range(3):
        assert served.choose((64, 48))[0].model.engine == "onnxruntime"
    assert builds.sizes == [(32, 24)]
    assert builds.told == ["colours at 32×24 stays on onnxruntime: no compiler"]


def test_strangers_cannot_keep_the_compiler_busy(serve: Callable[..., ServedModel], builds: Builds) -> None:
    builds.go.set()
    served = serve()
    for width in range(10, 200, 7):
        served.choose((width, 50))
    served.choose((4000, 2))
    for thread in threading.enumerate():
        if thread.name == "compile":
            thread.join(30)
    assert len(builds.sizes) <= MOST_SHAPES
    assert all(1 / 3 <= width / height <= 3 for width, height in builds.sizes)


def test_a_fixed_size_is_the_only_one(serve: Callable[..., ServedModel], builds: Builds) -> None:
    builds.go.set()
    served = serve((40, 24))
    builds.await_sentence()
    assert builds.sizes == [(40, 24)]
    assert served.choose((10, 100))[1] == (40, 24)


def test_lanes_lend_every_instance_to_one_worker_only(colour_onnx: Path) -> None:
    loaded: list[int] = []

    def loader(threads: int) -> Model:
        loaded.append(threads)
        return load(colour_onnx, threads=threads)

    lanes = Lanes(loader, 2)
    with lanes.lend(alone=True) as wide, lanes.lend(alone=True) as second, lanes.lend(alone=False) as third:
        assert len({id(model) for model in (wide, second, third)}) == 3
        image = np.full((3, 3, 3), [0, 9, 0], np.uint8)
        assert all((model(image) == 1).all() for model in (wide, second, third))
    with lanes.lend(alone=False):
        pass
    assert loaded == [2, 1, 1]
