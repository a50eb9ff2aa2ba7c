"""``manifest.parquet``: a row an image, kept up to date while a batch runs, so that a stop loses next to nothing."""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fleetseg.app.batches import places
from fleetseg.app.batches.items import DONE, SHARE, Record
from fleetseg.errors import DataError
from fleetseg.optional_packages import need

NAME = "manifest.parquet"
#: Folder of the parts that a running batch writes; gone when it ends.
PARTS = ".manifest"
#: Seconds between two parts, and what part of the time so far may at most be lost: a night's parts stay few.
_PAUSE, _LOST = 2.0, 0.01


@dataclass(frozen=True)
class Finished:
    """What an earlier run says of an image that it labelled."""

    stamp: str
    job: str
    mask: str


class Manifest:
    """The manifest of a folder of results. Made, it knows the earlier runs; `add` records; `close` makes one file.

    Parts of runs that were killed count as much as the manifest itself. Of several rows of an image the last counts.
    """

    def __init__(self, folder: str, classes: Sequence[str]) -> None:
        """`folder`: where the results go. `DataError` for a manifest that is none."""
        self._arrow, self._parquet = (
            need("pyarrow", "a batch", places.EXTRA),
            need("pyarrow.parquet", "a batch", places.EXTRA),
        )
        self._folder, self.url = folder, places.join(folder, NAME)
        self._schema = _schema(self._arrow, classes)
        self._run = f"{time.time():.0f}-{secrets.token_hex(4)}"
        self._started = self._flushed = time.monotonic()
        self._rows: list[dict[str, Any]] = []
        self._number = 0
        self._parts = [part for part in self._part_urls() if part.endswith(".parquet")]
        self._before = self._read()

    def finished(self) -> dict[str, Finished]:
        """Address of an image → what an earlier run says of it, for those that it labelled."""
        table = self._before
        columns = [table.column(name).to_pylist() for name in ("input", "status", "stamp", "job", "mask")]
        rows = zip(*columns, strict=True)
        return {name: Finished(stamp, job, mask) for name, status, stamp, job, mask in rows if status == DONE and stamp}

    def add(self, record: Record) -> None:
        """Record what became of an image; it is stored within seconds."""
        self._rows.append(record.as_row())
        now = time.monotonic()
        if now - self._flushed > max(_PAUSE, _LOST * (now - self._started)):
            self.flush()

    def flush(self) -> None:
        """Store what was added."""
        self._flushed = time.monotonic()
        if not self._rows:
            return
        self._number += 1
        part = places.join(self._folder, f"{PARTS}/{self._run}-{self._number:06}.parquet")
        self._write(part, self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._parts.append(part)
        self._rows = []

    def close(self, items: Iterable[tuple[str, str]]) -> Any:
        """Make one file of everything; returns the rows of `items`, which are (input, mask), as a table.

        Rows of other images, of earlier batches, stay unless their mask was replaced by one of these.
        """
        self.flush()
        masks = dict(items)
        table, replaced = self._read(), set(masks.values())
        inputs, old = table.column("input").to_pylist(), table.column("mask").to_pylist()
        mine = [name in masks for name in inputs]
        kept = [own or mask not in replaced for own, mask in zip(mine, old, strict=True)]
        self._write(self.url, table.filter(self._arrow.array(kept, self._arrow.bool_())))
        for part in self._parts:
            places.remove(part)
        self._parts = []
        places.remove_empty(places.join(self._folder, PARTS))
        return table.filter(self._arrow.array(mine, self._arrow.bool_()))

    def _part_urls(self) -> list[str]:
        folder = places.join(self._folder, PARTS)
        return places.files_below(folder) if places.kind(folder) == "directory" else []

    def _read(self) -> Any:
        """All rows there are, the last of each image."""
        tables = [self._schema.empty_table()]
        for url in ([self.url] if places.kind(self.url) == "file" else []) + sorted(self._parts):
            try:
                read = self._parquet.read_table(io.BytesIO(places.read(url)))
                tables.append(self._arrow.concat_tables([tables[0], read], promote_options="default"))
            except self._arrow.ArrowException as error:
                line = " ".join(str(error).split())
                raise DataError(f"{url}: is not the manifest of a batch ({line}); use another folder") from error
        table = self._arrow.concat_tables(tables, promote_options="default")
        last = {name: row for row, name in enumerate(table.column("input").to_pylist())}
        return table.take(self._arrow.array(sorted(last.values()), self._arrow.int64()))

    def _write(self, url: str, table: Any) -> None:
        buffer = io.BytesIO()
        self._parquet.write_table(table, buffer, compression="zstd")
        places.write(url, buffer.getvalue())


def mean_shares(table: Any, classes: Sequence[str]) -> dict[str, float]:
    """Part of all pixels (0–1) of each class over the labelled images of a table."""
    if not table.num_rows:
        return dict.fromkeys(classes, 0.0)
    columns = ["status", "width", "height", *(SHARE + name for name in classes)]
    frame = {name: table.column(name).to_numpy() for name in columns}
    done = frame["status"] == DONE
    pixels = frame["width"][done].astype(float) * frame["height"][done].astype(float)
    total = max(1.0, float(pixels.sum()))
    return {name: float((frame[SHARE + name][done] * pixels).sum()) / total for name in classes}


def _schema(arrow: Any, classes: Sequence[str]) -> Any:
    text, whole, real = arrow.string(), arrow.int32(), arrow.float64()
    fields = {
        **dict.fromkeys(("input", "status", "error", "mask", "overlay", "confidence"), text),
        **dict.fromkeys(("input_sha256", "mask_sha256", "stamp", "job"), text),
        **dict.fromkeys(("width", "height", "network_width", "network_height"), whole),
        "latency_ms": real,
        **dict.fromkeys(("engine", "worker"), text),
        "finished_at": real,
        **{SHARE + name: arrow.float32() for name in classes},
    }
    return arrow.schema(list(fields.items()))
