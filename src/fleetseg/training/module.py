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
from fleetseg.training.cell_targets import cell_targets
from fleetseg.training.collectives import labelled_weight, total
from fleetseg.training.failed_batch import SaveBatch
from fleetseg.training.loader import same_batches, shown_to_network, shown_to_teacher
from fleetseg.training.objective import Objective, side_loss
from fleetseg.training.optimisers import build_optimiser
from fleetseg.training.precision import Precision
from fleetseg.training.processes import ALONE, Processes
from fleetseg.training.recipe import StageSection
from fleetseg.training.recipe_distillation import SELF
from fleetseg.training.teacher import TeacherLogits
from fleetseg.training.weight_averaging import WeightAverage, estimate_statistics


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
        frozen_norms: frozenset[str] = frozenset(),
        teacher: TeacherLogits | None = None,
        save_batch: SaveBatch | None = None,
    ) -> None:
        """`class_weights` is (C,); `seed` is the stage's, below 2³²; `frozen_norms` keep their running statistics.

        `save_batch` keeps a batch whose loss is no number.
        """
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stage = stage
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.processes = processes
        self.precision_choice = precision
        self.frozen_norms = frozen_norms
        self.teacher = teacher
        self.save_batch = save_batch
        # Copies before the objective, whose auxiliary head listens to the network.
        self.average = AveragedNetwork(network, stage.ema) if stage.ema else None
        self.weight_average = WeightAverage(network) if stage.swa_epochs else None
        self.objective = Objective(network, stage)
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
        if self.weight_average is not None and int(self.weight_average.count):
            network = self.weight_average.module
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

    def _forward_loss(self, images: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision_choice.bf16):
            (logits, _), *side_maps = self.network.training_logits(images)
            auxiliary = self.objective.auxiliary_logits()
        loss: Tensor = self.objective(logits, auxiliary, target, self.class_weights, teacher)
        for side_map, share in side_maps:
            loss = loss + share * side_loss(side_map.float(), target, self.class_weights)
        return loss

    def _teacher_logits(self, images: Tensor) -> Tensor | None:
        """What the teacher says of a batch (B, 3, H, W) uint8; None without one."""
        if self.teacher is not None:
            return self.teacher(images)
        section = self.stage.distillation
        if section is None or SELF not in section.teachers:
            return None
        assert self.average is not None  # the recipe's check
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision_choice.bf16):
            logits: Tensor = self.average.module.eval()(self.normalise(images))
        return logits.float()

    def train(self, mode: bool = True) -> TrainingModule:
        """As usual, but frozen BatchNorms go on using their running statistics."""
        super().train(mode)
        for name in self.frozen_norms:
            self.network.get_submodule(name).eval()
        return self

    def on_train_epoch_start(self) -> None:
        """Dropout's random numbers depend on seed and epoch alone, so that a resumed run draws the same."""
        # No run has 2**20 epochs, so every process draws numbers of its own.
        torch.manual_seed(self.seed * 2**31 + self.processes.rank * 2**20 + self.current_epoch)
        self.train()  # Lightning leaves the modes alone; this one knows of frozen norms
        self.loss_sum, self.batches, self.images = 0.0, 0, 0
        self.learning_rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def training_step(self, batch: tuple[Tensor, Tensor] | FleetsegError, index: int) -> Tensor | None:
        """The recipe's loss; None, which moves no weight, for a batch without a labelled pixel."""
        if isinstance(batch, FleetsegError):
            raise batch
        images, target = batch
        target = cell_targets(target, self.network.output_stride)
        if self.processes.world > 1:
            return self._shared_step(images, target, index)
        self.images += len(images)
        if not bool((target != IGNORE_INDEX).any()):
            return None
        loss = self._finite_loss(images, target, index)
        self.loss_sum += float(loss.detach())
        self.batches += 1
        return loss

    def _finite_loss(self, images: Tensor, target: Tensor, index: int) -> Tensor:
        """The loss of batch number `index`; `TrainingError` if it is no number."""
        normalised = self.normalise(shown_to_network(images))
        teacher = self._teacher_logits(shown_to_teacher(images))
        loss: Tensor = self._loss(normalised, target.long(), *([] if teacher is None else [teacher]))
        value = float(loss.detach())
        if not math.isfinite(value):
            kept = "" if self.save_batch is None else self.save_batch(shown_to_network(images), target, index)
            raise self.diverged(f"the loss became {value}{kept}")
        return loss

    def _shared_step(self, images: Tensor, target: Tensor, index: int) -> Tensor:
        """This process's part of a step of several.

        DDP takes the mean of the gradients of all W processes. Multiplied by W and by its share of the labelled
        pixels' class weights, each one's mean loss makes that the gradient of the whole batch's mean loss.
        """
        weight = labelled_weight(target, self.class_weights)
        if not bool(weight):
            # The loss of no pixel moves nothing; that of one counts nothing with the weight 0.
            target = target.clone()
            target[0, 0, 0] = 0
        loss = self._finite_loss(images, target, index)
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

    def on_train_batch_end(self, _outputs: Any = None, _batch: Any = None, index: int = 0) -> None:
        """Move the averaged weights towards the new ones, where there are new ones."""
        last = index + 1 == self.steps_per_epoch
        if self.average is not None and (last or (index + 1) % self.stage.optimiser.accumulate == 0):
            self.average.update(self.network)
        if self.weight_average is not None and last and self.current_epoch >= self._first_averaged_epoch:
            self._average_epoch(self.weight_average)

    @property
    def _first_averaged_epoch(self) -> int:
        return self.stage.epochs - (self.stage.swa_epochs or 0)

    def _average_epoch(self, average: WeightAverage) -> None:
        """Add this epoch's weights; then BatchNorm sees the epoch's images once more."""
        average.add(self.network)
        loader = self.trainer.train_dataloader
        assert loader is not None
        batches = (self.normalise(shown_to_network(images).to(self.device)) for images, _ in same_batches(loader))

        def forward(images: Tensor) -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision_choice.bf16):
                average.module(images)

        estimate_statistics(average.module, batches, forward, self.frozen_norms)

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
            raise DataError("the validation images have no labelled pixel, so the best weights cannot be told")

    def configure_optimizers(self) -> Any:
        """Adam or AdamW with the stage's schedule, stepped every update."""
        parameters = [*self.network.parameters(), *self.objective.parameters()]
        return build_optimiser(parameters, self.stage, self.steps_per_epoch)


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch.compile for one fixed size; what an earlier stage compiled for its own size is forgotten."""
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)
