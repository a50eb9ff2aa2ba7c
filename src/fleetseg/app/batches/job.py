"""What every worker of a batch is told: the network and how images are to be labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fleetseg.runtime import Model, load, packaged_models
from fleetseg.runtime.loading import checkpoint_path
from fleetseg.runtime.native_engine import is_library

Size = tuple[int, int]


@dataclass(frozen=True)
class Job:
    """Everything that decides about the results; sent to the workers by pickle."""

    #: As for `fleetseg.load`.
    model: str
    engine: str
    device: str
    threads: int
    #: From network and image size to the size that the network sees; its text in the call.
    choose_size: Callable[[Model, Size], Size]
    size: str | None
    overlay: bool = False
    confidence: bool = False
    #: Larger images are refused; None: those that the free memory does not allow.
    most_pixels: int | None = None
    #: The network's files by their path below a folder, for workers elsewhere; empty for a packaged one.
    files: tuple[tuple[str, bytes], ...] = ()
    #: What the network's path is among them.
    name: str = ""
    digest: str = ""
    #: Called in each process before the network is loaded there: runs the file of a network of the user's own.
    prepare: Callable[[], object] | None = None

    @property
    def key(self) -> str:
        """The same for jobs whose results are the same but for rounding."""
        wanted = f"{self.digest} {self.size} {self.overlay} {self.confidence}"
        return hashlib.sha256(wanted.encode()).hexdigest()[:16]

    def load(self, folder: Path | None = None) -> Model:
        """The network; with `folder`, from `files`, which are written there first."""
        if self.prepare is not None:
            self.prepare()
        if folder is None or not self.files:
            return load(self.model, self.engine, self.threads, self.device)
        for name, content in self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o700)
        return load(folder / self.name, self.engine, self.threads, self.device)


def network_files(model: str, source: bytes = b"") -> tuple[tuple[tuple[str, bytes], ...], str, str]:
    """(files, name, digest) of a network, for `Job`; `source` is the user's file that defines it, where one does."""
    if model in packaged_models():
        content = (resources.files("fleetseg") / "weights" / f"{model}.onnx").read_bytes()
        return (), model, hashlib.sha256(content).hexdigest()
    path = Path(model) if is_library(Path(model)) else checkpoint_path(model)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file())
    else:
        # Several formats are two files of one name: OpenVINO's .xml and .bin, ncnn's .param and .bin.
        found = sorted(file for file in path.parent.glob(f"{path.stem}.*") if file.is_file())
    files = tuple((file.relative_to(path.parent).as_posix(), file.read_bytes()) for file in found)
    digest = hashlib.sha256(source)
    for name, content in files:
        digest.update(f"{name} {len(content)} ".encode() + content)
    return files, path.name, digest.hexdigest()
