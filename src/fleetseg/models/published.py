"""Reading the ESPNet weights that the paper's authors published (sacmehta/ESPNet, `.pth` files).

Key layouts, preprocessing and class order are facts about those files; spec/architectures.md section 2 lists
them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fleetseg.errors import CheckpointError
from fleetseg.labels import CAMVID_11, CITYSCAPES_19, LabelSet
from fleetseg.metadata import ModelMetadata, NetworkSpec, Normalisation
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import empty_network, fill
from fleetseg.models.published_erfnet import erfnet_from, is_erfnet
from fleetseg.models.weight_files import read_pickle


@dataclass(frozen=True)
class TrainingData:
    """What a published network was trained on."""

    labels: LabelSet
    normalisation: Normalisation
    #: (width, height) of the images.
    size: tuple[int, int]


def _with_unlabelled(labels: LabelSet, name: str) -> LabelSet:
    return LabelSet((*labels.names, name), (*labels.palette, (0, 0, 0)))


#: Class count → data; the last class is "unlabelled".
_DATA = {
    12: TrainingData(
        _with_unlabelled(CAMVID_11, "Unlabelled"),
        Normalisation(
            order="bgr",
            mean=(110.33102643, 108.40886315, 105.03319369),
            std=(72.12571015, 72.69074534, 69.90434816),
            scale=1 / 255,
        ),
        (480, 360),
    ),
    20: TrainingData(
        _with_unlabelled(CITYSCAPES_19, "unlabelled"),
        Normalisation(
            order="bgr",
            mean=(72.3923111, 82.90893555, 73.15840149),
            std=(45.3192215, 46.15289307, 44.91483307),
            scale=1 / 255,
        ),
        (1024, 512),
    ),
}

#: Our names → the authors', in the order they are tried; a strided module has BN and activation one level
#: higher.
_RULES = (
    (r"^level1\.0\.", "level1.conv."),
    (r"^level1\.1\.0\.", "level1.bn."),
    (r"^level1\.1\.1\.", "level1.act."),
    (r"^join(\d)\.0\.", r"b\1.bn."),
    (r"^join(\d)\.1\.", r"b\1.act."),
    (r"^down(\d)\.", r"level\1_0."),
    (r"^classifier\.", "classifier.conv."),
)
_DECODER_RULES = (
    (r"^norm3\.", "br."),
    (r"^up3\.", "up_l3.0."),
    (r"^project2\.", "level3_C.conv."),
    (r"^merge2_norm\.0\.", "combine_l2_l3.0.bn."),
    (r"^merge2_norm\.1\.", "combine_l2_l3.0.act."),
    (r"^merge2\.", "combine_l2_l3.1."),
    (r"^up2\.", "up_l2.0."),
    (r"^up2_norm\.0\.", "up_l2.1.bn."),
    (r"^up2_norm\.1\.", "up_l2.1.act."),
    (r"^merge1\.", "conv.conv."),
    (r"^merge1_norm\.0\.", "conv.bn."),
    (r"^merge1_norm\.1\.", "conv.act."),
    (r"^up1\.", "classifier."),
)


def published_key(key: str) -> str:
    """The authors' name of one of our ESPNet (or ESPNet-C) weights."""
    if key.startswith("encoder."):
        return "encoder." + published_key(key.removeprefix("encoder."))
    for pattern, replacement in (*_RULES, *_DECODER_RULES):
        if re.match(pattern, key):
            key = re.sub(pattern, replacement, key)
            break
    key = re.sub(r"\.reduce\.", ".c1.conv.", key)
    key = re.sub(r"\.branches\.(\d+)\.", lambda match: f".d{2 ** int(match[1])}.conv.", key)
    if re.match(r"level\d_0\.", key):
        return key.replace(".norm.", ".bn.")
    return key.replace(".norm.", ".bn.bn.") if ".norm." in key else _residual_act(key)


