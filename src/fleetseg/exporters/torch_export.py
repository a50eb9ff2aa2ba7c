"""torch.export: a program that PyTorch loads without the network's code."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fleetseg.exporters.folding import fold_batch_norms
from fleetseg.exporters.source import Source, evaluating

#: Smaller tensors stay float32.
_LEAST_VALUES = 32


class _Stored(nn.Module):
    """A weight kept in half precision and used in float32."""

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape, float16 → float32."""
        return weight.float()


def store_half(module: nn.Module) -> None:
    """Keep every larger weight in half precision, in place; what is computed stays float32."""
    for child in list(module.modules()):
        for name, weight in list(child.named_parameters(recurse=False)):
            if weight.numel() >= _LEAST_VALUES:
                setattr(child, name, nn.Parameter(weight.detach().half(), requires_grad=False))
                parametrize.register_parametrization(child, name, _Stored(), unsafe=True)


def exported(source: Source) -> Any:
    """The program, its height and width free if the form says so."""
    free = {} if source.form.input_size is not None else _free_axes(source)
    with evaluating(source.module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(source.module, (source.example,), dynamic_shapes=(free,) if free else None)


def _free_axes(source: Source) -> dict[int, Any]:
    first = 1 if source.form.preprocessing else 2
    free = torch.export.Dim.DYNAMIC
    return {0: free, first: free, first + 1: free}


def write(source: Source, path: Path) -> None:
    """Write `source` to the existing `path`; fields as extra files of the archive."""
    if source.form.precision == "fp16":
        # Each of a norm's five tensors would be a file of the archive.
        fold_batch_norms(source.module)
        store_half(source.module)
    program = exported(source)
    # Where each operation stands in the code that made it would be half of the file.
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn"):
            node.meta.pop(key, None)
    program._example_inputs = None
    torch.export.save(program, path, extra_files=dict(source.carried))
    _deflate(path)


def _deflate(path: Path) -> None:
    """Pack the archive's records, which PyTorch stores as they are: its graph is text, each weight a padded file."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(path) as stored,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
    ):
        for name in stored.namelist():
            archive.writestr(name, stored.read(name))
    path.write_bytes(packed.getvalue())
