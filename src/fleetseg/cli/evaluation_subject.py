"""A model under measurement by ``fleetseg evaluate``, and what the options say about its view of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetseg.cli.evaluation_views import SizeRule, size_rule
from fleetseg.cli.options import parse_size
from fleetseg.errors import UnknownNameError

if TYPE_CHECKING:
    from fleetseg.data import Dataset
    from fleetseg.runtime import Model
    from fleetseg.runtime.test_time import ViewedModel, Views


@dataclass(frozen=True)
class Seen:
    """What the options say about the network's view of an image."""

    size: str | None
    resize: str | None
    score_at: str
    views: Views

    def __post_init__(self) -> None:
        if self.score_at not in ("full", "network"):
            raise UnknownNameError("size to --score-at", self.score_at, ("full", "network"))


@dataclass(frozen=True)
class Subject:
    """A model under measurement."""

    name: str
    network: Model
    view: ViewedModel
    #: Where labels are shrunk to what the network sees: how.
    shrink: SizeRule | None

    @classmethod
    def load(cls, name: str, engine: str, threads: int | None, how: Seen, device: str = "cpu") -> Subject:
        """Load a model and its view; the errors are those of `load`, `size_rule` and `ViewedModel`."""
        from fleetseg.runtime import load
        from fleetseg.runtime.test_time import ViewedModel

        # A compiled network sees one size: neither scales nor windows.
        only = parse_size(how.size) if how.size is not None and how.views.plain else None
        network = load(name, engine, threads, device, only)
        rule = size_rule(network, how.size, how.resize)
        if how.score_at == "network":
            return cls(name, network, ViewedModel(network, None, how.views), rule)
        return cls(name, network, ViewedModel(network, rule, how.views), None)

    def scored(self, dataset: Dataset) -> Dataset:
        """The data set as it is scored."""
        from fleetseg.evaluation import Resized

        return dataset if self.shrink is None else Resized(dataset, self.shrink)
