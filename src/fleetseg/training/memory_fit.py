"""Which batch size fits into memory, tried out after one did not."""

from __future__ import annotations

import gc

import torch

from fleetseg.labels import IGNORE_INDEX
from fleetseg.training.module import TrainingModule


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a processor or a GPU."""
    text = str(error)
    wanted = "can't allocate memory" in text or "not enough memory" in text
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (isinstance(error, RuntimeError) and wanted)


def fitting_batch_size(module: TrainingModule, too_large: int) -> int | None:
    """The largest of the halves of `too_large` whose forward and backward pass fit; None if not even 2 does.

    A batch of one image is left out: at small crops BatchNorm cannot learn from it.
    """
    module._loss = module._forward_loss  # compiled anew for every size it would take minutes
    size = too_large // 2
    while size >= 2:
        gc.collect()
        try:
            _step(module, size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                return None
        else:
            return size
        finally:
            module.zero_grad(set_to_none=True)
        size //= 2
    return None


def _step(module: TrainingModule, images: int) -> None:
    """Forward and backward on images of the stage's size, all of one class but for a corner."""
    width, height = module.stage.augmentation.crop
    target = torch.zeros((images, height, width), dtype=torch.uint8, device=module.device)
    target[:, :8, :8] = IGNORE_INDEX
    batch = torch.zeros((images, 3, height, width), dtype=torch.uint8, device=module.device), target
    loss = module.training_step(batch, 0)
    if loss is not None:
        loss.backward()  # type: ignore[no-untyped-call]
