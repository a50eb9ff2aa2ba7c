"""The page about one run, ``report.html``: `write_report` makes it, from the run's files and its data."""

from __future__ import annotations

from fleetseg.report.writing import write_report

__all__ = ["write_report"]
