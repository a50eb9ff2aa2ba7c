"""What training minimises, one loss a file; `total` sums them up as a recipe says.

All take (N, C, H, W) float32 logits and (N, H, W) int64 targets with 255 for unlabelled pixels, which give no gradient;
where no pixel is labelled the loss is 0. Shapes are static and nothing branches on values, for `torch.compile`.
"""

from fleetseg.training.losses.total import Loss, build_loss

__all__ = ["Loss", "build_loss"]
