"""Starting from the weights of another training, onto the same classes or others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fleetseg.compilation import read_network
from fleetseg.errors import UsageError
from fleetseg.metadata import ModelMetadata, Normalisation
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.class_axes import class_axes


@dataclass(frozen=True)
class InitialWeights:
    """A trained network whose weights others may start from."""

    source: str
    tensors: Mapping[str, Tensor]
    metadata: ModelMetadata

    @classmethod
    def read(cls, name: str) -> InitialWeights:
        """`name` is a packaged name, a checkpoint or a run's folder; errors as `compilation.read_network`."""
        try:
            network, metadata = read_network(name)
        except UsageError as error:
            raise UsageError(f"init: {error}") from error
        return cls(name, network.state_dict(), metadata)

    def copy_into(
        self, network: SegmentationNetwork, classes: Sequence[str], normalisation: Normalisation
    ) -> list[str]:
        """Copy what fits into a fresh `network` for `classes`; returns what happened, a sentence a line.

        Kept is every tensor that has its name and shape in both and does not depend on the classes. Of those that do,
        the heads, only the parts of classes with equal names are kept. `UsageError` if nothing fits.
        """
        own = network.state_dict()
        heads = class_axes(network)
        wanted = {key: value for key, value in own.items() if key not in heads}
        kept = {key: found for key in wanted if (found := self._matching(key, own[key])) is not None}
        if not any(value.is_floating_point() for value in kept.values()):
            raise UsageError(
                f"init {self.source}: is of network {self.metadata.network.name}, of which no weight fits "
                f"{network.registered_name}"
            )
        shared = [one for one in classes if one in self.metadata.classes]
        rows = {key: self._with_shared_classes(key, own[key], heads[key], classes, shared) for key in heads}
        network.load_state_dict({**own, **kept, **{key: value for key, value in rows.items() if value is not None}})
        return self._sentences(len(kept), len(wanted), sorted(heads), classes, shared, normalisation)

    def _matching(self, key: str, own: Tensor) -> Tensor | None:
        """Our tensor for a key of the network's, or for the same place in an encoder or around one."""
        for name in (key, f"encoder.{key}", key.removeprefix("encoder.")):
            found = self.tensors.get(name)
            if found is not None and found.shape == own.shape:
                return found
        return None

    def _with_shared_classes(
        self, key: str, own: Tensor, axes: tuple[int, ...] | None, classes: Sequence[str], shared: Sequence[str]
    ) -> Tensor | None:
        """`own` with the parts of classes that both know; None where the classes cannot be told apart."""
        found = self.tensors.get(key)
        if found is not None and tuple(classes) == self.metadata.classes and found.shape == own.shape:
            return found
        if found is None or axes is None or not shared or not _same_but(found, own, axes):
            return None
        result = own.clone()
        ours = [torch.arange(length) for length in own.shape]
        theirs = [torch.arange(length) for length in own.shape]
        for axis in axes:
            ours[axis] = torch.tensor([classes.index(one) for one in shared])
            theirs[axis] = torch.tensor([self.metadata.classes.index(one) for one in shared])
        result[torch.meshgrid(*ours, indexing="ij")] = found[torch.meshgrid(*theirs, indexing="ij")]
        return result

    def _sentences(
        self,
        kept: int,
        wanted: int,
        heads: Sequence[str],
        classes: Sequence[str],
        shared: Sequence[str],
        normalisation: Normalisation,
    ) -> list[str]:
        says = [f"init {self.source}: {kept} of {wanted} tensors below the head are kept"]
        if tuple(classes) == self.metadata.classes:
            says.append("init: the head is kept, the classes are the same")
        else:
            modules = ", ".join(dict.fromkeys(key.split(".")[0] for key in heads))
            known = f"those of {', '.join(shared)} kept" if shared else "none of them known"
            old = len(self.metadata.classes)
            says.append(f"init: the head ({modules}) is replaced, {old} classes by {len(classes)}, {known}")
        if self.metadata.normalisation != normalisation:
            says.append("init: those weights were trained with another normalisation than this recipe's")
        return says


def _same_but(one: Tensor, other: Tensor, axes: Sequence[int]) -> bool:
    """Whether two shapes are equal but along `axes`."""
    if one.ndim != other.ndim:
        return False
    return all(a == b for axis, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if axis not in axes)