def _residual_act(key: str) -> str:
    inside_esp = re.match(r"^(level\d\.\d+|combine_l2_l3\.1)\.act\.", key)
    return key.replace(".act.", ".bn.act.") if inside_esp else key


def load_published(path: str | Path) -> tuple[SegmentationNetwork, ModelMetadata]:
    """Build ESPNet, ESPNet-C or ERFNet from a published checkpoint, in evaluation mode, with its own normalisation.

    Encoder or full network, depths, class count and decoder input are read off the shapes. 12 classes:
    CamVid's 11 and "Unlabelled"; 20: Cityscapes' 19 and "unlabelled".
    """
    source = str(path)
    tensors = read_pickle(path, "one of the published ESPNet or ERFNet checkpoints")
    if is_erfnet(tensors):
        return erfnet_from(tensors, source)
    spec = _described_network(tensors, source)
    data = _DATA[spec.num_classes]
    network = empty_network(spec, source)
    fill(network, _renamed(tensors, network, source), source)
    metadata = ModelMetadata(
        name=Path(path).stem,
        network=spec,
        classes=data.labels.names,
        palette=data.labels.palette,
        normalisation=data.normalisation,
        train_size=data.size,
        licence="MIT (sacmehta/ESPNet)",
        provenance={"source": "published ESPNet weights", "unlabelled_class": network.num_classes - 1},
    )
    return network.eval(), metadata


def _renamed(tensors: dict[str, Tensor], network: SegmentationNetwork, source: str) -> dict[str, Tensor]:
    """The published weights under our names; the step counters, which they lack, are zero."""
    ours = {}
    unused = set(tensors)
    for key in network.state_dict():
        if key.endswith("num_batches_tracked"):
            ours[key] = torch.zeros((), dtype=torch.int64)
            continue
        theirs = published_key(key)
        if theirs not in tensors:
            raise CheckpointError(f"{source}: the weight '{theirs}' of {type(network).__name__} is missing")
        ours[key] = tensors[theirs]
        unused.discard(theirs)
    if unused:
        raise CheckpointError(f"{source}: the weight '{min(unused)}' has no place in {type(network).__name__}")
    return ours


def _described_network(tensors: dict[str, Tensor], source: str) -> NetworkSpec:
    full = "encoder.level1.conv.weight" in tensors
    prefix = "encoder." if full else ""
    classifier = tensors.get(f"{prefix}classifier.conv.weight")
    if f"{prefix}level1.conv.weight" not in tensors or classifier is None or classifier.ndim != 4:
        raise CheckpointError(
            f"{source}: not in the layout of the published ESPNet or ERFNet weights; give one of those, "
            f"a .safetensors checkpoint of fleetseg or an ONNX file"
        )
    classes = int(classifier.shape[0])
    options = {f"alpha{level}": _depth(tensors, f"{prefix}level{level}.") for level in (2, 3)}
    if not full:
        return _spec("espnet-c", classes, options, source)
    merge = tensors.get("conv.conv.weight")
    if merge is None or merge.ndim != 4:
        raise CheckpointError(f"{source}: the weight 'conv.conv.weight' of ESPNet's decoder is missing")
    options["decoder_channels"] = int(merge.shape[1]) - classes
    return _spec("espnet", classes, options, source)


def _spec(name: str, classes: int, options: dict[str, int], source: str) -> NetworkSpec:
    if classes not in _DATA:
        raise CheckpointError(f"{source}: has {classes} classes; published weights have 12 (CamVid) or 20 (Cityscapes)")
    stride: Literal[1, 8] = 8 if name == "espnet-c" else 1
    return NetworkSpec(name=name, num_classes=classes, options=options, output_stride=stride)


def _depth(tensors: dict[str, Tensor], prefix: str) -> int:
    modules = (re.match(re.escape(prefix) + r"\d+\.", key) for key in tensors)
    return len({module[0] for module in modules if module})
