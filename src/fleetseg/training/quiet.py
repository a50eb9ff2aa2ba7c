"""Keeping other libraries' advice out of our output. Needs no torch: it also covers their import."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKATIVE = ("pytorch_lightning", "lightning_fabric", "lightning_utilities", "torch", "tensorboard")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide the warnings, tips and banners of the libraries that train, unless Python runs with -W.

    What matters to a user is raised or printed by fleetseg itself.
    """
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
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
