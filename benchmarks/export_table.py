"""The table of `export_matrix.py` in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a network, format and precision; columns of latency for the numbers of threads that were measured.

    A network's lines stand together, whichever environment added them.
    """
    networks = list(dict.fromkeys(key.split()[0] for key in rows))
    threads = sorted({count for row in rows.values() for count in row.get("latency_ms", {})}, reverse=True)
    titles = ["network", "format", "precision", "MiB", "same class", "largest difference", "mIoU lost", "int8 MACs"]
    titles += [f"ms, {count} thread{'s' if count != '1' else ''} (× PyTorch)" for count in threads]
    lines = ["| " + " | ".join(titles) + " |", "|---|---|---|" + "---:|" * (len(titles) - 3)]
    for key, row in sorted(rows.items(), key=lambda item: networks.index(item[0].split()[0])):
        cells = key.split()
        if "error" in row:
            # The record has the whole sentence.
            lines.append(f"| {' | '.join(cells)} | | {_reason(row['error'])} |" + " |" * (len(titles) - 5))
            continue
        lines.append(f"| {' | '.join([*cells, *_figures(row), *(_latency(row, count) for count in threads)])} |")
    return "\n".join(lines)


def _reason(sentence: str) -> str:
    share = re.search(r"gives ([\d.]+%) of the pixels", sentence)
    return f"{share[1]}, refused" if share else sentence


def _figures(row: Mapping[str, Any]) -> list[str]:
    agreement, drop, share = row["agreement"], row["miou_drop"], row.get("int8_share_of_macs")
    cells = [f"{row['size_bytes'] / 2**20:.2f}"]
    if agreement is None:
        return [*cells, "not run", "", "", ""]
    return [
        *cells,
        f"{100 * agreement['same_classes']:.3f}%",
        f"{agreement['max_difference']:.2g} of {agreement['largest_logit']:.2g}",
        "" if drop is None else f"{round(drop, 2) + 0:.2f}",
        "" if share is None else f"{100 * share:.1f}%",
    ]


def _latency(row: Mapping[str, Any], threads: str) -> str:
    """Median, and how many times as fast as PyTorch in the same rounds."""
    found = row.get("latency_ms", {}).get(threads)
    return f"{found['median']:.1f} ({found['pytorch'] / found['median']:.1f})" if found else ""
