"""Networks at a fraction of their published width: the same wiring with fewer channels."""

from __future__ import annotations


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of four, at least four.

    At width 1 every published count stays as it is: they are all multiples of four. `ValueError` outside 0–4.
    """
    if not 0 < width <= 4:
        raise ValueError(f"width is {width:g}; use a number above 0, at most 4")
    return max(4, 4 * round(channels * width / 4))
