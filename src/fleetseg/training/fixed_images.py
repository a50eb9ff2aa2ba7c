"""The same few validation images after every validation, in TensorBoard: how the predictions change."""

from __future__ import annotations

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from fleetseg.data.base import Dataset
from fleetseg.pictures import comparison
from fleetseg.training.module import TrainingModule

#: How many images, spread evenly over the split.
COUNT = 4
#: Pictures wider than this are made smaller (pixels).
_WIDTH = 1000


class FixedImages(pl.Callback):
    """Image, label, prediction and wrong pixels of `COUNT` images as TensorBoard images STAGE/NAME."""

    def __init__(self, dataset: Dataset, count: int = COUNT) -> None:
        self.dataset = dataset
        self.numbers = sorted({number * len(dataset) // count for number in range(count)})

    @torch.no_grad()
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict and write them under the number of the epoch that ends."""
        assert isinstance(pl_module, TrainingModule)
        writers = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        for number in self.numbers if writers else []:
            sample = self.dataset[number]
            image = torch.from_numpy(sample.image).permute(2, 0, 1)[None].to(pl_module.device)
            mask = pl_module.predict_masks(image)[0].cpu().numpy()
            picture = comparison(sample.image, sample.mask, mask, self.dataset.labels, sample.name)
            height, width = picture.shape[:2]
            if width > _WIDTH:
                size = (_WIDTH, round(height * _WIDTH / width))
                picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
            for writer in writers:
                tag = f"{pl_module.stage.name}/{sample.name}"
                writer.add_image(tag, picture, trainer.current_epoch + 1, dataformats="HWC")
