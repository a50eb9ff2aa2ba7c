"""The memory plan, judged by lifetimes alone."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetseg.compiler.memory import Buffer, place, window_margin

SPANS = st.tuples(st.integers(0, 20), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))
ITEMS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2), SPANS), min_size=1, max_size=12)


@settings(deadline=None)
@given(ITEMS)
def test_buffers_that_live_at_once_never_overlap(items: list[tuple[int, int, int, tuple[int, int]]]) -> None:
    buffers = {
        f"b{i}": Buffer(f"b{i}", "f32", channels, height, 10, margin, zeroed=margin > 0)
        for i, (channels, height, margin, _) in enumerate(items)
    }
    lives = {f"b{i}": span for i, (*_, span) in enumerate(items)}
    placed, size = place(buffers, lives)
    for a, b in itertools.combinations(placed.values(), 2):
        apart = a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset
        together = lives[a.name][0] <= lives[b.name][1] and lives[b.name][0] <= lives[a.name][1]
        # Zeros that are written once must not be shared with anything of another layout, ever.
        same_layout = (a.segments, a.height, a.margin) == (b.segments, b.height, b.margin)
        exclusive = (a.zeroed or b.zeroed) and not (a.zeroed and b.zeroed and same_layout)
        assert apart or not (together or exclusive)
    assert all(buffer.offset >= 0 and buffer.offset + buffer.bytes <= size for buffer in placed.values())


@settings(deadline=None)
@given(ITEMS)
def test_nothing_is_wasted_without_need(items: list[tuple[int, int, int, tuple[int, int]]]) -> None:
    buffers = {
        f"b{i}": Buffer(f"b{i}", "f32", channels, height, 10, 0) for i, (channels, height, _, _) in enumerate(items)
    }
    one_after_the_other = {f"b{i}": (2 * i, 2 * i) for i in range(len(items))}
    assert place(buffers, one_after_the_other)[1] == max(buffer.bytes for buffer in buffers.values())


def test_margins_cover_the_worse_side() -> None:
    assert window_margin(width=80, out=80, kernel=3, stride=1, dilation=16, left=16) == 16
    assert window_margin(width=80, out=40, kernel=3, stride=2, dilation=1, left=1) == 1
    assert window_margin(width=80, out=80, kernel=2, stride=1, dilation=1, left=0) == 1
    assert window_margin(width=80, out=40, kernel=2, stride=2, dilation=1, left=0) == 0
