"""How far mIoU would move with other images: confidence intervals, and a paired test of two models.

The images of a split are the sample; pixels of one image are no independent observations. Neighbouring frames of
a video are not independent either, and then the true interval is wider than the one given here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleetseg.metrics.image_counts import ImageCounts, iou_of
from fleetseg.metrics.scores import Floats

#: Resamples: enough for the second decimal of a percentage.
RESAMPLES = 2000

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value and its bootstrap percentile interval, fractions."""

    value: float
    low: float
    high: float
    level: float = LEVEL


@dataclass(frozen=True)
class PairedTest:
    """mIoU of a first model less that of a second one on the same images."""

    difference: Interval
    #: Two-sided: how often swapping the models' results image by image, at random, gives a difference as large.
    p_value: float
    images: int


def miou_interval(counts: ImageCounts, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """mIoU over all images and its interval over resamples of whole images (Efron's percentile method)."""
    drawn = _draws(len(counts), resamples, seed) @ counts.flat()
    return _interval(_miou(counts.flat().sum(axis=0)[None])[0], _miou(drawn))


def paired_test(first: ImageCounts, second: ImageCounts, resamples: int = RESAMPLES, seed: int = 0) -> PairedTest:
    """The difference of two models on the same images in the same order.

    Its interval resamples images, both models' results together; its p-value is that of the randomisation test
    in which each image's two results change places with probability one half.
    """
    if first.sums.shape != second.sums.shape:
        raise ValueError(f"{first.sums.shape} and {second.sums.shape}: the models saw other images or classes")
    one, two = first.flat(), second.flat()
    draws = _draws(len(first), resamples, seed)
    difference = _miou(one.sum(axis=0)[None])[0] - _miou(two.sum(axis=0)[None])[0]
    interval = _interval(difference, _miou(draws @ one) - _miou(draws @ two))
    swapped = np.random.default_rng(seed + 1).integers(0, 2, (resamples, len(first))) @ (two - one)
    chance = _miou(one.sum(axis=0) + swapped) - _miou(two.sum(axis=0) - swapped)
    as_large = np.count_nonzero(np.abs(chance) >= abs(difference) - 1e-12)
    # The arrangement that was observed is one of the possible ones, so p is never zero.
    return PairedTest(interval, (1 + int(as_large)) / (1 + resamples), len(first))


def _draws(images: int, resamples: int, seed: int) -> Floats:
    """(resamples, images): how often each image is drawn when as many are drawn as there are."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)


def _miou(flat: Floats) -> Floats:
    """(n, 3 · classes) sums → (n,) mIoU over the classes that each resample has; NaN where it has none."""
    iou = iou_of(flat.reshape(len(flat), 3, -1))
    present = ~np.isnan(iou)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, iou, 0).sum(axis=1) / present.sum(axis=1), np.float64)


def _interval(value: float, drawn: Floats) -> Interval:
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))
