"""The network that another one learns from: anything that `fleetseg.load` opens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

import fleetseg
from fleetseg.errors import UsageError

#: (N, 3, H, W) uint8 RGB → (N, C, h, w) float32 in the data's class order.
TeacherLogits = Callable[[Tensor], Tensor]


def open_teacher(names: Sequence[str], classes: Sequence[str], crop: tuple[int, int]) -> TeacherLogits:
    """The model that `names` holds, or all of them as one; the errors of `Teacher`."""
    teachers = [Teacher(name, classes, crop) for name in names]
    return teachers[0] if len(teachers) == 1 else Ensemble(teachers)


class Ensemble:
    """Several teachers as one: the logarithm of the mean of their class probabilities (Hinton et al., section 2)."""

    def __init__(self, teachers: Sequence[TeacherLogits]) -> None:
        self.teachers = teachers

    def __call__(self, images: Tensor) -> Tensor:
        """As a `Teacher`, at the finest resolution among them."""
        logits = [teacher(images) for teacher in self.teachers]
        height, width = max((one.shape[-2], one.shape[-1]) for one in logits)
        scores = torch.stack([resized_like(one, (height, width)).log_softmax(1) for one in logits])
        return scores.logsumexp(0) - math.log(len(logits))


class Teacher:
    """A loaded model as a function from batches to logits in the data's class order."""

    def __init__(self, name: str, classes: Sequence[str], crop: tuple[int, int]) -> None:
        """`crop` is the (width, height) of the batches.

        Raises the errors of `fleetseg.load`, and `UsageError` for a model that lacks one of `classes` or was compiled
        for another size.
        """
        self.model = fleetseg.load(name)
        missing = [one for one in classes if one not in self.model.classes]
        if missing:
            raise UsageError(
                f"teacher {name}: has no class '{missing[0]}'; its classes are {', '.join(self.model.classes)}, and a "
                f"teacher must know all of the data's: {', '.join(classes)}"
            )
        size = self.model.fixed_size
        if size not in (None, crop):
            raise UsageError(
                f"teacher {name}: is compiled for {size[0]}×{size[1]}, but the crops are {crop[0]}×{crop[1]}; use "
                f"its checkpoint or ONNX file"
            )
        self._order = [self.model.classes.index(one) for one in classes]

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 RGB → (N, C, ⌈H/s⌉, ⌈W/s⌉) float32, s = the teacher's output stride."""
        pictures = images.permute(0, 2, 3, 1).cpu().numpy()
        logits = [torch.from_numpy(self.model.logits(picture)[self._order]) for picture in pictures]
        return torch.stack(logits).to(images.device)


def resized_like(logits: Tensor, student: tuple[int, int]) -> Tensor:
    """A teacher's (N, C, h, w) at the (height, width) of the student's logits: averaged down or bilinear up."""
    if tuple(logits.shape[-2:]) == student:
        return logits
    if logits.shape[-2] > student[0]:
        return F.adaptive_avg_pool2d(logits, student)
    return F.interpolate(logits, size=student, mode="bilinear", align_corners=False)
