"""From NumPy samples to batches: this is where tensors begin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from fleetseg.data.base import Dataset, Sample
from fleetseg.data.scenes import render_scene
from fleetseg.data.transforms import Augmentation

#: (epoch, index within the epoch): with the seed, all that a training sample depends on.
Key = tuple[int, int]


class CachedSamples:
    """A data set whose decoded samples stay in memory (uint8), filled on first use or by `fill`."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._samples: list[Sample | None] = [None] * len(dataset)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self._samples[index]
        if sample is None:
            sample = self._samples[index] = self.dataset[index]
        return sample

    def fill(self) -> None:
        """Decode everything now, before worker processes copy it."""
        for index in range(len(self)):
            self[index]


class TrainingSamples(TorchDataset[tuple[Tensor, Tensor]]):
    """Augmented samples of a data set, followed by `scenes` built-in scenes that are new in every epoch."""

    def __init__(
        self, samples: CachedSamples | Dataset, augmentation: Augmentation, seed: tuple[int, ...], scenes: int = 0
    ) -> None:
        self.samples = samples
        self.augmentation = augmentation
        self.seed = seed
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.samples) + self.scenes

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        """((3, H, W) uint8, (H, W) uint8) of the augmentation's size, a function of the seed and `key` alone."""
        epoch, index = key
        rng = np.random.default_rng((*self.seed, epoch, index))
        if index < len(self.samples):
            sample = self.samples[index]
            image, mask = sample.image, sample.mask
        else:
            # Below the seeds of the built-in validation and test scenes (data.scene_dataset.SPLITS).
            image, mask = render_scene(int(rng.integers(1_000_000_000)))
        image, mask = self.augmentation(image, mask, rng)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)


class EpochSampler(Sampler[Key]):
    """A new permutation each epoch, from the seed and the epoch's number alone, so that a resumed run sees it too."""

    def __init__(self, length: int, seed: tuple[int, ...]) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng((*self.seed, self.epoch)).permutation(self.length)
        return ((self.epoch, int(index)) for index in order)


def training_loader(samples: TrainingSamples, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of (B, 3, H, W) and (B, H, W) uint8; the last, incomplete batch of an epoch is dropped."""
    return DataLoader(
        samples,
        batch_size=min(batch_size, len(samples)),
        sampler=EpochSampler(len(samples), samples.seed),
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_single_threaded if workers else None,
    )


def _single_threaded(_worker: int) -> None:
    """Augmentation must not take the cores that train."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
