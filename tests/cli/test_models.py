from __future__ import annotations

import importlib.util
import json

import pytest

from fleetseg.cli import main
from fleetseg.models import network_names

KEYS = {"name", "parameters", "fp32_mb", "fp16_mb", "gmacs_640x360", "receptive_field", "paper"}


def test_json_lists_every_network_with_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(network_names())
    assert all(set(row) == KEYS for row in rows)
    by_name = {row["name"]: row for row in rows}
    # ENet's Table 3 and ESPNet's section 4.2, as counted in spec/architectures.md.
    assert by_name["enet"]["parameters"] == 364_376
    assert by_name["espnet"]["parameters"] == 364_569
    assert by_name["enet"]["gmacs_640x360"] == 1.7273
    assert by_name["espnet"]["receptive_field"] == 2839
    assert by_name["espnet-c"]["fp32_mb"] == pytest.approx(4 * 187_529 / 1e6)
    assert by_name["espnet-c"]["fp16_mb"] == pytest.approx(2 * 187_529 / 1e6)
    assert "1606.02147" in by_name["enet"]["paper"]


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models", "--classes", "11"]) == 0
    printed = capsys.readouterr().out
    assert "363,791" in printed and "…" not in printed


@pytest.mark.parametrize("count", ["1", "256", "0"])
def test_impossible_class_counts_are_refused(capsys: pytest.CaptureFixture[str], count: str) -> None:
    assert main(["models", "--classes", count]) == 2
    complaint = capsys.readouterr().err
    assert count in complaint and "2 to 255" in complaint and "Traceback" not in complaint


def test_without_torch_the_sentence_is_the_install_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["models"]) == 2
    assert capsys.readouterr().err == (
        "fleetseg: listing the networks' costs needs an extra: pip install 'fleetseg[train]'\n"
    )


def test_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--variants", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["espnet-c-resnet"] == {
        "name": "espnet-c-resnet",
        "network": "espnet-c",
        "options": {"module": "resnet", "downsampling": "conv"},
        "parameters": 1_204_514,
        "where": "Fig. 5",
    }
    assert main(["models", "--variants"]) == 0
    assert "module=resnet, downsampling=conv" in capsys.readouterr().out


def test_the_papers_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--paper"]) == 0
    printed = capsys.readouterr().out.splitlines()
    (row,) = (line for line in printed if "11,009" in line)
    assert row.split()[:7] == ["ESPNet", "Fig.", "3(g)", "MobileNet", "parameters", "11,009", "10,900"]
    assert row.rstrip().endswith("-1.0 %  misprint: M(n² + N) = 100 · (9 + 100)")
    # 29.46 beside 29.4545 and 141.13 beside 141.1497: neither looks like nothing.
    assert sum("-0.02 %" in line or "+0.01 %" in line for line in printed) == 2
    agreeing, _, rows = printed[-1].split()[:3]
    assert sum(line.rstrip().endswith(" =") for line in printed) == int(agreeing)
    assert len(printed) == int(rows) + 3


def test_the_papers_class_counts_are_not_ours_to_choose(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--paper", "--classes", "11"]) == 2
    assert "--paper has its own networks and class counts; give it alone" in capsys.readouterr().err
