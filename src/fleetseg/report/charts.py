"""Line charts as SVG: no script, no font, no file beside the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 28, 40


@dataclass(frozen=True)
class Line:
    """Points (x, y), joined; `notes` appear when the pointer rests on a point."""

    points: Sequence[tuple[float, float]]
    colour: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Chart:
    """What is drawn: lines, a grey band between two of them, and named vertical marks."""

    title: str
    x_label: str
    lines: Sequence[Line]
    #: (x, lowest, highest)
    band: Sequence[tuple[float, float, float]] = ()
    #: (x, text); without a text the mark is dotted.
    marks: Sequence[tuple[float, str]] = ()
    logarithmic: bool = False
    #: Values that the y axis must reach.
    reach: Sequence[float] = ()
    #: Lowest and highest x, so that charts below each other agree; by default those of the points.
    extent: tuple[float, float] | None = None


def svg(chart: Chart) -> str:
    """The chart as an ``<svg>`` element; empty where there is nothing to draw."""
    points = [point for line in chart.lines for point in line.points]
    if not points:
        return ""
    frame = _Frame(chart, points)
    radius = 3.0 if len(points) <= 60 else 1.6
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        f'<text class="title" x="{_LEFT}" y="16">{escape(chart.title)}</text>',
        *frame.grid(chart.x_label),
        *_band(chart, frame),
        *_marks(chart, frame),
        *(part for line in chart.lines for part in _line(line, frame, radius)),
        "</svg>",
    ]
    return "\n".join(parts)


class _Frame:
    """From values to places in the picture."""

    def __init__(self, chart: Chart, points: Sequence[tuple[float, float]]) -> None:
        self.logarithmic = chart.logarithmic and all(y > 0 for _, y in points)
        xs = [*(x for x, _ in points), *(x for x, _ in chart.marks), *(chart.extent or ())]
        ys = [y for _, y in points] + [y for _, low, high in chart.band for y in (low, high)] + list(chart.reach)
        self.x_low, self.x_high = _widened(min(xs), max(xs))
        self.y_ticks = _decades(min(ys), max(ys)) if self.logarithmic else ticks(*_widened(min(ys), max(ys)))
        self.y_low, self.y_high = min(*ys, *self.y_ticks), max(*ys, *self.y_ticks)

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_low, self.y_high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    def grid(self, x_label: str) -> list[str]:
        parts = []
        for value in self.y_ticks:
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for value in ticks(self.x_low, self.x_high, about=9):
            if self.x_low <= value <= self.x_high:
                parts.append(
                    f'<text x="{self.x(value):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>'
                )
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
        return parts


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty."""
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from at most `low` to at least `high`, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _line(line: Line, frame: _Frame, radius: float) -> list[str]:
    places = [(frame.x(x), frame.y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{path}" style="stroke:{line.colour}"/>']
    notes = line.notes or [""] * len(places)
    for (x, y), note in zip(places, notes, strict=True):
        title = f"<title>{escape(note)}</title>" if note else ""
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" style="fill:{line.colour}">{title}</circle>')
    return parts


def _band(chart: Chart, frame: _Frame) -> list[str]:
    if not chart.band:
        return []
    above = [f"{frame.x(x):.1f},{frame.y(high):.1f}" for x, _, high in chart.band]
    below = [f"{frame.x(x):.1f},{frame.y(low):.1f}" for x, low, _ in reversed(chart.band)]
    return [f'<polygon class="band" points="{" ".join([*above, *below])}"/>']


def _marks(chart: Chart, frame: _Frame) -> list[str]:
    parts = []
    for value, text in chart.marks:
        x = frame.x(value)
        kind = "mark" if text else "mark dotted"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        if text:
            parts.append(f'<text class="mark" x="{x + 4:.1f}" y="{_TOP + 10}">{escape(text)}</text>')
    return parts
