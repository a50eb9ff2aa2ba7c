"""Keeping other libraries' advice out of our output. Needs no torch: it also covers their import."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

#: What `threading.excepthook` is.
Hook = Callable[[threading.ExceptHookArgs], Any]

_TALKATIVE = ("pytorch_lightning", "lightning_fabric", "lightning_utilities", "torch", "tensorboard")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide the warnings, tips and banners of the libraries that train, unless Python runs with -W.

    What matters to a user is raised or printed by fleetseg itself.
    """
    hook = threading.excepthook
    threading.excepthook = partial(_unless_of_tensorboard, hook)
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        threading.excepthook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _unless_of_tensorboard(show: Hook, arguments: threading.ExceptHookArgs) -> None:
    """Show an exception that ended a thread, unless TensorBoard's writer raises it once more where it is called."""
    if not type(arguments.thread).__module__.startswith("tensorboard."):
        show(arguments)
