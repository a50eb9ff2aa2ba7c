"""Workers of a Ray cluster, by Ray Data: an actor an engine, which Ray starts anew when it dies."""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from fleetseg.app.batches.image_worker import ImageWorker
from fleetseg.app.batches.items import Item, Record
from fleetseg.app.batches.job import Job
from fleetseg.app.batches.places import EXTRA
from fleetseg.errors import FleetsegError, UsageError
from fleetseg.optional_packages import need

#: Images that travel together at most: a worker that dies loses so many.
_TOGETHER = 32
#: How often Ray gives the images of a dead worker to another.
_RETRIES = 3


class RayWorkers:
    """Engines on the cluster of $RAY_ADDRESS, on one that runs here, or on a new one of this machine."""

    def __init__(self, job: Job, count: int | None) -> None:
        """`count` None: as many engines as the cluster's processors suffice for."""
        # No reports to Ray's makers, unless they were asked for.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # What Ray's own processes note of restarts stands in its log files.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        self._ray, self._data = need("ray", "--cluster ray", EXTRA), need("ray.data", "--cluster ray", EXTRA)
        self._started = not self._ray.is_initialized()
        try:
            self._ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # what cannot be reached raises this and that
            raise FleetsegError(f"--cluster ray: there is no cluster to be reached ({_line(error)})") from error
        processors = int(self._ray.cluster_resources().get("CPU", 1))
        if job.threads > processors:
            raise UsageError(f"--threads {job.threads}: the Ray cluster has {processors} processors; use fewer")
        self.count = count or max(1, processors // job.threads)
        self._job = self._ray.put(pickle.dumps(job))
        self._threads = job.threads
        context = self._data.DataContext.get_current()
        context.enable_progress_bars = False
        # Images whose workers keep dying are left out; the others are not lost with them.
        context.max_errored_blocks = -1
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    def run(self, items: Iterable[Item], alone: bool) -> Iterator[Record]:
        """Records as they come. Images whose workers died too often are left out, with those that travelled with
        them; `alone`: each image by itself.
        """
        rows = [{"item": pickle.dumps(item)} for item in items]
        if not rows:
            return
        together = 1 if alone else max(1, min(_TOGETHER, len(rows) // (4 * self.count)))
        dataset = self._data.from_items(rows, override_num_blocks=-(-len(rows) // together))
        with warnings.catch_warnings():
            # Of the number of retries, for which Ray has no other place yet.
            warnings.simplefilter("ignore")
            labelled = dataset.map(
                _RayWorker,
                fn_constructor_args=(self._job,),
                compute=self._data.ActorPoolStrategy(min_size=1, max_size=self.count, initial_size=self.count),
                num_cpus=self._threads,
                max_task_retries=_RETRIES,
            )
        try:
            for row in labelled.iter_rows():
                yield pickle.loads(row["record"])
        except FleetsegError:
            raise
        except self._ray.exceptions.RayError as error:
            raise FleetsegError(f"--cluster ray: the cluster failed ({_line(error)}); run the command again") from error

    def close(self) -> None:
        """Leave the cluster, and end it if it was made for this."""
        if self._started:
            self._ray.shutdown()


class _RayWorker:
    """What Ray Data makes an actor of."""

    def __init__(self, job: Any) -> None:
        import ray

        self._work = ImageWorker(pickle.loads(ray.get(job)), elsewhere=True)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"record": pickle.dumps(self._work(pickle.loads(row["item"])))}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
