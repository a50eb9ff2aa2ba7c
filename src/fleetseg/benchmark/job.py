"""What a worker is told: which engine, how many threads, and the folder in which network and image lie."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.metadata import ModelMetadata

Image = npt.NDArray[np.uint8]
#: (rows, columns) uint8: the image's size, or an eighth of it for networks that end there.
Mask = npt.NDArray[np.uint8]

#: Files in the folder of a subject.
CHECKPOINT, METADATA, IMAGE, REFERENCE = "network.safetensors", "metadata.json", "image.npy", "reference.npy"
#: The files of users that the network may need: a JSON list of FILE.py:CLASS.
USERS_NETWORKS = "users.json"


@dataclass(frozen=True)
class Job:
    """An engine's task."""

    folder: str
    engine: str
    precision: str
    threads: int

    @property
    def own(self) -> Path:
        """A folder for this engine's files alone."""
        path = Path(self.folder) / f"{self.engine}-{self.precision}"
        path.mkdir(exist_ok=True)
        return path

    @property
    def checkpoint(self) -> Path:
        """The network's weights as fleetseg writes them."""
        return Path(self.folder) / CHECKPOINT

    def register_users_networks(self) -> None:
        """In this process, which may have to rebuild one from the checkpoint."""
        path = Path(self.folder) / USERS_NETWORKS
        words = json.loads(path.read_text()) if path.is_file() else []
        if words:
            from fleetseg.models import register_network

            for word in words:
                register_network(word)

    def metadata(self) -> ModelMetadata:
        """What the network says about itself."""
        path = Path(self.folder) / METADATA
        return ModelMetadata.from_json(path.read_text(), str(path))

    def image(self) -> Image:
        """The image that every engine sees, (H, W, 3)."""
        image: Image = np.load(Path(self.folder) / IMAGE)
        return image

    def size(self) -> tuple[int, int]:
        """Width and height of the image."""
        height, width = np.load(Path(self.folder) / IMAGE, mmap_mode="r").shape[:2]
        return int(width), int(height)

    def to_json(self) -> str:
        """For a worker's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**fields)
