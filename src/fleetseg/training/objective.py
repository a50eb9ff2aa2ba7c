"""All that a stage minimises: the loss of the labels, the auxiliary head's, the distance from a teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork
from fleetseg.training.auxiliary import ENCODER_STRIDE, AuxiliaryHead
from fleetseg.training.cell_targets import cell_targets
from fleetseg.training.losses import build_loss
from fleetseg.training.losses.distillation import distillation_loss
from fleetseg.training.losses.weighted_mean import pixel_cross_entropy, pixel_weights, weighted_mean
from fleetseg.training.recipe import StageSection
from fleetseg.training.teacher import resized_like


class Objective(nn.Module):
    """A stage's loss; its parameters, if any, are the auxiliary head's."""

    def __init__(self, network: SegmentationNetwork, stage: StageSection) -> None:
        super().__init__()
        self.loss = build_loss(stage.loss.terms)
        self.weight = stage.loss.auxiliary
        self.auxiliary = AuxiliaryHead(network) if self.weight else None
        self.distillation = stage.distillation

    def auxiliary_logits(self) -> Tensor | None:
        """(N, C, H/8, W/8) after the network's forward pass; None without an auxiliary head."""
        return None if self.auxiliary is None else self.auxiliary.logits()

    def forward(
        self,
        logits: Tensor,
        auxiliary: Tensor | None,
        target: Tensor,
        class_weights: Tensor,
        teacher: Tensor | None,
    ) -> Tensor:
        """(N, C, H, W) logits, (N, H, W) int64 target of that size, the teacher's logits of any size → the loss."""
        loss = self.loss(logits, target, class_weights)
        if auxiliary is not None:
            cells = cell_targets(target, ENCODER_STRIDE)
            losses = pixel_cross_entropy(auxiliary.float(), cells)
            loss = loss + self.weight * weighted_mean(losses, pixel_weights(cells, class_weights))
        if self.distillation is not None and teacher is not None:
            height, width = logits.shape[-2:]
            loss = loss + distillation_loss(self.distillation, logits, resized_like(teacher, (height, width)), target)
        return loss


def side_loss(logits: Tensor, target: Tensor, class_weights: Tensor) -> Tensor:
    """Weighted cross-entropy of a map that a network supervises beside its logits: (N, C, h, w), of any size.

    Labels are those nearest to the map's centres; a map that is left without any costs nothing.
    """
    nearest = F.interpolate(target[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")[:, 0].long()
    return weighted_mean(pixel_cross_entropy(logits, nearest), pixel_weights(nearest, class_weights))
