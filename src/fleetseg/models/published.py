"""Reading the ESPNet weights that the paper's authors published (sacmehta/ESPNet, `.pth` files).

Key layouts, preprocessing and class order are facts about those files; spec/architectures.md section 2 lists them.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from fleetseg.errors import CheckpointError, UsageError
from fleetseg.labels import CAMVID_11, CITYSCAPES_19, LabelSet
from fleetseg.metadata import ModelMetadata, Normalisation
from fleetseg.models._registry import build_network
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import fill, spec_of

CITYSCAPES_NORMALISATION = Normalisation(
    order="bgr",
    mean=(72.3923111, 82.90893555, 73.15840149),
    std=(45.3192215, 46.15289307, 44.91483307),
    scale=1 / 255,
)
CAMVID_NORMALISATION = Normalisation(
    order="bgr",
    mean=(110.33102643, 108.40886315, 105.03319369),
    std=(72.12571015, 72.69074534, 69.90434816),
    scale=1 / 255,
)

#: Our names → the authors', in the order they are tried; a strided module has BN and activation one level higher.
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


def read_pickle(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` file, loaded with ``weights_only=True`` so that a hostile file cannot run code."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such checkpoint file")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: cannot be read as a file of weights alone ({reason[:160]})") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{path}: holds no table of weights; expected one of the published ESPNet checkpoints")
    return {str(key): value for key, value in tensors.items()}


def load_published(path: str | Path) -> tuple[SegmentationNetwork, ModelMetadata]:
    """Build ESPNet or ESPNet-C from a published checkpoint, in evaluation mode, with its own normalisation.

    Encoder or full network, depths, class count and decoder input are read off the shapes. 12 classes: CamVid's 11
    and "Unlabelled"; 20: Cityscapes' 19 and "unlabelled".
    """
    tensors = read_pickle(path)
    network = _matching_network(tensors, str(path))
    ours = {
        key: tensors[published_key(key)]
        for key in network.state_dict()
        if not key.endswith("num_batches_tracked") and published_key(key) in tensors
    }
    counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    fill(network, {**ours, **counters}, str(path))
    unused = set(tensors) - {published_key(key) for key in ours}
    if unused:
        raise CheckpointError(f"{path}: the weight '{sorted(unused)[0]}' has no place in {type(network).__name__}")
    labels, normalisation = _data_of(network.num_classes, str(path))
    metadata = ModelMetadata(
        name=Path(path).stem,
        network=spec_of(network),
        classes=labels.names,
        palette=labels.palette,
        normalisation=normalisation,
        licence="MIT (sacmehta/ESPNet)",
        provenance={"source": "published ESPNet weights", "unlabelled_class": network.num_classes - 1},
    )
    return network.eval(), metadata


def _matching_network(tensors: dict[str, Tensor], source: str) -> SegmentationNetwork:
    full = "encoder.level1.conv.weight" in tensors
    prefix = "encoder." if full else ""
    classifier = tensors.get(f"{prefix}classifier.conv.weight")
    if f"{prefix}level1.conv.weight" not in tensors or classifier is None or classifier.ndim != 4:
        raise CheckpointError(
            f"{source}: not in the layout of the published ESPNet weights; give one of those, "
            f"a .safetensors checkpoint of fleetseg or an ONNX file"
        )
    classes = int(classifier.shape[0])
    options = {f"alpha{level}": _depth(tensors, f"{prefix}level{level}.") for level in (2, 3)}
    if not full:
        return build_network("espnet-c", classes, **options)
    merge = tensors.get("conv.conv.weight")
    if merge is None or merge.ndim != 4:
        raise CheckpointError(f"{source}: the weight 'conv.conv.weight' of ESPNet's decoder is missing")
    return build_network("espnet", classes, **options, decoder_channels=int(merge.shape[1]) - classes)


def _depth(tensors: dict[str, Tensor], prefix: str) -> int:
    numbers = {int(key[len(prefix) :].split(".")[0]) for key in tensors if re.match(re.escape(prefix) + r"\d+\.", key)}
    return len(numbers)


def _data_of(classes: int, source: str) -> tuple[LabelSet, Normalisation]:
    black = ((0, 0, 0),)
    if classes == 12:
        return LabelSet((*CAMVID_11.names, "Unlabelled"), CAMVID_11.palette + black), CAMVID_NORMALISATION
    if classes == 20:
        return LabelSet((*CITYSCAPES_19.names, "unlabelled"), CITYSCAPES_19.palette + black), CITYSCAPES_NORMALISATION
    raise CheckpointError(f"{source}: has {classes} classes; published weights have 12 (CamVid) or 20 (Cityscapes)")
