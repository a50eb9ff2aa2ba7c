"""The papers' sizes: which come out to the digit, and that the rest has a reason."""

from __future__ import annotations

import pytest
import torch

from fleetseg.models import build_network
from fleetseg.models.paper_flops import paper_flops
from fleetseg.models.paper_rows import PAPER_ROWS, QUANTITIES, PaperRow
from fleetseg.models.paper_table import Comparison, compared, rows_of_ours
from fleetseg.variants import VARIANTS


@pytest.fixture(scope="module")
def table() -> list[Comparison]:
    return [compared(row) for row in rows_of_ours()]


def test_every_difference_has_a_note_and_only_differences_do(table: list[Comparison]) -> None:
    for comparison in table:
        assert comparison.agrees == (comparison.row.note == ""), comparison


def test_what_cannot_be_reproduced(table: list[Comparison]) -> None:
    """The list of spec/architectures.md, of the networks of this family."""
    ours = {"ENet", "ESPNet", "C1", "MobileNet", "strided conv.", "ESPNet, α3 = 3"}
    differ = {(c.row.where, c.row.row, c.row.quantity) for c in table if not c.agrees and c.row.row in ours}
    assert differ >= {
        ("ENet Table 3", "ENet", "GFLOPs"),
        ("ENet Table 3", "ENet", "parameters"),
        ("ESPNet Table 1(c)", "ESPNet", "parameters"),
        ("ESPNet Fig. 3(g)", "MobileNet", "parameters"),
        ("ESPNet Table 2(c)", "strided conv.", "parameters"),
        ("ESPNet Table 2(d)", "C1", "MB"),
        ("ESPNet Table 2(g)", "ESPNet, α3 = 3", "MB"),
        ("ESPNet Fig. 7(a)", "ENet", "MB"),
    }
    assert len(differ) == 8


def test_numbers_are_counted(table: list[Comparison]) -> None:
    counted = {(c.row.where, c.row.row, c.row.quantity): c.ours for c in table}
    assert counted["ESPNet Table 2(g)", "ESPNet, α3 = 8", "parameters"] == 0.364569
    assert counted["ESPNet Table 2(g)", "ESPNet-C, α3 = 5", "MB"] == 4 * 252_297 / 1e6
    assert counted["ESPNet Table 2(e)", "K = 8", "field"] == 257
    assert counted["ESPNet Fig. 3(g)", "ASP", "memory"] == 4 * 5 * 56 * 56 * 100 / 2**20


def test_rows_are_the_papers() -> None:
    """How many numbers each table prints."""
    counts = {"ENet Table 3": 6, "ESPNet Fig. 3(g)": 18, "ESPNet Fig. 7(a)": 3}
    counts |= {f"ESPNet Table 1({part})": count for part, count in (("a", 3), ("c", 8), ("d", 3))}
    counts |= {f"ESPNet Table 2({p})": n for p, n in zip("abcdefg", (2, 2, 2, 6, 12, 4, 12), strict=True)}
    places = [row.where for row in PAPER_ROWS]
    assert {place: places.count(place) for place in places} == counts
    assert {row.quantity for row in PAPER_ROWS} == set(QUANTITIES)


def test_enets_flops_with_their_counters_slip_are_the_printed_ones() -> None:
    """Dilated convolutions counted as if their output had W + 2d − 2 columns: two stages of dilation 2, 4, 8, 16."""
    with torch.device("meta"):
        network = build_network("enet", 20).eval()
    flops = paper_flops(network, 640, 360)
    surplus = sum((80 + 2 * d - 2) * (45 + 2 * d - 2) - 80 * 45 for d in (2, 4, 8, 16))
    assert round((flops + 2 * surplus * 2 * 9 * 32 * 32) / 1e9, 2) == 3.83


def test_flops_of_a_layer_by_hand() -> None:
    with torch.device("meta"):
        network = build_network("espnet-a", 2, alpha2=0, alpha3=0, downsampling="conv", act="relu").eval()
    # 16 × 8 pixels: maps of 8 × 4, 4 × 2 and 2 × 1, each with 2 a multiply-add, 1 an output, 1 a ReLU.
    by_hand = 32 * (2 * 27 * 16 + 16 + 16) + 8 * (2 * 144 * 64 + 64 + 64) + 2 * (2 * 576 * 128 + 128 + 128)
    assert paper_flops(network, 16, 8) == by_hand + 2 * (2 * 128 * 2 + 2)


@pytest.mark.parametrize(
    ("printed", "ours", "agrees"),
    [("0.364", 0.364999, True), ("0.364", 0.3635, True), ("0.364", 0.3634, False), ("11,009", 11009, True),
     ("48", 47.5, True), ("48", 49.0, False), ("1.40", 1.3951, True), ("1.40", 1.41, False)],
)  # fmt: skip
def test_agreement_is_to_the_printed_digits(printed: str, ours: float, agrees: bool) -> None:
    assert Comparison(PaperRow("", "", "MB", printed), ours).agrees is agrees


def test_every_variant_of_table_2_stands_in_the_table() -> None:
    named = {row.network for row in PAPER_ROWS}
    for variant in VARIANTS.values():
        if variant.where.startswith("Table 2(") and variant.where[8] in "acdf" and variant.network != "espnet":
            assert variant.name in named, variant.name
