"""Files that `fleetseg export` wrote: sizes may be fixed, normalisation and arg-max inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, UsageError
from fleetseg.image import check_size, resize_image, resize_mask
from fleetseg.metadata import ExportedForm, ModelMetadata
from fleetseg.runtime.decision import Plane, enlarged_planes
from fleetseg.runtime.model import Image, Mask, Model, Size


class FileEngine(Protocol):
    """What runs an exported file: whatever goes in and comes out, as the file's form says."""

    @property
    def name(self) -> str:
        """As in ``fleetseg.load(…, engine=name)``."""
        ...

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One run; `FleetsegError` if the runtime fails."""
        ...


class ExportedModel(Model):
    """A `Model` whose file may take images of one size alone, and may end in the class map."""

    def __init__(self, engine: FileEngine, metadata: ModelMetadata, form: ExportedForm, source: str) -> None:
        super().__init__(engine, metadata, source)
        self.form = form
        self.fixed_size = form.input_size
        self._file = engine

    def predict(self, image: Image, size: Size | None = None) -> Mask:
        """See `Model.predict`."""
        if self.form.head == "logits":
            return super().predict(image, size)
        self._check_image(image)
        own_size = (image.shape[1], image.shape[0])
        seen = self._seen(own_size, size)
        self._check_memory(*seen)
        classes = self.raw(resize_image(image, seen))
        return resize_mask(np.ascontiguousarray(classes), own_size)

    def probabilities_of(self, images: Sequence[Image]) -> list[npt.NDArray[np.float32]]:
        """See `Model.probabilities_of`; a file takes one image at a time."""
        return [self.probabilities(image) for image in images]

    def logits(self, image: Image) -> Plane:
        """See `Model.logits`; the image must have the file's size, where it has one."""
        self._check_image(image)
        own_size = (image.shape[1], image.shape[0])
        self._seen(own_size, own_size)
        self._check_logits()
        return self.raw(image)

    def raw(self, image: Image) -> npt.NDArray[Any]:
        """The file's output for an image of its size: (C, rows, columns) float32 logits or (rows, columns) uint8.

        `CheckpointError` if the output has another shape.
        """
        height, width = image.shape[:2]
        batch = image[None] if self.form.preprocessing else self.metadata.normalisation.apply(image)
        # Of one image: engines differ in whether they keep axes of length one.
        found = np.squeeze(self.run(np.ascontiguousarray(batch)))
        stride = self.metadata.network.output_stride
        seen = (self.form.size or (width, height)) if self.form.image_size else (width, height)
        expected: tuple[int, ...] = (-(-seen[1] // stride), -(-seen[0] // stride))
        if self.form.head == "logits":
            expected = (len(self.classes), *expected)
        if found.size != np.prod(expected):
            raise CheckpointError(f"{self.source}: gives {found.shape} where its metadata promises {expected}")
        kind = np.float32 if self.form.head == "logits" else np.uint8
        return np.asarray(found.reshape(expected), kind)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The runtime alone, from what the file takes to what it gives, as `form` says; see `FileEngine.run`."""
        return self._file.run(batch)

    def _planes(self, image: Image, size: Size | None) -> Iterator[Plane]:
        self._check_image(image)
        self._check_logits()
        own_size = (image.shape[1], image.shape[0])
        seen = self._seen(own_size, size)
        self._check_memory(*seen)
        logits = self.raw(resize_image(image, seen))
        inner = seen if self.form.image_size is None or self.form.size is None else self.form.size
        return enlarged_planes(logits, self.metadata.network.output_stride, inner, own_size)

    def _seen(self, own_size: Size, size: Size | None) -> Size:
        fixed = self.fixed_size
        if fixed is None:
            return own_size if size is None else check_size(size)
        if size is not None and tuple(size) != fixed:
            raise UsageError(
                f"{self.source}: takes images of {fixed[0]}×{fixed[1]}, cannot see {size[0]}×{size[1]}; "
                f"export it with --size {size[0]}x{size[1]}"
            )
        return fixed

    def _check_logits(self) -> None:
        if self.form.head != "logits":
            raise UsageError(f"{self.source}: ends in its class map; logits need a file of --head logits")
