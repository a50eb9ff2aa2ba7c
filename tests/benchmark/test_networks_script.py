"""The scripts that time all networks and draw what they found: everything but the timing itself."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from fleetseg.models import build_network

FOLDER = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def record() -> dict[str, Any]:
    times = {"segnet": (900.0, 300.0), "enet": (60.0, 20.0)}
    results = [
        {"model": name, "size": size, "engine": engine, "precision": "fp32", "median_ms": median * factor}
        for size, factor in (("320x180", 0.25), ("640x360", 1.0))
        for name, medians in times.items()
        for engine, median in zip(("torch", "native"), medians, strict=True)
    ]
    networks = [
        {"network": name, "size": size, "parameters": parameters, "gmacs": 1.0}
        for size in ("320x180", "640x360")
        for name, parameters in (("segnet", 29_454_548), ("enet", 364_376), ("pspnet", 65_707_988))
    ]
    return {"results": results, "networks": networks}


def test_ratios_stand_beside_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    script("networks").print_tables(record())
    lines = capsys.readouterr().out.splitlines()
    (claim,) = [line.split() for line in lines if line.startswith("segnet / enet 640x360")]
    assert claim[4:7] == ["18.1", "15.00", "15.00"]
    (row,) = [line.split() for line in lines if line.startswith("segnet ") and "300.0" in line]
    assert row == ["segnet", "1.00", "900.0", "300.0", "native:fp32", "3.00", "15.0"]
    assert any(line.split() == ["pspnet", "1.00", "–", "–"] for line in lines)


def test_what_does_not_fit_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = script("networks")
    network = build_network("enet", 20)
    assert networks.why_not(network, (640, 360), 1.7, 300.0) == ""
    assert networks.why_not(network, (640, 360), 400.0, 300.0) == "400 GMACs are more than --most-gmacs 300"
    monkeypatch.setattr(networks, "available_memory", lambda: 10**7)
    assert networks.why_not(network, (640, 360), 1.7, 300.0).endswith("GB are needed, 0.0 are free")


def test_three_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    results, accuracy = tmp_path / "results.json", tmp_path / "accuracy.json"
    results.write_text(json.dumps(record()))
    points = [{"network": "enet", "miou": 65.2}, {"network": "segnet", "miou": 60.0}]
    accuracy.write_text(json.dumps({"data": "CamVid", "split": "val", "networks": points}))
    arguments = ["network_plots.py", str(results), "--accuracy", str(accuracy), "--out", str(tmp_path / "plots")]
    monkeypatch.setattr(sys, "argv", arguments)
    plots = script("network_plots")
    assert plots.main() == 0
    names = ("accuracy-size.png", "accuracy-speed.png", "size-speed.png")
    for name in names:
        with Image.open(tmp_path / "plots" / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    monkeypatch.setattr(sys, "argv", [*arguments[:2], "--out", str(tmp_path / "few")])
    plots.main()
    assert "accuracy-size.png: no network has both" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "few").iterdir()] == ["size-speed.png"]
