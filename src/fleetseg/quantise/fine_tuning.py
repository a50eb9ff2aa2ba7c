"""Quantisation-aware fine-tuning: training with rounded weights and maps, towards the float network's own answers.

The forward pass rounds each convolution's weights (8 bits with sign, a scale an output channel), what it reads, and
what BatchNorm gives (8 bits, a scale a map), as int8 files do; gradients pass through the rounding where nothing was
cut off (Jacob et al., arXiv 1712.05877; Bengio et al., arXiv 1308.3432). BatchNorm keeps its statistics, as in an
exported file. The loss is the divergence from the float network's class probabilities, so unlabelled pixels teach too.
What comes out is an ordinary float network that loses less when it is quantised.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fleetseg.data import Dataset
from fleetseg.data.transforms import Augmentation
from fleetseg.errors import TrainingError
from fleetseg.metadata import ModelMetadata
from fleetseg.quantise.calibration import Track, untold
from fleetseg.training.losses.distillation import pixel_divergence

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)

#: Images a step; Adam's rate at the beginning, zero at the end.
BATCH_SIZE, LEARNING_RATE = 4, 2e-4

#: Batches that set the ranges of maps before the first step.
_RANGE_BATCHES = 8

#: How much a batch moves the ranges afterwards.
_MOMENTUM = 0.02

#: Where images have no common size.
_USUAL_SIZE = (480, 360)


class RoundedWeight(nn.Module):
    """A weight as 8-bit integers with one scale an output channel would have it."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape; gradients as if nothing were rounded."""
        others = [axis for axis in range(weight.dim()) if axis != self.axis]
        step = (weight.detach().abs().amax(others) / 127).clamp_min(1e-12)
        zeros = torch.zeros_like(step, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, step, zeros, self.axis, -127, 127)


class RoundedMap(nn.Module):
    """A map as 8-bit integers with one scale would have it; the range is a running mean of its extremes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("extremes", torch.zeros(2))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.watching = True

    extremes: Tensor
    seen: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same; while watching it only learns the range."""
        if self.training:
            self._watch(x.detach())
        if self.watching:
            return x
        least, largest = self.extremes[0].clamp(max=0), self.extremes[1].clamp(min=0)
        step = ((largest - least) / 255).clamp_min(1e-12)
        zero = (-least / step).round().clamp(0, 255).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x, step, zero, 0, 255)

    def _watch(self, x: Tensor) -> None:
        images = x.flatten(1)
        found = torch.stack((images.amin(1).mean(), images.amax(1).mean()))
        self.seen += 1
        weight = max(_MOMENTUM, 1 / int(self.seen))
        self.extremes += weight * (found - self.extremes)


def fine_tuned(
    network: nn.Module,
    metadata: ModelMetadata,
    train: Dataset,
    size: tuple[int, int] | None,
    epochs: int,
    *,
    seed: int = 0,
    track: Track = untold,
) -> nn.Module:
    """A copy of `network` after `epochs` over `train`, images resized to `size` = (width, height) and mirrored.

    `TrainingError` if the loss stops being a number.
    """
    teacher = copy.deepcopy(network).eval()
    student = copy.deepcopy(network)
    maps = _round(student)
    samples = _Batches(train, metadata, size or metadata.train_size or _USUAL_SIZE, seed)
    student.eval()
    for module in maps:
        module.train()
    with torch.no_grad():
        for batch in samples.first(_RANGE_BATCHES):
            student(batch)
    for module in maps:
        module.watching = False
    optimiser = torch.optim.Adam(student.parameters(), LEARNING_RATE)
    steps = epochs * samples.per_epoch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(epochs):
        for batch in track(samples.epoch(epoch), f"Fine-tuning, epoch {epoch + 1} of {epochs}"):
            _step(student, teacher, batch, optimiser)
            schedule.step()
    return _unrounded(student, network)


def _step(student: nn.Module, teacher: nn.Module, batch: Tensor, optimiser: torch.optim.Optimizer) -> None:
    with torch.no_grad():
        expected = teacher(batch)
    found = student(batch)
    everywhere = torch.ones_like(found[:, 0], dtype=torch.bool)
    loss = pixel_divergence(found, expected, everywhere, 1.0)
    if not torch.isfinite(loss):
        raise TrainingError("quantisation-aware fine-tuning: the loss is no number any more; try fewer epochs")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _round(network: nn.Module) -> list[RoundedMap]:
    """Make `network` round, in place; its modules that round maps."""
    maps: list[RoundedMap] = []
    for module in list(network.modules()):
        if isinstance(module, _CONVOLUTIONS):
            axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
            parametrize.register_parametrization(module, "weight", RoundedWeight(axis))
            module.add_module("rounded_input", rounded := RoundedMap())
            module.register_forward_pre_hook(_of_input(rounded))
            maps.append(rounded)
        elif isinstance(module, nn.BatchNorm2d):
            module.add_module("rounded_output", rounded := RoundedMap())
            module.register_forward_hook(_of_output(rounded))
            maps.append(rounded)
    return maps


def _of_input(rounded: RoundedMap) -> Any:
    return lambda _module, inputs: (rounded(inputs[0]), *inputs[1:])


def _of_output(rounded: RoundedMap) -> Any:
    return lambda _module, _inputs, output: rounded(output)


def _unrounded(student: nn.Module, network: nn.Module) -> nn.Module:
    """A copy of `network` with the student's weights."""
    found = {
        key.replace(".parametrizations.weight.original", ".weight"): value
        for key, value in student.state_dict().items()
        if ".rounded_" not in key and not key.endswith((".extremes", ".seen"))
    }
    result = copy.deepcopy(network)
    result.load_state_dict(found)
    return result.eval()


class _Batches:
    """Normalised batches of a data set's images, in a new order each epoch."""

    def __init__(self, train: Dataset, metadata: ModelMetadata, size: tuple[int, int], seed: int) -> None:
        self._train, self._metadata, self._seed = train, metadata, seed
        self._augmentation = Augmentation(size, flip=0.5)
        self.per_epoch = max(1, len(train) // BATCH_SIZE)

    def first(self, count: int) -> Iterator[Tensor]:
        """Of epoch 0."""
        epoch = self.epoch(0)
        return (epoch[index] for index in range(min(count, len(epoch))))

    def epoch(self, number: int) -> _Epoch:
        """All of one epoch."""
        order = np.random.default_rng((self._seed, number)).permutation(len(self._train))
        return _Epoch(self, [order[i * BATCH_SIZE : (i + 1) * BATCH_SIZE] for i in range(self.per_epoch)], number)

    def batch(self, indices: Any, epoch: int) -> Tensor:
        """(N, C, H, W) float32, a function of the seed, the epoch and `indices`."""
        images = []
        for index in indices:
            sample = self._train[int(index)]
            rng = np.random.default_rng((self._seed, epoch, int(index)))
            image, _ = self._augmentation(sample.image, sample.mask, rng)
            images.append(self._metadata.normalisation.apply(image))
        return torch.from_numpy(np.concatenate(images))


class _Epoch:
    """A sized collection of batches, made when they are asked for."""

    def __init__(self, source: _Batches, indices: list[Any], number: int) -> None:
        self._source, self._indices, self._number = source, indices, number

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, place: int) -> Tensor:
        return self._source.batch(self._indices[place], self._number)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[place] for place in range(len(self)))
