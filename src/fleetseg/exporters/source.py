"""What an exporter gets: a module with its ends, an example, and what the file must carry."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.exporters.ends import ArgMax, ArithmeticArgMax, InHalf, WithEnds
from fleetseg.exporters.formats import FORMATS
from fleetseg.exporters.sub_pixel import without_transposed
from fleetseg.metadata import ExportedForm, ModelMetadata, carried

#: Height and width of the example where the file's are free: unequal and no multiple of 8, so that padding is traced.
_FREE_SIZE = (37, 53)


@dataclass(frozen=True)
class Source:
    """One module, in evaluation mode, that an exporter writes as it is."""

    module: nn.Module
    #: A batch of one; of two where the batch's size is free.
    example: Tensor
    form: ExportedForm
    #: Key → text for the file's own metadata fields.
    carried: dict[str, str]


def source_of(network: nn.Module, metadata: ModelMetadata, form: ExportedForm) -> Source:
    """A copy of `network` with the ends that `form` asks for, written as its format needs it."""
    chosen = FORMATS[form.format]
    body = copy.deepcopy(network).eval()
    if chosen.arithmetic:
        body = by_arithmetic(body)
        if form.size is not None and hasattr(body, "forward_padded"):
            body = FixedSize(body, form.size, metadata.network.output_stride)
    if chosen.sub_pixel:
        body = without_transposed(body)
    if chosen.computes_half and form.precision == "fp16":
        body = InHalf(body)
    module = with_ends(body, metadata, form, channels_last=not chosen.arithmetic, arithmetic=chosen.arithmetic)
    return Source(module, _example(metadata, form, chosen.arithmetic), form, carried(metadata, form))


def with_ends(
    network: nn.Module,
    metadata: ModelMetadata,
    form: ExportedForm,
    *,
    channels_last: bool = True,
    arithmetic: bool = False,
) -> nn.Module:
    """`network` with the ends that `form` asks for; itself if there are none."""
    last: nn.Module | None = None
    if form.head == "classes":
        last = ArithmeticArgMax(metadata.network.num_classes) if arithmetic else ArgMax()
    if not form.preprocessing and last is None:
        return network
    normalisation = metadata.normalisation if form.preprocessing else None
    resized = form.size if form.image_size not in (None, form.size) else None
    return WithEnds(network, normalisation, size=resized, arg_max=last, channels_last=channels_last).eval()


class FixedSize(nn.Module):
    """A network's padding and cropping with numbers: pnnx leaves out what is computed from shapes."""

    def __init__(self, network: nn.Module, size: tuple[int, int], stride: int) -> None:
        super().__init__()
        self.network = network
        multiple = int(getattr(network, "size_multiple", 1))
        self._padding = (0, -size[0] % multiple, 0, -size[1] % multiple)
        self._columns, self._rows = (-(-side // stride) for side in size)

    def forward(self, image: Tensor) -> Tensor:
        """As the network's."""
        padded = F.pad(image, self._padding) if any(self._padding) else image
        logits: Tensor = self.network.forward_padded(padded)  # type: ignore[operator]
        return logits[..., : self._rows, : self._columns]


def _example(metadata: ModelMetadata, form: ExportedForm, levels: bool) -> Tensor:
    channels = metadata.network.in_channels
    height, width = (form.input_size or _FREE_SIZE[::-1])[::-1]
    batch = 2 if form.input_size is None else 1
    if not form.preprocessing:
        return torch.rand(batch, channels, height, width)
    if levels:
        return 255 * torch.rand(batch, channels, height, width)
    return torch.randint(0, 256, (batch, height, width, channels), dtype=torch.uint8)


def by_arithmetic(network: nn.Module) -> nn.Module:
    """Replace, in place, every module that has a form without comparisons (its ``by_arithmetic``) by that form."""
    for name, child in network.named_children():
        form = getattr(child, "by_arithmetic", None)
        setattr(network, name, form() if form is not None else by_arithmetic(child))
    return network.eval()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each module gets its own mode back."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
