"""A batch from its list of images to its manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from fleetseg.app.batches.items import FAILED, FINISHED, UNWRITABLE, Item, Record
from fleetseg.app.batches.job import Job
from fleetseg.app.batches.manifest import Manifest, mean_shares
from fleetseg.errors import OutputError


class Workers(Protocol):
    """Whoever labels images: processes here, or a cluster."""

    def run(self, items: Iterable[Item], alone: bool) -> Iterator[Record]:
        """Records in any order; images are left out if their worker died."""
        ...


@dataclass
class BatchResult:
    """What became of a batch."""

    images: int
    done: int = 0
    #: Finished by an earlier run.
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    #: The first sentences about images that failed.
    failures: list[str] = field(default_factory=list)
    #: Class → part of the pixels of all labelled images, earlier runs' included.
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def so_far(self) -> int:
        """Images of which it is known what became of them."""
        return self.done + self.skipped + self.failed


#: Failures whose sentences are kept.
_TOLD = 10
Told = Callable[[BatchResult], None]


def run_batch(
    items: Sequence[Item],
    job: Job,
    workers: Workers,
    manifest: Manifest,
    classes: Sequence[str],
    told: Told = lambda _result: None,
) -> BatchResult:
    """Label what no earlier run finished; each image that can be labelled once, whatever dies meanwhile.

    `told` hears of every image. `OutputError` if results cannot be written; what was finished stays recorded, also
    when Ctrl-C ends it.
    """
    finished = manifest.finished()
    known: list[Item] = []
    for item in items:
        earlier = finished.get(item.input)
        same = earlier is not None and (earlier.job, earlier.mask) == (job.key, item.result(".png"))
        known.append(replace(item, finished_stamp=earlier.stamp) if same and earlier is not None else item)
    result = BatchResult(len(items))
    started = time.monotonic()
    left = {item.input: item for item in known}
    try:
        for alone in (False, True):
            for record in workers.run(list(left.values()), alone):
                if left.pop(record.input, None) is None:
                    continue  # a dead worker's images may have been done twice, into the same files
                result.seconds = time.monotonic() - started
                _note(record, result, manifest)
                told(result)
            if not left:
                break
        for item in left.values():
            error = f"{item.input}: the worker process died of it; is there enough memory?"
            _note(Record(item.input, FAILED, error, job=job.key), result, manifest)
    finally:
        table = manifest.close((item.input, item.result(".png")) for item in known)
    result.seconds = time.monotonic() - started
    result.shares = mean_shares(table, classes)
    return result


def _note(record: Record, result: BatchResult, manifest: Manifest) -> None:
    if record.status == UNWRITABLE:
        raise OutputError(record.error or "a result cannot be written")
    if record.status == FINISHED:
        result.skipped += 1
        return
    manifest.add(record)
    if record.status == FAILED:
        result.failed += 1
        if len(result.failures) < _TOLD:
            result.failures.append(record.error or "")
    else:
        result.done += 1
