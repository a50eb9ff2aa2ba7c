"""Reading the ERFNet weights that its authors published (erfnet_pytorch, `.pth` files)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fleetseg.errors import CheckpointError
from fleetseg.labels import CITYSCAPES_19, LabelSet
from fleetseg.metadata import ModelMetadata, NetworkSpec, Normalisation
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import empty_network, fill

#: The head of stage 1, which a file may still hold and which the whole network does not use.
_STAGE_1 = "encoder.output_conv."


def is_erfnet(tensors: dict[str, Tensor]) -> bool:
    """Whether a file is in ERFNet's layout."""
    return "encoder.initial_block.conv.weight" in tensors


def erfnet_from(tensors: dict[str, Tensor], source: str) -> tuple[SegmentationNetwork, ModelMetadata]:
    """ERFNet in evaluation mode; 20 classes: Cityscapes' 19 and "unlabelled". Images are RGB/255.

    Our layers bear the authors' names. BatchNorm's counters, which old files lack, are zero.
    """
    last = tensors.get("decoder.output_conv.weight")
    if last is None or last.ndim != 4:
        raise CheckpointError(
            f"{source}: ERFNet's 'decoder.output_conv.weight' is missing; give the whole network's file"
        )
    classes = int(last.shape[1])
    labels = LabelSet((*CITYSCAPES_19.names, "unlabelled"), (*CITYSCAPES_19.palette, (0, 0, 0)))
    if classes != len(labels.names):
        raise CheckpointError(f"{source}: has {classes} classes; published ERFNet weights have 20 (Cityscapes)")
    spec = NetworkSpec(name="erfnet", num_classes=classes)
    network = empty_network(spec, source)
    used = {key: value for key, value in tensors.items() if not key.startswith(_STAGE_1)}
    for key in network.state_dict():
        if key.endswith("num_batches_tracked"):
            used.setdefault(key, torch.zeros((), dtype=torch.int64))
    fill(network, used, source)
    metadata = ModelMetadata(
        name=Path(source).stem,
        network=spec,
        classes=labels.names,
        palette=labels.palette,
        normalisation=Normalisation(mean=(0, 0, 0), std=(1, 1, 1), scale=1 / 255),
        train_size=(1024, 512),
        licence="CC BY-NC 4.0 (Eromera/erfnet_pytorch)",
        provenance={"source": "published ERFNet weights", "unlabelled_class": classes - 1},
    )
    return network.eval(), metadata
