"""The boundary between pictures and networks: uint8 images in, class ids out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fleetseg.available_memory import available_memory
from fleetseg.errors import CheckpointError, ImageError, UsageError
from fleetseg.image import check_size, resize_image
from fleetseg.labels import Colour, LabelSet
from fleetseg.metadata import ModelMetadata
from fleetseg.runtime.decision import Plane, best_class, best_class_and_confidence, enlarged_planes, softmax
from fleetseg.runtime.engine import Engine

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
Size = tuple[int, int]


class Model:
    """A loaded network with its classes. Call it with an image to get the mask.

    Images are (H, W, 3) uint8 RGB (or as many channels as the network was built for), masks (H, W) uint8
    class ids, sizes (width, height). Every method that takes `size` shows the network the image resized to it
    and resizes the logits back, so the result has the image's own size whatever the network saw; without it
    the network sees the image as it is. Raised are `UsageError` for an array that is no such image and
    `ImageError` for one that is larger than memory allows.
    """

    #: The only size that the network can see, where it was compiled for one; others are resized to it.
    fixed_size: Size | None = None

    def __init__(self, engine: Engine, metadata: ModelMetadata, source: str = "") -> None:
        """`source` names the file in errors. `CheckpointError` if the metadata contradicts itself."""
        self.metadata = metadata
        self.source = source or metadata.name
        self._engine = engine
        channels, means = metadata.network.in_channels, len(metadata.normalisation.mean)
        if means != channels:
            raise CheckpointError(f"{self.source}: normalises {means} channels but the network has {channels}")

    @property
    def engine(self) -> str:
        """Name of the engine that runs the network."""
        return self._engine.name

    @property
    def labels(self) -> LabelSet:
        """Class names and palette."""
        return self.metadata.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in id order."""
        return self.metadata.classes

    @property
    def palette(self) -> tuple[Colour, ...]:
        """RGB colour of each class."""
        return self.metadata.palette

    def __repr__(self) -> str:
        return f"Model({self.metadata.name!r}, {len(self.classes)} classes, engine={self.engine!r})"

    def __call__(self, image: Image) -> Mask:
        """(H, W, 3) uint8 RGB → (H, W) uint8 class ids."""
        return self.predict(image)

    def predict(self, image: Image, size: Size | None = None) -> Mask:
        """Like calling the model, with the size that the network sees."""
        return best_class(self._planes(image, size))

    def confidence(self, image: Image, size: Size | None = None) -> Plane:
        """(H, W) float32: the soft-max probability of each pixel's class."""
        return self.predict_with_confidence(image, size)[1]

    def predict_with_confidence(self, image: Image, size: Size | None = None) -> tuple[Mask, Plane]:
        """Mask and confidence from one run of the network."""
        return best_class_and_confidence(self._planes(image, size))

    def probabilities(self, image: Image, size: Size | None = None) -> npt.NDArray[np.float32]:
        """(C, H, W) float32: the soft-max probability of every class, 4 · C bytes a pixel."""
        return softmax(self._planes(image, size))

    def probabilities_of(self, images: Sequence[Image]) -> list[npt.NDArray[np.float32]]:
        """`probabilities` of images of one size, in one run of the network where the engine takes batches."""
        for image in images:
            self._check_image(image)
        own_size, stride = (images[0].shape[1], images[0].shape[0]), self.metadata.network.output_stride
        logits = self._batch_logits(images)
        return [softmax(enlarged_planes(planes, stride, own_size, own_size)) for planes in logits]

    def logits(self, image: Image) -> npt.NDArray[np.float32]:
        """(C, ⌈H/s⌉, ⌈W/s⌉) float32 as they leave the network; s = ``metadata.network.output_stride``."""
        self._check_image(image)
        logits: Plane = self._batch_logits([image])[0]
        return logits

    def _batch_logits(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """(N, C, ⌈H/s⌉, ⌈W/s⌉) float32 of N images of one size."""
        height, width = images[0].shape[:2]
        self._check_memory(width, height, len(images))
        try:
            logits = self._engine.run(np.concatenate([self.metadata.normalisation.apply(image) for image in images]))
        except MemoryError:
            raise ImageError(f"{width}×{height} pixels need more memory than is free; use a smaller size") from None
        stride = self.metadata.network.output_stride
        expected = (len(self.classes), -(-height // stride), -(-width // stride))
        if logits.shape[1:] != expected:
            raise CheckpointError(
                f"{self.source}: gives logits of shape {logits.shape[1:]} where its metadata promises {expected}"
            )
        return logits

    def _planes(self, image: Image, size: Size | None) -> Iterator[Plane]:
        self._check_image(image)
        own_size = (image.shape[1], image.shape[0])
        seen = own_size if size is None else check_size(size)
        self._check_memory(*seen)
        logits = self.logits(resize_image(image, seen))
        return enlarged_planes(logits, self.metadata.network.output_stride, seen, own_size)

    def _check_image(self, image: Image) -> None:
        if not isinstance(image, np.ndarray):
            raise UsageError(f"the image is a {type(image).__name__}; a NumPy array is needed")
        if image.dtype != np.uint8:
            raise UsageError(f"the image is of type {image.dtype}; uint8 with values from 0 to 255 is needed")
        channels = self.metadata.network.in_channels
        if image.ndim != 3 or image.shape[2] != channels:
            wanted = f"(height, width, {channels})" + (" RGB" if channels == 3 else "")
            raise UsageError(f"the image has shape {image.shape}; {wanted} is needed")
        if 0 in image.shape:
            raise UsageError(f"the image has shape {image.shape}; it must have at least one pixel")

    def _check_memory(self, width: int, height: int, count: int = 1) -> None:
        check_memory(self.metadata, (width, height), count)


def check_memory(metadata: ModelMetadata, size: Size, count: int = 1) -> None:
    """`ImageError` unless the free memory suffices for running the network on `count` images of `size`."""
    limit = available_memory() // bytes_per_pixel(metadata) // count
    width, height = size
    if width * height > limit:
        raise ImageError(
            f"{width}×{height} is {width * height:,} pixels, but the free memory lets the network see "
            f"{limit:,}; use a smaller size"
        )


def bytes_per_pixel(metadata: ModelMetadata) -> int:
    """Memory that running the network takes at most for each pixel it sees.

    The normalised input and its copies (float32), the logits with the decoder's last copies, and the feature
    maps at half size that live at once. Measured at 2048×1536: 28–56% on ONNX Runtime, 79–88% on PyTorch.
    """
    return 3 * 4 * metadata.network.in_channels + 3 * 4 * metadata.network.num_classes + 192
