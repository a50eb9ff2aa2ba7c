"""The scripts that time all networks and draw what they found: everything but the timing itself."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fleetseg.errors import UsageError
from fleetseg.models import build_network

pytestmark = pytest.mark.usefixtures("scripts")


def record() -> dict[str, Any]:
    times = {"segnet": (900.0, 300.0), "enet": (60.0, 20.0)}
    results = [
        {"model": name, "size": size, "engine": engine, "precision": "fp32", "threads": 2, "median_ms": median * factor}
        for size, factor in (("320x180", 0.25), ("640x360", 1.0))
        for name, medians in times.items()
        for engine, median in zip(("torch", "native"), medians, strict=True)
    ]
    networks = [
        {"network": name, "size": size, "parameters": parameters, "gmacs": 1.0}
        for size in ("320x180", "640x360")
        for name, parameters in (("segnet", 29_454_548), ("enet", 364_376), ("pspnet", 65_707_988))
    ]
    return {"machine": {"processor": "P", "target": "generic"}, "results": results, "networks": networks}


def test_ratios_stand_beside_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    import_module("network_tables").print_tables(record())
    lines = capsys.readouterr().out.splitlines()
    (claim,) = [line.split() for line in lines if line.startswith("segnet / enet 640x360")]
    assert claim[4:7] == ["18.1", "15.00", "15.00"]
    (row,) = [line.split() for line in lines if line.startswith("segnet ") and "300.0" in line]
    assert row == ["segnet", "1.00", "900.0", "300.0", "native:fp32", "3.00", "15.0"]
    assert any(line.split() == ["pspnet", "1.00", "–", "–"] for line in lines)


def test_the_pages_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file, tables = tmp_path / "record.json", import_module("network_tables")
    file.write_text(json.dumps(record()))
    monkeypatch.setattr(sys, "argv", ["network_tables.py", str(file), "--size", "640x360"])
    assert tables.main() == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["`segnet`", "1.00", "900", "300 (native fp32)", "3.0", "15"] in rows
    assert ["`segnet` / `enet`, 640×360", "18.1", "15.00", "15.00"] in [row[:4] for row in rows]
    # Columns are sizes; nobody measured pspnet.
    assert ["`segnet`", "3.0 (75.0)", "3.0 (300)"] in rows
    assert not any("`pspnet`" in row for row in rows)
    monkeypatch.setattr(sys, "argv", ["network_tables.py", str(file), "--size", "1x1"])
    with pytest.raises(SystemExit, match=r"--size 1x1: not in .*, which has 320x180, 640x360"):
        tables.main()


def test_what_does_not_fit_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    networks, file = import_module("networks"), tmp_path / "record.json"
    command = ["networks.py", "--network", "enet", "--size", "64x48", "--size", "640x360", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", [*command, "--most-gmacs", "0.01"])
    assert networks.main() == 0
    written = json.loads(file.read_text())
    # Those with few multiply-adds come first.
    assert [(row["size"], row["trials"]) for row in written["networks"]] == [("64x48", 0), ("640x360", 0)]
    assert "enet 640x360: left out, 2 GMACs are more than --most-gmacs 0.01" in capsys.readouterr().err
    # The same call finds everything done, whatever it was.
    monkeypatch.setattr(networks, "measured", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr(sys, "argv", command)
    assert networks.main() == 0
    written["machine"]["processor"] = "another"
    file.write_text(json.dumps(written))
    with pytest.raises(UsageError, match=r"was measured with processor another, not .*; begin another file"):
        networks.main()


def test_memory_and_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = import_module("networks")
    network = build_network("enet", 20)
    assert networks.too_large(network, (640, 360)) == ""
    monkeypatch.setattr(networks, "available_memory", lambda: 10**7)
    assert networks.too_large(network, (640, 360)).endswith("GB are needed, 0.0 are free")
    assert [networks.trials_for(gmacs, 30) for gmacs in (1, 5, 15, 100)] == [30, 30, 10, 3]


def test_three_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    results, accuracy = tmp_path / "results.json", tmp_path / "accuracy.json"
    results.write_text(json.dumps(record()))
    points = [{"network": "enet", "miou": 65.2}, {"network": "segnet", "miou": 60.0}]
    accuracy.write_text(json.dumps({"data": "CamVid", "split": "val", "size": "480x360", "networks": points}))
    arguments = ["network_plots.py", str(results), "--accuracy", str(accuracy), "--out", str(tmp_path / "plots")]
    monkeypatch.setattr(sys, "argv", arguments)
    plots = import_module("network_plots")
    assert plots.main() == 0
    names = ("accuracy-size.png", "accuracy-speed.png", "size-speed.png")
    for name in names:
        with Image.open(tmp_path / "plots" / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    monkeypatch.setattr(sys, "argv", [*arguments[:2], "--out", str(tmp_path / "few")])
    plots.main()
    assert "accuracy-size.png: no network has both" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "few").iterdir()] == ["size-speed.png"]
    monkeypatch.setattr(sys, "argv", ["network_plots.py", str(accuracy)])
    with pytest.raises(SystemExit, match=r"accuracy\.json: is another kind of file; machine, results, networks are"):
        plots.main()


def test_plots_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plots, old, new = import_module("network_plots"), record(), record()
    new["results"] = [{**row, "median_ms": 80.0} for row in new["results"] if row["model"] == "enet"]
    rows = plots.last_measured([old, new])
    assert plots.frames(rows, "enet", "640x360") == 12.5  # not the 50 of the older file
    assert plots.frames(rows, "segnet", "640x360") == 1000 / 300
    new["machine"]["processor"] = "Q"
    with pytest.raises(SystemExit, match="results of several machines: P generic, Q generic"):
        plots.machine_of([old, new])
