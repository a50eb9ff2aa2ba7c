"""The file that a killed run continues from."""

# ruff: noqa: ARG002 - the methods' parameters are Lightning's
from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import CheckpointIO

from fleetseg.atomic import write_bytes
from fleetseg.errors import CheckpointError


class ResumePointIO(CheckpointIO):
    """Lightning's state, written whole or not at all and read without trusting it.

    Lightning's own writer goes through the system's temporary folder and copies from there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write; `OutputError` if that is impossible."""
        content = io.BytesIO()  # torch's own writing to files knows no error of the disk's
        torch.save(checkpoint, content)
        write_bytes(path, content.getvalue())

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read; never runs code from the file. `CheckpointError` if it is broken."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state["loops"]["fit_loop"]
        except Exception as error:  # unpickling raises what it likes
            detail = next(iter(str(error).splitlines()), type(error).__name__)
            raise CheckpointError(
                f"{path}: not a complete resume point ({detail}); delete it to start its stage again"
            ) from error
        return dict(state)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete."""
        Path(path).unlink(missing_ok=True)


def finished_epochs(checkpoint: dict[str, Any]) -> int:
    """How many epochs of the stage were complete when `checkpoint` was written."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
