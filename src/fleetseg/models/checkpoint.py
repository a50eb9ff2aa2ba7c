"""Files of weights: safetensors with everything in the header that rebuilds the network."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fleetseg.atomic import check_writable, write_bytes
from fleetseg.errors import CheckpointError, UsageError
from fleetseg.metadata import METADATA_KEY, ModelMetadata, NetworkSpec
from fleetseg.models._registry import build_network
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.weight_files import check_there
from fleetseg.variants import is_users


def build_from_spec(spec: NetworkSpec) -> SegmentationNetwork:
    """The network that `spec` describes, with fresh weights."""
    return build_network(spec.name, spec.num_classes, spec.in_channels, **spec.options)


def spec_of(network: SegmentationNetwork) -> NetworkSpec:
    """What rebuilds a network that `build_network` made."""
    return NetworkSpec(
        name=network.registered_name,
        num_classes=network.num_classes,
        in_channels=network.in_channels,
        options=dict(network.options),
        output_stride=1 if network.output_stride == 1 else 8,
    )


def check_checkpoint_path(out: Path, force: bool) -> None:
    """`UsageError` for a name of another kind and for what exists, `OutputError` where files cannot be written."""
    if out.suffix.lower() != ".safetensors":
        raise UsageError(f"--out {out}: a checkpoint ends in .safetensors")
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; the name of a file is needed")
    if out.exists() and not force:
        raise UsageError(f"--out {out}: exists already; give another name, or --force to replace it")
    check_writable(out.parent)


def save_checkpoint(path: str | Path, network: SegmentationNetwork, metadata: ModelMetadata) -> None:
    """Write weights (as they are, contiguous) and metadata; the file appears whole or not at all.

    `ValueError` if the metadata is of another network: nobody could load that file.
    """
    if metadata.network != spec_of(network):
        raise ValueError(f"the metadata describes {metadata.network}, the weights are of {spec_of(network)}")
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write_bytes(path, save(tensors, metadata={METADATA_KEY: metadata.to_json()}))


def load_checkpoint(path: str | Path) -> tuple[SegmentationNetwork, ModelMetadata]:
    """Rebuild the network from the file alone, in evaluation mode.

    Raises `UsageError` if the file does not exist and `CheckpointError` if it is truncated, is no checkpoint
    of ours, or its weights do not fit the network its header names.
    """
    path = Path(path)
    check_there(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a complete safetensors file ({error})") from error
    if METADATA_KEY not in header:
        raise CheckpointError(
            f"{path}: a safetensors file without fleetseg metadata; use one written by fleetseg train"
        )
    metadata = ModelMetadata.from_json(header[METADATA_KEY], str(path))
    network = empty_network(metadata.network, str(path))
    fill(network, tensors, str(path))
    return network.eval(), metadata


def empty_network(spec: NetworkSpec, source: str) -> SegmentationNetwork:
    """The network of a file, to be filled: without memory for weights yet and without random numbers drawn.

    So a file that claims a giant network costs nothing before its weights are found missing.
    `CheckpointError` if there is no such network.
    """
    try:
        if is_users(spec.name):
            # Buffers that are in no file must have their values.
            with torch.random.fork_rng(devices=[]):
                network = build_from_spec(spec)
        else:
            with torch.device("meta"):
                network = build_from_spec(spec)
    except UsageError as error:
        raise CheckpointError(f"{source}: describes a network that cannot be built: {error}") from error
    if network.output_stride != spec.output_stride:
        raise CheckpointError(
            f"{source}: gives {spec.name} the output stride {spec.output_stride}; it is {network.output_stride}"
        )
    return network


def fill(network: SegmentationNetwork, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Load `tensors`, which must fit exactly, into an `empty_network`; the first that does not is named."""
    wanted = network.state_dict()
    for key, value in wanted.items():
        if key not in tensors:
            raise CheckpointError(f"{source}: the weight '{key}' of {type(network).__name__} is missing")
        if tensors[key].is_floating_point() != value.is_floating_point():
            raise CheckpointError(f"{source}: '{key}' is of type {tensors[key].dtype}; {value.dtype} is needed")
        if tensors[key].shape != value.shape:
            raise CheckpointError(
                f"{source}: '{key}' has shape {tuple(tensors[key].shape)}, "
                f"{type(network).__name__} with {network.num_classes} classes needs {tuple(value.shape)}"
            )
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        raise CheckpointError(f"{source}: the weight '{extra[0]}' has no place in {type(network).__name__}")
    if any(value.is_meta for value in wanted.values()):
        network.to_empty(device="cpu")
    network.load_state_dict(tensors)
