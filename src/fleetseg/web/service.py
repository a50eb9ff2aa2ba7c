"""What all requests share: the networks, the queue, the counters."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from starlette.websockets import WebSocket

from fleetseg.errors import UnknownNameError
from fleetseg.web.metrics import Metrics
from fleetseg.web.problems import Problem, problem_of
from fleetseg.web.request_body import UploadRoom
from fleetseg.web.served_model import ServedModel
from fleetseg.web.settings import Settings
from fleetseg.web.work_queue import WorkQueue

log = logging.getLogger("fleetseg.web")

#: How many uploads of the largest kind may be in memory.
_LARGEST_UPLOADS = 16


class Service:
    """The state of one running service."""

    def __init__(self, models: Sequence[ServedModel], settings: Settings) -> None:
        """`models` are in the order of preference; the first answers where a request names none."""
        self.settings = settings
        self.models = {model.name: model for model in models}
        self.default = models[0].name
        self.queue = WorkQueue(settings.workers, settings.queue)
        self.metrics = Metrics(lambda: self.queue.waiting)
        self.streams: set[WebSocket] = set()
        self.draining = False
        self.uploads = UploadRoom(_LARGEST_UPLOADS * settings.max_bytes)

    def model(self, name: str | None) -> ServedModel:
        """The network of a name; `UnknownNameError` offers the nearest."""
        found = self.models.get(name or self.default)
        if found is None:
            raise UnknownNameError("served model", (name or "")[:80], self.models)
        return found

    def check_ready(self) -> None:
        """`Problem` 503 while the service ends."""
        if self.draining:
            raise Problem("not-ready", "the service is ending; what it has taken it still answers", 5)

    def noted(self, error: Exception) -> Problem:
        """An exception as a problem, with its traceback in the log if it is ours."""
        problem = problem_of(error)
        if problem.status == 500:
            log.error("an image failed", exc_info=error)
        return problem
