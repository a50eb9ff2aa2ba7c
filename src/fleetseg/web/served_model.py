"""One network of the service, on the fastest engine that there is by now."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from fleetseg.errors import FleetsegError
from fleetseg.metadata import ModelMetadata
from fleetseg.runtime.network_size import training_like_size
from fleetseg.web.lanes import Lanes, Loader
from fleetseg.web.problems import Problem

Size = tuple[int, int]
#: Compiles the network for one size (a long time) and returns how to load the library. `FleetsegError` if it cannot.
Builder = Callable[[Size], Loader]
#: Is told, in one sentence, what became of a compilation.
Tell = Callable[[str], None]

#: How many sizes a network is compiled for at most; images of other proportions stay on the first engine.
MOST_SHAPES = 4
#: Relative difference of proportions that nobody sees: a library made for one is used for the other.
SAME_PROPORTIONS = 0.03
#: Widest and narrowest images that are worth a library of their own.
MOST_ELONGATED = 3.0

_compiling = threading.Lock()  # one C compiler at a time, whatever the number of networks


class ServedModel:
    """A network with its engines. The first is there at once; libraries join as they are compiled."""

    def __init__(
        self,
        name: str,
        load: Loader,
        workers: int,
        *,
        size: Size | None = None,
        build: Builder | None = None,
        tell: Tell = lambda _sentence: None,
    ) -> None:
        """`load` gives the first engine; `size` is what the network sees of every image (default: near its training
        size, in the image's proportions); `build` compiles, in the background.
        """
        self.name = name
        self._first = Lanes(load, workers)
        self._workers, self._build, self._tell = workers, build, tell
        self.metadata: ModelMetadata = self._first.model.metadata
        self._size = self._first.model.fixed_size or size
        self._libraries: dict[Size, Lanes | None] = {}  # None: being compiled, or that failed
        self._lock = threading.Lock()
        self._warm_up(self._first)
        if build is not None:
            self._want(self._size or self.metadata.train_size)

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that can be asked for now, the fastest first."""
        first = self._first.model.engine
        return ("native", first) if self.compiled_sizes and first != "native" else (first,)

    @property
    def compiled_sizes(self) -> list[Size]:
        """Sizes for which there is a library."""
        with self._lock:
            return [size for size, lanes in self._libraries.items() if lanes is not None]

    def choose(self, image_size: Size, engine: str = "auto") -> tuple[Lanes, Size]:
        """Where an image of (width, height) runs, and the size that the network sees of it.

        `Problem` for an engine that this network does not have, or does not have yet.
        """
        seen = self._size or training_like_size(image_size, self.metadata.train_size)
        first = self._first.model.engine
        if engine in ("auto", "native") and first != "native":
            if (found := self._library_near(seen)) is not None:
                return found
            if engine == "native":
                raise Problem("not-ready", f"{self.name} is not compiled for {seen[0]}×{seen[1]} (yet)", 10)
        elif engine not in ("auto", first):
            raise Problem("bad-request", f"{self.name} runs on {' or '.join(self.engines)}, not on '{engine}'")
        return self._first, seen

    def _library_near(self, seen: Size) -> tuple[Lanes, Size] | None:
        proportions = seen[0] / seen[1]
        with self._lock:
            near = [
                (abs(size[0] / size[1] / proportions - 1), size)
                for size in self._libraries
                if self._libraries[size] is not None
            ]
        if near and min(near)[0] <= SAME_PROPORTIONS:
            size = min(near)[1]
            lanes = self._libraries[size]
            assert lanes is not None
            return lanes, size
        if 1 / MOST_ELONGATED <= proportions <= MOST_ELONGATED:
            self._want(seen)
        return None

    def _want(self, size: Size | None) -> None:
        """Start compiling for a size unless that was done, or has been done often enough."""
        if size is None or self._build is None or self._first.model.fixed_size is not None:
            return
        with self._lock:
            similar = any(abs(s[0] * size[1] / (s[1] * size[0]) - 1) <= SAME_PROPORTIONS for s in self._libraries)
            if similar or len(self._libraries) >= MOST_SHAPES:
                return
            self._libraries[size] = None
        threading.Thread(target=self._compile, args=(size, self._build), daemon=True, name="compile").start()

    def _compile(self, size: Size, build: Builder) -> None:
        place = f"{self.name} at {size[0]}×{size[1]}"
        try:
            with _compiling:
                lanes = Lanes(build(size), self._workers)
            self._warm_up(lanes, size)
        except (FleetsegError, OSError) as error:
            self._tell(f"{place} stays on {self._first.model.engine}: {error}")
            return
        with self._lock:
            self._libraries[size] = lanes
        self._tell(f"{place} is compiled and runs on engine native")

    def _warm_up(self, lanes: Lanes, size: Size | None = None) -> None:
        """The first run allocates; it is not what callers should wait for."""
        width, height = size or self._size or self.metadata.train_size or (64, 48)
        channels = self.metadata.network.in_channels
        with lanes.lend(alone=True) as model:
            model.predict(np.zeros((height, width, channels), np.uint8), (width, height))
