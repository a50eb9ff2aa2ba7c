"""Strip by strip nothing changes but the order, and no row is overwritten while somebody needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fleetseg.compilation import compile as compile_network
from fleetseg.compiler import pipeline
from fleetseg.compiler.capture import capture
from fleetseg.compiler.ir import Graph
from fleetseg.compiler.memory import homes_of, plan_memory
from fleetseg.compiler.passes.order import PASSES
from fleetseg.compiler.rows import rows_read, rows_written
from fleetseg.compiler.strips import Group, plan_strips
from fleetseg.compiler.target import TARGETS
from fleetseg.models import build_network

from .networks import randomised

NETWORKS = [("enet", {}), ("espnet", {"alpha2": 1, "alpha3": 2})]


def rewritten(name: str, options: dict[str, int], size: tuple[int, int], precision: str) -> Graph:
    graph = capture(build_network(name, 5, **options).eval(), size, 3)
    for rewrite in PASSES[precision]:
        graph = rewrite(graph)
    return graph


def value_makers(graph: Graph, value: str) -> list[str]:
    if value in graph.inputs:
        return []
    node = graph.node(value)
    return [m for part in node.inputs for m in value_makers(graph, part)] if node.op == "concat" else [value]


def assert_rows_survive(graph: Graph, group: Group) -> None:
    """Play the turns: what a kernel reads from a ring must be what was written there for that row."""
    homes = {name: home for name, (home, _) in homes_of(graph).items()}
    held: dict[tuple[str, int], dict[str, int]] = {}
    for turn in group.turns:
        node = graph.node(turn.node)
        rows = (turn.first, turn.last)
        for value, (first, last) in rows_read(graph, node, rows).items():
            ring = group.rings.get(homes[value], 0)
            for row in range(first, last) if ring else ():
                slot = held[homes[value], row % ring]
                assert all(slot[maker] == row for maker in value_makers(graph, value)), (turn, value, row)
        home = homes.get(node.name, "")
        if home in group.rings:
            for row in range(*rows_written(node, rows)):
                held.setdefault((home, row % group.rings[home]), {})[node.name] = row


@pytest.mark.parametrize(("name", "options"), NETWORKS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cache", [60_000, 600_000])
def test_every_row_is_there_when_it_is_read(name: str, options: dict[str, int], precision: str, cache: int) -> None:
    graph = rewritten(name, options, (64, 456), precision)
    groups = plan_strips(graph, cache)
    assert groups
    for group in groups:
        assert len(set(group.nodes)) == len(group.nodes)
        assert_rows_survive(graph, group)
        done = dict.fromkeys(group.nodes, 0)
        for turn in group.turns:
            assert turn.first == done[turn.node]
            done[turn.node] = turn.last
        for node, rows in done.items():
            assert rows_written(graph.node(node), (0, rows))[1] == graph.node(node).type.shape[2]
        assert all(rows < graph.type_of(home).shape[2] for home, rows in group.rings.items())


def test_turns_only_where_they_save_memory() -> None:
    # What ESPNet's groups read and write whole would live longer than the rings save.
    graph = rewritten("espnet", {"alpha2": 2, "alpha3": 8}, (640, 360), "fp32")
    target = TARGETS["x86-64-v4"]
    whole = plan_memory(graph, (640, 360)).size
    assert whole > target.cache_bytes
    assert plan_memory(graph, (640, 360), plan_strips(graph, target.cache_bytes // 2)).size > whole
    assert pipeline._groups(graph, (640, 360), target) == ()
    graph = rewritten("enet", {}, (1024, 512), "fp32")
    assert pipeline._groups(graph, (1024, 512), target)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_numbers(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    network = randomised(build_network("espnet", 5, alpha2=1, alpha3=1), 1)
    image = np.random.default_rng(0).integers(0, 256, (250, 45, 3), dtype=np.uint8)
    results = []
    for cut in (False, True):
        monkeypatch.setattr(pipeline, "_groups", lambda graph, *_, cut=cut: plan_strips(graph, 100_000) if cut else ())
        model = compile_network(network, (45, 250), tmp_path / str(cut), precision=precision, threads=3)
        results.append([model.logits(image), model.logits(image), model(image)])
    for whole, in_strips in zip(*results, strict=True):
        np.testing.assert_array_equal(whole, in_strips)
