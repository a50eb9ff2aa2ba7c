"""The files of a submission, whether it is a folder or a zip archive."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from fleetseg.errors import DataError, UsageError


class SubmittedFiles:
    """PNG files by their path inside a folder or archive."""

    def __init__(self, path: str | Path) -> None:
        """Find the files without reading them; `UsageError` if there is neither, `DataError` if the zip is broken."""
        self.path = Path(path)
        self._archive: zipfile.ZipFile | None = None
        if self.path.is_dir():
            found = (file for file in self.path.rglob("*") if file.is_file())
            self.names = sorted(file.relative_to(self.path).as_posix() for file in found)
        elif self.path.is_file():
            try:
                self._archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError) as error:
                raise DataError(f"{self.path}: is no zip archive ({error}); a folder or a .zip is expected") from error
            self.names = sorted(entry.filename for entry in self._archive.infolist() if not entry.is_dir())
        else:
            raise UsageError(f"{self.path}: there is no such folder or zip archive")

    def where(self, name: str) -> str:
        """How an error message calls a file."""
        return f"{self.path}{'/' if self._archive is None else ': '}{name}"

    def read(self, name: str, size: tuple[int, int] | None) -> tuple[npt.NDArray[np.uint8], str]:
        """(H, W) values as stored, and Pillow's name for the kind of file ("L", "P").

        `DataError` unless it is a PNG of one 8-bit channel and of `size` (width, height), which is looked at
        before anything is decoded; None: any size.
        """
        try:
            with Image.open(io.BytesIO(self._content(name)), formats=("PNG",)) as file:
                if file.mode not in ("L", "P"):
                    raise DataError(f"{self.where(name)}: is stored as {file.mode}; one 8-bit channel is expected")
                if size is not None and file.size != size:
                    raise DataError(
                        f"{self.where(name)}: is {file.size[0]}×{file.size[1]} but its image is {size[0]}×{size[1]}; "
                        "predictions must have the image's own size"
                    )
                return np.array(file, np.uint8), str(file.mode)
        except DataError:
            raise
        except Exception as error:  # decoders and archives raise what they like
            # Pillow names the bytes in memory by their address.
            reason = "broken or another format" if isinstance(error, UnidentifiedImageError) else error
            raise DataError(f"{self.where(name)}: cannot be read as PNG ({reason})") from error

    def _content(self, name: str) -> bytes:
        return (self.path / name).read_bytes() if self._archive is None else self._archive.read(name)
