"""Batches: what they hold depends on seed, epoch and index alone, and errors come through as sentences."""

from __future__ import annotations

import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fleetseg.data import open_dataset
from fleetseg.data.base import Sample
from fleetseg.data.transforms import Augmentation
from fleetseg.errors import DataError, FleetsegError
from fleetseg.labels import CAMVID_11, IGNORE_INDEX, LabelSet, label_set
from fleetseg.training.loader import (
    EpochSampler,
    TrainingSamples,
    shown_to_network,
    shown_to_teacher,
    training_loader,
    validation_loader,
)
from fleetseg.training.samples import CachedSamples, cached

AUGMENTATION = Augmentation((32, 24), (0.6, 1.4), flip=0.5, colour=0.3)


class Numbers:
    """Sample i is an image of the value i; `broken` cannot be read. Counts how often it is read."""

    name, split = "numbers", "train"
    labels: LabelSet = label_set(["a", "b"])

    def __init__(self, count: int, broken: int | None = None) -> None:
        self.count = count
        self.broken = broken
        self.reads = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        if index == self.broken:
            raise DataError("/data/numbers/7.png: the image is broken")
        return Sample(np.full((24, 32, 3), index, np.uint8), np.full((24, 32), index % 2, np.uint8), str(index))


def batches(data: Path, workers: int, epochs: list[int], scenes: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    samples = TrainingSamples(open_dataset(data, "train"), AUGMENTATION, (4, 1), scenes)
    loader = training_loader(samples, batch_size=2, workers=workers)
    assert isinstance(loader.sampler, EpochSampler)
    found = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        found += [(images, target) for images, target in loader]
    return found


def equal(one: list[tuple[torch.Tensor, torch.Tensor]], other: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


def test_batches_do_not_depend_on_the_number_of_workers(tiny_data: Path) -> None:
    alone = batches(tiny_data, 0, [0, 1])
    assert equal(alone, batches(tiny_data, 1, [0, 1]))
    assert equal(alone, batches(tiny_data, 2, [0, 1]))


def test_an_epoch_alone_is_as_after_the_epochs_before_it(tiny_data: Path) -> None:
    assert equal(batches(tiny_data, 0, [0, 1, 2])[6:], batches(tiny_data, 0, [2]))


def test_epochs_differ(tiny_data: Path) -> None:
    assert not equal(batches(tiny_data, 0, [0]), batches(tiny_data, 0, [1]))


def test_mixed_samples_are_two_of_the_data_and_the_others_as_without() -> None:
    """Sample i has the value i everywhere, so the values in a sample tell where its pixels are from."""
    plain, half, every = (TrainingSamples(Numbers(9), Augmentation((32, 24)), (3,), mix=mix) for mix in (0.0, 0.5, 1.0))
    for index in range(9):
        image, mask = every[0, index]
        found = sorted(set(image.unique().tolist()) - {index})
        assert len(found) <= 1 and index in image
        assert torch.equal(mask, image[0] % 2)
        assert torch.equal(every[0, index][0], image) and torch.equal(
            plain[0, index][0].unique(), torch.tensor([index])
        )
    mixed = [len(half[epoch, index][0].unique()) == 2 for epoch in range(20) for index in range(9)]
    assert 0.3 < sum(mixed) / len(mixed) < 0.6
    broken = TrainingSamples(Numbers(2, broken=1), Augmentation((32, 24)), (3,), mix=1.0)
    assert {isinstance(broken[epoch, 0], DataError) for epoch in range(20)} == {True, False}


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_a_teacher_sees_the_same_pixels_in_their_own_colours(tiny_data: Path, mix: float) -> None:
    """A sample's own colours are those of its classes, wherever scale, crop, flip and a pasted rectangle put them."""

    def samples(colour: float, own_colours: bool) -> TrainingSamples:
        data = CachedSamples(open_dataset(tiny_data, "train"))
        augmentation = Augmentation((32, 24), (1.0, 1.0), flip=0.5, colour=colour)
        return TrainingSamples(data, augmentation, (3, 1), mix=mix, own_colours=own_colours)

    image, mask = samples(0.8, own_colours=True)[0, 2]
    ours, theirs = shown_to_network(image[None])[0], shown_to_teacher(image[None])[0]
    alone = samples(0.8, own_colours=False)[0, 2]
    assert torch.equal(ours, alone[0]) and torch.equal(mask, alone[1])
    assert torch.equal(shown_to_teacher(alone[0][None])[0], ours)
    assert not torch.equal(ours, theirs)
    assert torch.equal(theirs[:, mask != IGNORE_INDEX].argmax(0), mask[mask != IGNORE_INDEX])


def test_types_and_shapes(tiny_data: Path) -> None:
    images, target = batches(tiny_data, 0, [0])[0]
    assert (images.shape, images.dtype) == ((2, 3, 24, 32), torch.uint8)
    assert (target.shape, target.dtype) == ((2, 24, 32), torch.uint8)


def test_an_epoch_holds_every_sample_once() -> None:
    samples = TrainingSamples(Numbers(9), Augmentation((32, 24)), (0,))
    loader = training_loader(samples, batch_size=4, workers=0)
    seen = [int(image[0, 0, 0]) for images, _ in loader for image in images]
    assert len(loader) == 2  # the ninth sample is left over
    assert len(set(seen)) == 8 and set(seen) <= set(range(9))


def test_fewer_samples_than_a_batch() -> None:
    loader = training_loader(TrainingSamples(Numbers(3), AUGMENTATION, (0,)), batch_size=8, workers=0)
    assert [len(images) for images, _ in loader] == [3]


def test_built_in_scenes_follow_the_data_and_are_new_in_every_epoch() -> None:
    data = Numbers(1)
    data.labels = CAMVID_11
    samples = TrainingSamples(data, Augmentation((480, 360)), (0,), scenes=2)
    assert len(samples) == 3
    pictures = [samples[0, 1], samples[0, 2], samples[1, 1]]
    assert all(isinstance(item, tuple) for item in pictures)
    images = [item[0] for item in pictures if isinstance(item, tuple)]
    assert not torch.equal(images[0], images[1]) and not torch.equal(images[0], images[2])
    again = samples[0, 1]
    assert isinstance(again, tuple) and torch.equal(images[0], again[0])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_sample_comes_as_its_own_sentence(workers: int) -> None:
    loader = training_loader(TrainingSamples(Numbers(8, broken=7), AUGMENTATION, (0,)), 2, workers)
    errors = [batch for batch in loader if isinstance(batch, FleetsegError)]
    assert [str(error) for error in errors] == ["/data/numbers/7.png: the image is broken"]


def test_starting_a_loader_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for loader in (
        training_loader(TrainingSamples(Numbers(4), AUGMENTATION, (0,)), 2, 0),
        validation_loader(Numbers(2)),
    ):
        list(loader)
    assert torch.equal(before, torch.get_rng_state())


def test_validation_sees_whole_images_in_order() -> None:
    found = list(validation_loader(Numbers(3)))
    assert [(images.shape, target.shape) for images, target in found] == [((1, 3, 24, 32), (1, 24, 32))] * 3
    assert [int(images[0, 0, 0, 0]) for images, _ in found] == [0, 1, 2]


def test_the_cache_reads_once() -> None:
    data = Numbers(5)
    cached = CachedSamples(data)
    cached.fill()
    assert [int(cached[index].image[0, 0, 0]) for index in range(5)] == [0, 1, 2, 3, 4]
    assert data.reads == 5
    assert (cached.name, cached.labels, len(cached)) == ("numbers", data.labels, 5)


def test_a_cache_that_would_not_fit_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_a_sample = 24 * 32 * 4
    monkeypatch.setattr("fleetseg.training.samples.available_memory", lambda: 2 * 10 * bytes_a_sample)
    assert isinstance(cached(Numbers(10), True), CachedSamples)
    eleven = Numbers(11)
    assert cached(eleven, True) is eleven


def test_what_is_drawn_has_no_file_on_disk(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(cached(open_dataset("scenes:2", "train"), "disk"), CachedSamples)
    assert "train: 2 images, 1.4 MB decoded, kept in memory" in capsys.readouterr().err


def test_large_images_behind_a_small_one_are_seen_before_the_cache_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Growing(Numbers):
        def __getitem__(self, index: int) -> Sample:
            side = 8 * (1 + index)
            return Sample(np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8), str(index))

    whole = sum(4 * (8 * (1 + index)) ** 2 for index in range(40))
    monkeypatch.setattr("fleetseg.training.samples.available_memory", lambda: whole)
    growing = Growing(40)
    assert cached(growing, True) is growing


def test_a_data_set_that_streams_leaves_nothing_behind() -> None:
    """After two epochs no more samples are alive than a batch has."""
    alive: weakref.WeakValueDictionary[int, np.ndarray[Any, Any]] = weakref.WeakValueDictionary()

    class Tracked(Numbers):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            alive[self.reads] = sample.image
            return sample

    loader = training_loader(TrainingSamples(Tracked(40), AUGMENTATION, (0,)), 4, 0)
    most = max(len(alive) for _ in range(2) for _ in loader)
    assert most <= 4 and len(loader) == 10


def test_a_broken_sample_in_the_cache_is_named() -> None:
    with pytest.raises(DataError, match=re.escape("/data/numbers/7.png: the image is broken")):
        CachedSamples(Numbers(8, broken=7)).fill()
