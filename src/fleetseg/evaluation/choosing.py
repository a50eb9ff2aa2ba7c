"""From the words of a call to what is scored: classes, categories, metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fleetseg.data.base import Dataset, HasInstances
from fleetseg.errors import UsageError
from fleetseg.evaluation.cityscapes_sizes import mean_sizes_of
from fleetseg.evaluation.grouping import Grouping, read_grouping
from fleetseg.evaluation.matching import Matching, match_classes
from fleetseg.evaluation.measures import METRICS, Measures, check_metrics
from fleetseg.labels import CITYSCAPES_19, LabelSet

#: The word for every metric that the data allow.
ALL = "all"

_CITYSCAPES_CATEGORIES = "cityscapes-categories"


@dataclass(frozen=True)
class Choice:
    """What one call of ``fleetseg evaluate`` scores; the same for every model that it measures."""

    metrics: Sequence[str] = ()
    ignore: Sequence[str] = ()
    #: Name or file of the grouping whose groups are scored instead of the classes.
    merged_by: str | None = None
    #: Name or file of the grouping whose groups are scored beside the classes.
    categories: str | None = None

    def matching(self, classes: Sequence[str], labels: LabelSet) -> Matching:
        """The classes that are scored; `UsageError` if network and data do not fit."""
        grouping = read_grouping(self.merged_by) if self.merged_by else None
        matching = match_classes(classes, labels, grouping)
        return matching.ignoring(self.ignore) if self.ignore else matching

    def wanted(self, dataset: Dataset, scored: LabelSet) -> frozenset[str]:
        """The metrics' names, "all" resolved to what data set and scored classes allow."""
        if ALL not in self.metrics:
            return check_metrics(self.metrics) | ({"category"} if self.categories else set())
        check_metrics([name for name in self.metrics if name != ALL])
        impossible = set()
        if not self._grouping(scored):
            impossible.add("category")
        if not isinstance(dataset, HasInstances) or not mean_sizes_of(scored.names):
            impossible.add("iiou")
        return frozenset(METRICS) - impossible

    def measures(self, wanted: Collection[str], scored: LabelSet) -> Measures:
        """Accumulators for the metrics; `UsageError` for one that needs classes which are not there."""
        grouping = self._grouping(scored)
        if "category" in wanted and grouping is None:
            raise UsageError(
                "categories of these classes are not known; name them with --categories "
                f"({_CITYSCAPES_CATEGORIES}, or a YAML file with lines like 'flat: [road, sidewalk]')"
            )
        sizes = mean_sizes_of(scored.names)
        if "iiou" in wanted and not sizes:
            raise UsageError(
                "iIoU needs classes with Cityscapes' names of things (person, car, …), whose mean sizes are known; "
                f"the scored classes are {', '.join(scored.names)}"
            )
        wants_groups = grouping is not None and ("category" in wanted or "iiou" in wanted)
        groups = category_ids(grouping, scored) if grouping is not None and wants_groups else {}
        return Measures.of(wanted, scored, groups, sizes)

    def _grouping(self, scored: LabelSet) -> Grouping | None:
        if self.categories:
            return read_grouping(self.categories)
        cityscapes = set(scored.names) <= set(CITYSCAPES_19.names)
        return read_grouping(_CITYSCAPES_CATEGORIES) if cityscapes else None


def category_ids(grouping: Grouping, scored: LabelSet) -> Mapping[str, tuple[int, ...]]:
    """Category → ids of the scored classes in it; those without any are left out.

    `UsageError` for a scored class of which the grouping says nothing.
    """
    groups: dict[str, list[int]] = {group: [] for group in grouping.groups}
    for class_id, name in enumerate(scored.names):
        if not grouping.knows(name):
            raise UsageError(
                f"{grouping.name} does not say to which category the class '{name}' belongs; "
                "it should stand in a group or under 'ignored'"
            )
        group = grouping.group_of(name)
        if group is not None:
            groups[group].append(class_id)
    return {group: tuple(ids) for group, ids in groups.items() if ids}
