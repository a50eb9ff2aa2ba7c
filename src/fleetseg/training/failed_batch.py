"""Keeping the batch on which training failed, so that somebody can look at it."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from fleetseg.atomic import write_bytes
from fleetseg.data.base import Dataset
from fleetseg.errors import OutputError
from fleetseg.training.loader import Item

#: Called with images, target and the batch's number (from 0); returns the sentence's part that names the file.
SaveBatch = Callable[[Tensor, Tensor, int], str]


def batch_saver(path: Path, train_set: Dataset, loader: DataLoader[Item]) -> SaveBatch:
    """Writes batches of `loader` to `path` (.npz: images (N, 3, H, W) and target (N, H, W) uint8, names (N,))."""

    def save(images: Tensor, target: Tensor, index: int) -> str:
        names = _names(train_set, loader, index)
        content = io.BytesIO()
        np.savez_compressed(content, images=images.cpu().numpy(), target=target.cpu().numpy(), names=np.array(names))
        told = f" on the batch of {', '.join(names)}"
        try:
            write_bytes(path, content.getvalue())
        except OutputError as error:  # what went wrong first is said first
            return f"{told}, which is not kept ({error})"
        return f"{told}, which is kept in {path}"

    return save


def _names(train_set: Dataset, loader: DataLoader[Item], index: int) -> list[str]:
    """Which samples the running epoch's batch number `index` holds."""
    assert loader.batch_sampler is not None
    keys = next(islice(iter(loader.batch_sampler), index, None))
    numbers = [number for _, number in keys]
    return [train_set[number].name if number < len(train_set) else "a built-in scene" for number in numbers]
