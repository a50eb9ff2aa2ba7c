"""The page: HTML with everything inside, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from fleetseg.evaluation import Evaluation

_STYLE = """
:root { color-scheme: light; --ink: #1f2328; --pale: #6b7280; --line: #e5e7eb; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
p.lead, .pale { color: var(--pale); }
dl { display: flex; flex-wrap: wrap; gap: .6rem 2.2rem; margin: 1.2rem 0; }
dt { color: var(--pale); font-size: .8rem; } dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; display: block; margin: .6rem 0; }
svg text { font: 12px system-ui, sans-serif; fill: var(--pale); } svg text.title { font-weight: 600; fill: var(--ink); }
svg .grid { stroke: var(--line); } svg polyline { fill: none; stroke-width: 1.6; }
svg .band { fill: #9ca3af; opacity: .35; } svg line.mark { stroke: #9ca3af; } svg line.dotted { stroke-dasharray: 2 3; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th { font-weight: 500; text-align: left; } td, th { padding: .15rem .5rem; }
table.bars { width: 100%; } table.bars td.number { text-align: right; width: 4.5rem; }
table.bars td.bar { width: 60%; } .bar div { height: .9rem; border-radius: 2px; background: #2563eb; }
.swatch { display: inline-block; width: .9rem; height: .9rem; border: 1px solid #0003; vertical-align: -.1rem;
  margin-right: .5rem; }
table.confusion td { text-align: right; border: 1px solid #fff; min-width: 2.4rem; font-size: .85rem; }
table.confusion th.column { writing-mode: vertical-rl; transform: rotate(180deg); padding: .3rem .1rem; }
figure { margin: 1rem 0; } figure img { width: 100%; border: 1px solid var(--line); }
pre { background: #f6f8fa; padding: 1rem; overflow-x: auto; font-size: .85rem; } summary { cursor: pointer; }
"""


@dataclass(frozen=True)
class Picture:
    """A JPEG and what it shows."""

    jpeg: bytes
    caption: str


def page(title: str, lead: str, sections: Sequence[str]) -> str:
    """The whole document."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>',
            *sections,
            "</body></html>\n",
        )
    )


def section(title: str, *parts: str, note: str = "") -> str:
    """A heading, perhaps a sentence, and what belongs to it."""
    said = f'<p class="pale">{escape(note)}</p>' if note else ""
    return f"<h2>{escape(title)}</h2>{said}" + "\n".join(parts)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values side by side."""
    inside = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f"<dl>{inside}</dl>"


def folded(title: str, text: str) -> str:
    """A text that opens on a click."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def pictures(found: Sequence[Picture]) -> str:
    """One below the other, inside the page."""
    shown = ((escape(one.caption), base64.b64encode(one.jpeg).decode()) for one in found)
    return "\n".join(
        f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{data}"></figure>' for caption, data in shown
    )


def class_bars(result: Evaluation) -> str:
    """IoU of each class as a bar in its own row, with its accuracy."""
    rows = [
        f'<tr><th><span class="swatch" style="background:rgb{colour}"></span>{escape(name)}</th>'
        f'<td class="bar"><div style="width:{0 if math.isnan(iou) else 100 * iou:.1f}%"></div></td>'
        f'<td class="number">{percent(iou)}</td><td class="number">{percent(accuracy)}</td></tr>'
        for name, colour, iou, accuracy in zip(
            result.labels.names, result.labels.palette, result.scores.iou, result.scores.accuracy, strict=True
        )
    ]
    head = '<tr><th>class</th><th></th><td class="number">IoU</td><td class="number">accuracy</td></tr>'
    return f'<table class="bars">{head}{"".join(rows)}</table>'


def confusion_table(counts: npt.NDArray[np.int64], names: Sequence[str]) -> str:
    """Rows: labelled as; columns: predicted as; percent of the row. "no class" appears where it was predicted."""
    columns = [*names, "no class"] if counts[:-1, -1].any() else list(names)
    head = "".join(f'<th class="column">{escape(name)}</th>' for name in columns)
    rows = []
    for number, name in enumerate(names):
        total = max(1, int(counts[number].sum()))
        shares = [int(count) / total for count in counts[number, : len(columns)]]
        cells = "".join(_cell(share, column == number) for column, share in enumerate(shares))
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f'<div class="wide"><table class="confusion"><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _cell(share: float, correct: bool) -> str:
    colour = "23,110,60" if correct else "190,40,30"
    ink = "#fff" if share > 0.35 else "inherit"
    text = f"{100 * share:.1f}" if share >= 0.0005 else ""
    return f'<td style="background:rgba({colour},{share**0.5:.3f});color:{ink}">{text}</td>'


def percent(fraction: float) -> str:
    """0.5 → 50.0, NaN → –."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}"
