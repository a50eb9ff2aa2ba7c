"""The Lightning module of one stage: loss, optimiser, averaged weights, validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from fleetseg.errors import DataError, FleetsegError, TrainingError
from fleetseg.labels import IGNORE_INDEX
from fleetseg.metadata import Normalisation
from fleetseg.metrics import ConfusionMatrix, Scores
from fleetseg.models.base import SegmentationNetwork
from fleetseg.training.averaging import AveragedNetwork
from fleetseg.training.collectives import labelled_weight, total
from fleetseg.training.precision import Precision
from fleetseg.training.processes import ALONE, Processes
from fleetseg.training.recipe import StageSection
from fleetseg.training.schedules import learning_rate_factor


class TrainingModule(pl.LightningModule):
    """One stage of one run. Batches are uint8; normalisation, loss and averaging happen here."""

    class_weights: Tensor
    mean: Tensor
    factor: Tensor

    def __init__(
        self,
        network: SegmentationNetwork,
        stage: StageSection,
        normalisation: Normalisation,
        class_weights: npt.NDArray[np.float32],
        steps_per_epoch: int,
        seed: int,
        precision: Precision,
        processes: Processes = ALONE,
    ) -> None:
        """`class_weights` is (C,); `seed` is the stage's, below 2³²."""
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stage = stage
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.processes = processes
        self.precision_choice = precision
        self.average = AveragedNetwork(network, stage.ema) if stage.ema else None
        self._constant("class_weights", torch.from_numpy(class_weights))
        self._constant("mean", torch.tensor(normalisation.mean).view(1, -1, 1, 1))
        self._constant("factor", normalisation.scale / torch.tensor(normalisation.std).view(1, -1, 1, 1))
        self.flip_channels = normalisation.order == "bgr"
        self._loss = compiled(self._forward_loss) if precision.compile else self._forward_loss
        self.loss_sum = 0.0
        self.batches = self.images = 0
        self.learning_rate = stage.optimiser.learning_rate
        self.matrix = ConfusionMatrix(network.num_classes)
        self.scores: Scores | None = None

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    @property
    def best_network(self) -> SegmentationNetwork:
        """The network that is validated and saved: the averaged one where there is one."""
        network = self.average.module if self.average is not None else self.network
        assert isinstance(network, SegmentationNetwork)
        return network

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 → float32, channels_last."""
        if self.flip_channels:
            images = images.flip(1)
        values = images.to(memory_format=torch.channels_last).float()
        # In place: three images' worth of memory a step less.
        result: Tensor = values.sub_(self.mean).mul_(self.factor)
        return result

    def _forward_loss(self, images: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision_choice.bf16):
            logits = self.network(images)
        return F.cross_entropy(logits.float(), target, self.class_weights, ignore_index=IGNORE_INDEX)

    def on_train_epoch_start(self) -> None:
        """Dropout's random numbers depend on seed and epoch alone, so that a resumed run draws the same."""
        # No run has 2**20 epochs, so every process draws numbers of its own.
        torch.manual_seed(self.seed * 2**31 + self.processes.rank * 2**20 + self.current_epoch)
        self.loss_sum, self.batches, self.images = 0.0, 0, 0
        self.learning_rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def training_step(self, batch: tuple[Tensor, Tensor] | FleetsegError, _index: int) -> Tensor | None:
        """Weighted cross-entropy; None, which moves no weight, for a batch without a labelled pixel."""
        if isinstance(batch, FleetsegError):
            raise batch
        images, target = batch
        target = cell_targets(target, self.network.output_stride)
        if self.processes.world > 1:
            return self._shared_step(images, target)
        loss: Tensor = self._loss(self.normalise(images), target.long())
        value = float(loss.detach())
        self.images += len(images)
        if not math.isfinite(value):
            if bool((target != IGNORE_INDEX).any()):
                raise self.diverged(f"the loss became {value}")
            return None
        self.loss_sum += value
        self.batches += 1
        return loss

    def _shared_step(self, images: Tensor, target: Tensor) -> Tensor:
        """This process's part of a step of several.

        DDP takes the mean of the gradients of all W processes. Multiplied by W and by its share of the labelled
        pixels' class weights, each one's mean loss makes that the gradient of the whole batch's mean loss.
        """
        weight = labelled_weight(target, self.class_weights)
        if not bool(weight):
            # The loss of no pixel is no number; that of one counts nothing with the weight 0.
            target = target.clone()
            target[0, 0, 0] = 0
        loss: Tensor = self._loss(self.normalise(images), target.long())
        if not bool(torch.isfinite(loss)):
            raise self.diverged(f"the loss became {float(loss.detach())}")
        mine = torch.stack((weight, weight * loss.detach(), weight.new_tensor(len(images))))
        whole_weight, whole_loss, count = total(self.processes, mine).tolist()
        self.images += int(count)
        if not whole_weight:
            return loss * 0.0
        self.loss_sum += whole_loss / whole_weight
        self.batches += 1
        return loss * float(weight * self.processes.world / whole_weight)

    def diverged(self, what: str) -> TrainingError:
        """The error for weights that are no numbers any more."""
        epoch = self.current_epoch + 1
        kept = f"the weights of epoch {epoch - 1} are kept" if epoch > 1 else "no epoch was finished"
        return TrainingError(
            f"stage {self.stage.name}, epoch {epoch}: {what}; {kept}; try a lower "
            f"stages.{self.stage.name}.optimiser.learning_rate (it is {self.stage.optimiser.learning_rate:g})"
        )

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the averaged weights towards the new ones."""
        if self.average is not None:
            self.average.update(self.network)

    @property
    def mean_loss(self) -> float:
        """Mean training loss of the epoch so far."""
        return self.loss_sum / max(1, self.batches)

    def on_validation_epoch_start(self) -> None:
        """A fresh confusion matrix."""
        self.matrix = ConfusionMatrix(self.network.num_classes)

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Count one batch of whole images into the confusion matrix."""
        images, target = batch
        self.matrix.add(target.cpu().numpy(), self.predict_masks(images).cpu().numpy())

    def predict_masks(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 → (B, H, W) uint8 class ids, by the network that is validated."""
        network = self.best_network.eval()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision_choice.bf16):
            logits = network(self.normalise(images))
        if network.output_stride > 1:
            size = [side * network.output_stride for side in logits.shape[-2:]]
            logits = F.interpolate(logits.float(), size=size, mode="bilinear")
        rows, columns = images.shape[-2:]
        masks: Tensor = logits[..., :rows, :columns].argmax(1).to(torch.uint8)
        return masks

    def on_validation_epoch_end(self) -> None:
        """Divide once, over the images of all processes."""
        counts = torch.from_numpy(self.matrix.counts).to(self.device)
        self.matrix.counts = total(self.processes, counts).cpu().numpy()
        self.scores = self.matrix.scores()
        if math.isnan(self.scores.miou):
            raise DataError("the split 'val' has no labelled pixel, so the best weights cannot be told")

    def configure_optimizers(self) -> Any:
        """Adam or AdamW with the stage's schedule, stepped every batch."""
        section = self.stage.optimiser
        cls = torch.optim.AdamW if section.name == "adamw" else torch.optim.Adam
        optimiser = cls(
            self.network.parameters(), lr=section.learning_rate, weight_decay=section.weight_decay, fused=True
        )
        factor = learning_rate_factor(self.stage.schedule, self.stage.epochs, self.steps_per_epoch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def cell_targets(target: Tensor, stride: int) -> Tensor:
    """(B, H, W) → (B, ⌈H/stride⌉, ⌈W/stride⌉): the label at the centre of each logit's cell.

    A cell at the right or bottom edge whose centre lies beyond the image is unlabelled.
    """
    if stride == 1:
        return target
    height, width = target.shape[-2:]
    padded = F.pad(target, (0, -width % stride, 0, -height % stride), value=IGNORE_INDEX)
    return padded[:, stride // 2 :: stride, stride // 2 :: stride]


def compiled(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """torch.compile for one fixed size; what an earlier stage compiled for its own size is forgotten."""
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)
