"""What a batch is made of: an item for each image, a record of what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

#: States of a record. "finished" was done by an earlier run; "unwritable" ends the batch.
DONE, FAILED, FINISHED, UNWRITABLE = "done", "failed", "finished", "unwritable"


@dataclass(frozen=True)
class Item:
    """One image to label."""

    #: Address of the image.
    input: str
    #: Address of the results without their suffixes; unique within a batch.
    stem: str
    #: The image's stamp when an earlier run finished it, None if none did.
    finished_stamp: str | None = None

    def result(self, suffix: str) -> str:
        """Address of one result."""
        return f"{self.stem}{suffix}"


@dataclass(frozen=True)
class Record:
    """What became of an image; a row of the manifest."""

    input: str
    status: str
    error: str | None = None
    mask: str | None = None
    overlay: str | None = None
    confidence: str | None = None
    input_sha256: str | None = None
    mask_sha256: str | None = None
    #: See `places.stamp`.
    stamp: str | None = None
    #: See `Job.key`.
    job: str | None = None
    width: int | None = None
    height: int | None = None
    network_width: int | None = None
    network_height: int | None = None
    latency_ms: float | None = None
    #: Engine, machine and process that did it.
    engine: str | None = None
    worker: str | None = None
    #: Seconds since 1970, UTC.
    finished_at: float | None = None
    #: Class → part of the pixels (0–1).
    shares: dict[str, float] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """Column → value; a column `share_NAME` for each class."""
        row = asdict(self)
        shares = row.pop("shares")
        return row | {f"{SHARE}{name}": share for name, share in shares.items()}


#: Prefix of the columns that hold class shares.
SHARE = "share_"
