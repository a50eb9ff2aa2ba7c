"""From NumPy samples to batches: this is where tensors begin."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, default_collate
from torch.utils.data import Dataset as TorchDataset

from fleetseg.data.base import Dataset
from fleetseg.data.scenes import render_scene
from fleetseg.data.transforms import Augmentation, paste_rectangle
from fleetseg.errors import DataError, FleetsegError
from fleetseg.training.processes import ALONE, Processes

#: (epoch, index within the epoch): with the seed, all that a training sample depends on.
Key = tuple[int, int]
Pixels = npt.NDArray[np.uint8]
#: An image and its mask, or why they cannot be read.
Item = tuple[Tensor, Tensor] | FleetsegError


class TrainingSamples(TorchDataset[Item]):
    """Augmented samples of a data set, followed by `scenes` built-in scenes that are new in every epoch.

    A share `mix` of them gets a rectangle of another one. With `own_colours` each image has six channels: the
    last three are the same without the change of colours, for a teacher.
    """

    def __init__(
        self,
        samples: Dataset,
        augmentation: Augmentation,
        seed: tuple[int, ...],
        scenes: int = 0,
        mix: float = 0.0,
        own_colours: bool = False,
    ) -> None:
        self.samples = samples
        self.augmentation = augmentation
        self.seed = seed
        self.scenes = scenes
        self.mix = mix
        self.own_colours = own_colours

    def __len__(self) -> int:
        return len(self.samples) + self.scenes

    def __getitem__(self, key: Key) -> Item:
        """((3, H, W) uint8, (H, W) uint8) of the augmentation's size, a function of the seed and `key` alone.

        (6, H, W) with `own_colours`: see `shown_to_network`, `shown_to_teacher`.
        A sample that cannot be read comes as its error: a worker that raised it would send a traceback.
        """
        epoch, index = key
        rng = np.random.default_rng((*self.seed, epoch, index))
        try:
            image, mask = self._augmented(index, rng)
            if self.mix and rng.random() < self.mix:
                paste_rectangle((image, mask), self._augmented(int(rng.integers(len(self))), rng), rng)
        except FleetsegError as error:
            return DataError(str(error))
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)

    def _augmented(self, index: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        image, mask = self.augmentation.placed(*self._sample(index, rng), rng)
        recoloured = self.augmentation.recoloured(image, rng)
        return np.concatenate((recoloured, image), axis=2) if self.own_colours else recoloured, mask

    def _sample(self, index: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        if index < len(self.samples):
            sample = self.samples[index]
            return sample.image, sample.mask
        # Below the seeds of the built-in validation and test scenes (data.scene_dataset.SPLITS).
        return render_scene(int(rng.integers(1_000_000_000)))


def shown_to_network(images: Tensor) -> Tensor:
    """(B, 3, H, W) of a batch's (B, 3 or 6, H, W): augmented in all ways."""
    return images[:, :3]


def shown_to_teacher(images: Tensor) -> Tensor:
    """(B, 3, H, W) of a batch's (B, 3 or 6, H, W): in its own colours where the samples kept them."""
    return images[:, -3:]


class EpochSampler(Sampler[Key]):
    """A new permutation each epoch, from the seed and the epoch's number alone: a resumed run sees it too.

    It is cut into whole batches, and of each batch every process takes its share: the images of a step are the
    same for any number of processes.
    """

    def __init__(self, length: int, batch_size: int, seed: tuple[int, ...], processes: Processes) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.processes = processes
        self.epoch = 0

    @property
    def share(self) -> int:
        """How many images of a batch are this process's."""
        return len(range(self.processes.rank, self.batch_size, self.processes.world))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, and by `EpochEnd` before the first one of a resumed run."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.batch_size * self.share

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng((*self.seed, self.epoch)).permutation(self.length)
        batches = order[: self.length - self.length % self.batch_size].reshape(-1, self.batch_size)
        mine = batches[:, self.processes.rank :: self.processes.world]
        return ((self.epoch, int(index)) for index in mine.flat)


def training_loader(
    samples: TrainingSamples, batch_size: int, workers: int, processes: Processes = ALONE
) -> DataLoader[Item]:
    """Batches of (B, 3 or 6, H, W) and (B, H, W) uint8; the last, incomplete batch of an epoch is dropped.

    B is this process's share of the batch. A batch with a broken sample is that sample's `FleetsegError` instead.
    """
    sampler = EpochSampler(len(samples), min(batch_size, len(samples)), samples.seed, processes)
    return DataLoader(
        samples,
        batch_size=sampler.share,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        multiprocessing_context=_start_method() if workers else None,
        worker_init_fn=_prepare_worker if workers else None,
        # The loader draws a number whenever it starts; from the global generator that would move dropout's
        # numbers, at other places in a resumed run than in an uninterrupted one.
        generator=torch.Generator(),
    )


def collate(items: Sequence[Item]) -> Any:
    """The batch of `items`, or the first error among them."""
    for item in items:
        if isinstance(item, FleetsegError):
            return item
    return default_collate(list(items))


def same_batches(loader: DataLoader[Item]) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of the loader's running epoch once more, read in this process; the first error is raised."""
    assert loader.batch_sampler is not None
    for keys in loader.batch_sampler:
        batch = collate([loader.dataset[key] for key in keys])
        if isinstance(batch, FleetsegError):
            raise batch
        yield batch


def validation_loader(dataset: Dataset, processes: Processes = ALONE) -> DataLoader[Any]:
    """Whole images of whatever sizes, one a batch: (1, 3, H, W) and (1, H, W) uint8; this process's share of them."""
    mine = range(processes.rank, len(dataset), processes.world)
    return DataLoader(WholeImages(dataset), batch_size=None, sampler=mine, generator=torch.Generator())


class WholeImages(TorchDataset[tuple[Tensor, Tensor]]):
    """A data set's samples as tensors, unchanged."""

    def __init__(self, dataset: Dataset) -> None:
        self.samples = dataset

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """((1, 3, H, W) uint8, (1, H, W) uint8); raises `DataError` if the sample is broken."""
        sample = self.samples[index]
        return torch.from_numpy(sample.image).permute(2, 0, 1)[None], torch.from_numpy(sample.mask)[None]


def _start_method() -> str | None:
    """fork shares the cached samples with the workers; systems without it copy them."""
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else None


def _prepare_worker(_worker: int) -> None:
    """Augmentation must not take the cores that train, and Ctrl-C is the main process's affair."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _unless_abandoned
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _unless_abandoned(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show an exception of a worker's helper threads, unless the main process hung up on them: it is leaving."""
    if not issubclass(kind, EOFError | OSError):
        sys.__excepthook__(kind, error, traceback)
