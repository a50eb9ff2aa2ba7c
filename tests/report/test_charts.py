"""Charts: where points stand, which ticks are drawn, and that nothing breaks on odd data."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from fleetseg.report.charts import HEIGHT, WIDTH, Chart, Line, svg, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 60, [0, 10, 20, 30, 40, 50, 60]), (0.13, 0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (3, 9, [3, 4, 5, 6, 7, 8, 9])],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def places(drawn: str) -> list[tuple[float, float]]:
    found = re.search(r'<polyline points="([^"]*)"', drawn)
    assert found
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found[1].split())]


def test_points_stand_where_their_values_are() -> None:
    drawn = svg(Chart("t", "x", [Line([(0, 0), (5, 10), (10, 5)], "red")]))
    ElementTree.fromstring(drawn)
    (x0, y0), (x1, y1), (x2, y2) = places(drawn)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 > y2 > y1 and y0 - y2 == pytest.approx(y2 - y1, abs=0.2)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in places(drawn))


def test_a_logarithmic_axis_gives_each_decade_the_same_height() -> None:
    drawn = svg(Chart("t", "x", [Line([(0, 1e-4), (1, 1e-3), (2, 1e-2)], "red")], logarithmic=True))
    (_, a), (_, b), (_, c) = places(drawn)
    assert a - b == pytest.approx(b - c, abs=0.2)
    svg(Chart("t", "x", [Line([(0, 0.0), (1, 1e-3)], "red")], logarithmic=True))  # a rate of 0: a plain axis


def test_one_point_and_none() -> None:
    assert len(places(svg(Chart("t", "x", [Line([(3, 7)], "red")])))) == 1
    assert svg(Chart("t", "x", [Line([], "red")])) == ""


def test_names_are_escaped() -> None:
    drawn = svg(Chart("<b>", "&", [Line([(0, 1), (1, 2)], "red", ["<i>", ""])], marks=[(0, "<u>")]))
    ElementTree.fromstring(drawn)
    assert "<b>" not in drawn and "<i>" not in drawn and "<u>" not in drawn
