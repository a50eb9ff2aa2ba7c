"""ExecuTorch: a program for phones, its convolutions on XNNPACK."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

from fleetseg.exporters.source import Source
from fleetseg.exporters.torch_export import exported


def write(source: Source, path: Path) -> None:
    """Write `source` to the existing `path`; fields as the constant method ``fleetseg``."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger().setLevel(logging.ERROR)
        program = to_edge_transform_and_lower(
            exported(source),
            partitioner=[XnnpackPartitioner()],
            constant_methods={"fleetseg": json.dumps(source.carried)},
        ).to_executorch()
    path.write_bytes(program.buffer)
