"""Finished tiles of labels on the disk: what survives a kill, and what the pyramid is made of."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.app.huge.plan import TILE
from fleetseg.errors import OutputError
from fleetseg.labels import IGNORE_INDEX

Labels = npt.NDArray[np.uint8]

_TABLES = """
CREATE TABLE IF NOT EXISTS job (description TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tiles (level INT, row INT, column INT, content BLOB, PRIMARY KEY (level, row, column))
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS finished (band INT, row INT, counts TEXT NOT NULL, PRIMARY KEY (band, row));
"""


class TileStore:
    """Tiles of `TILE`×`TILE` labels by level, row and column, deflated as TIFF wants them, in one SQLite file.

    A row of a band's tiles is one transaction: after a kill at any moment it is there or it is not. Every method
    raises `OutputError` where the disk is full or the file cannot be used.
    """

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        """Open `path` and keep what it holds of the same `job`; anything else is thrown away."""
        self._path = path
        description = json.dumps(job, sort_keys=True)
        with self._failures():
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._opened() not in (None, description):
                self._connection.close()
                path.unlink()
                self._opened()
            self._connection.execute("INSERT INTO job SELECT ? WHERE NOT EXISTS (SELECT * FROM job)", (description,))
            self._connection.commit()

    def _opened(self) -> str | None:
        """Open the file, make it usable and return the job that it was begun for."""
        # A second process on the same image would do the same work: it is refused at once.
        self._connection = sqlite3.connect(self._path, timeout=0, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript("BEGIN EXCLUSIVE;" + _TABLES + "COMMIT;")
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return "damaged"  # by a power cut, or another program's file
        found = self._connection.execute("SELECT description FROM job").fetchone()
        return None if found is None else str(found[0])

    def close(self) -> None:
        """Let others have the file."""
        self._connection.close()

    def finished(self) -> set[tuple[int, int]]:
        """(band, row of tiles) of all that is there."""
        with self._failures():
            return set(self._connection.execute("SELECT band, row FROM finished"))

    def add(self, band: int, row: int, first_column: int, labels: Labels) -> None:
        """Keep a row of a band's tiles, (at most `TILE`, width) uint8, and count its classes."""
        counts = np.bincount(labels.ravel(), minlength=256).tolist()
        with self._failures(), self._connection:
            for place in range(-(-labels.shape[1] // TILE)):
                self._put(0, row, first_column + place, labels[:, place * TILE : (place + 1) * TILE])
            self._connection.execute(
                "INSERT OR REPLACE INTO finished VALUES (?, ?, ?)", (band, row, json.dumps(counts))
            )

    def counts(self) -> npt.NDArray[np.int64]:
        """(256,) int64: how many pixels have each value."""
        with self._failures():
            rows = self._connection.execute("SELECT counts FROM finished").fetchall()
        return np.asarray(np.sum([json.loads(row[0]) for row in rows], axis=0), np.int64)

    def put_row(self, level: int, row: int, tiles: list[Labels]) -> None:
        """Keep a row of tiles of a smaller level."""
        with self._failures(), self._connection:
            for column, tile in enumerate(tiles):
                self._put(level, row, column, tile)

    def content(self, level: int, row: int, column: int) -> bytes:
        """A tile, deflated."""
        key = (level, row, column)
        with self._failures():
            found = self._connection.execute(
                "SELECT content FROM tiles WHERE level = ? AND row = ? AND column = ?", key
            ).fetchone()
        return bytes(found[0]) if found is not None else _EMPTY

    def tile(self, level: int, row: int, column: int) -> Labels:
        """(`TILE`, `TILE`) uint8; beyond the image, and where there is none, 255."""
        content = zlib.decompress(self.content(level, row, column))
        return np.frombuffer(content, np.uint8).reshape(TILE, TILE)

    def _put(self, level: int, row: int, column: int, labels: Labels) -> None:
        content = _deflated(labels)
        if content != _EMPTY:
            self._connection.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)", (level, row, column, content))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise OutputError(f"{self._path}: another fleetseg works on this image already") from error
            raise OutputError(
                f"{self._path}: cannot be written ({error}); the same command goes on with what is finished"
            ) from error
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror or error})") from error


def _deflated(labels: Labels) -> bytes:
    whole = np.full((TILE, TILE), IGNORE_INDEX, np.uint8)
    whole[: labels.shape[0], : labels.shape[1]] = labels
    return zlib.compress(whole.tobytes(), 6)


_EMPTY = _deflated(np.empty((0, 0), np.uint8))
