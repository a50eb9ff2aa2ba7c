"""How well a teacher knows what a stage will show it.

A teacher may label by chance what it never saw in training, another scale or built-in scenes: sixteen samples show that
before hours are spent. Changed colours it never sees: with them on CamVid the published ESPNet fell from 95% of the
pixels to 76%, and what learned from it lost 3.6 mIoU (docs/log.md, 2026-11-23).
"""

from __future__ import annotations

import numpy as np

from fleetseg.data.transforms import Augmentation
from fleetseg.errors import FleetsegError
from fleetseg.labels import IGNORE_INDEX
from fleetseg.training.loader import TrainingSamples, shown_to_teacher
from fleetseg.training.teacher import TeacherLogits, resized_like

#: Samples looked at, at most.
COUNT = 16

#: A share of right pixels lost by augmentation from which on it is said what to do.
LARGE_LOSS = 0.03


def teacher_sentence(teacher: TeacherLogits, samples: TrainingSamples, only_right: bool = False) -> str | None:
    """What share of the labelled pixels a teacher gets right; None if no sample has a labelled pixel.

    With `only_right`, as in the recipe, what it gets wrong does no harm.
    """
    augmented = _right(teacher, samples)
    plain = Augmentation(samples.augmentation.size)
    as_they_are = _right(teacher, TrainingSamples(samples.samples, plain, samples.seed))
    if augmented is None or as_they_are is None:
        return None
    count = len(_spread(len(samples)))
    sentence = (
        f"the teacher labels {as_they_are:.1%} of the pixels of {count} training samples as the data do, "
        f"{augmented:.1%} after augmentation"
    )
    if as_they_are - augmented > LARGE_LOSS and not only_right:
        sentence += f"; what it sees wrongly it teaches wrongly: try {_hints(samples)}"
    return sentence


def _spread(length: int) -> list[int]:
    """Up to `COUNT` numbers, evenly from the first to the last."""
    return [int(number) for number in np.unique(np.linspace(0, length - 1, COUNT).astype(int))]


def _right(teacher: TeacherLogits, samples: TrainingSamples) -> float | None:
    """The share over samples spread evenly, those of the first epoch."""
    right = labelled = 0
    for index in _spread(len(samples)):
        item = samples[0, index]
        if isinstance(item, FleetsegError):
            continue  # training will say what is wrong with it
        image, mask = item
        logits = resized_like(teacher(shown_to_teacher(image[None])), (mask.shape[0], mask.shape[1]))
        known = mask != IGNORE_INDEX
        right += int((logits.argmax(1)[0] == mask)[known].sum())
        labelled += int(known.sum())
    return right / labelled if labelled else None


def _hints(samples: TrainingSamples) -> str:
    """Which keys of the stage would bring its images nearer to the teacher's."""
    hints = ["distillation.only_right: true"]
    if samples.augmentation.scale != (1.0, 1.0):
        low, high = samples.augmentation.scale
        hints.append(f"a narrower augmentation.scale (it is {low:g} to {high:g})")
    if samples.scenes:
        hints.append(f"scenes: 0 (it is {samples.scenes})")
    return ", ".join(hints)
