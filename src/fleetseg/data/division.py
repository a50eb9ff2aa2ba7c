"""Dividing what has no splits into train, val and test: by image or by group (sequence, slide, patient)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def divide(groups: Sequence[str], val: float = 0.2, test: float = 0.0, seed: int | None = None) -> dict[str, list[int]]:
    """Numbers of the samples in ``train``, ``val`` and ``test``, each in order; no group is in two of them.

    groups: the group of each sample; a name of its own each divides by image.
    val, test: shares of the samples, reached or passed by whole groups as little as possible.
    seed: None takes the last groups by name for test and val, for neighbouring names are often neighbouring
    frames; a number draws them. Where there are groups enough, no part that was asked for is empty.
    """
    names = sorted(set(groups))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(names))
        names = [names[place] for place in order]
    members: dict[str, list[int]] = {name: [] for name in names}
    for index, name in enumerate(groups):
        members[name].append(index)
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for part, share in (("test", test), ("val", val)):
        goal = share * len(groups)
        while share > 0 and len(names) > 1 and _wants_more(len(parts[part]), len(members[names[-1]]), goal):
            parts[part] += members[names.pop()]
    for name in names:
        parts["train"] += members[name]
    return {part: sorted(indices) for part, indices in parts.items()}


def _wants_more(taken: int, next_group: int, goal: float) -> bool:
    """Whether the next group brings the part nearer to its goal, or is its first."""
    return taken == 0 or abs(taken + next_group - goal) < abs(taken - goal)
