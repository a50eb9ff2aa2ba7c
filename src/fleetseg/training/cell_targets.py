"""Labels for logits at a fraction of the image's size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX


def cell_targets(target: Tensor, stride: int) -> Tensor:
    """(B, H, W) → (B, ⌈H/stride⌉, ⌈W/stride⌉): the label at the centre of each logit's cell.

    A cell at the right or bottom edge whose centre lies beyond the image is unlabelled.
    """
    if stride == 1:
        return target
    height, width = target.shape[-2:]
    padded = F.pad(target, (0, -width % stride, 0, -height % stride), value=IGNORE_INDEX)
    return padded[:, stride // 2 :: stride, stride // 2 :: stride]
