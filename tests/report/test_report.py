"""The page about a run: what it says is what the run's files and its network say, and nothing lies beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fleetseg.cli import main
from fleetseg.data import open_dataset
from fleetseg.data.resized import Resized
from fleetseg.evaluation import evaluate
from fleetseg.metadata import ModelMetadata
from fleetseg.models.checkpoint import save_checkpoint
from fleetseg.report import write_report
from fleetseg.report.slopes import slopes_by_depth, slopes_chart
from fleetseg.runtime import load

HISTORY = """stage,epoch,loss,miou,global_accuracy,learning_rate,images_per_second,seconds,validation_seconds
encoder,1,2.5,,,0.001,8,1800,0
network,1,1.5,21.5,60,0.001,8,1800,4
network,2,1.2,34.25,66,0.0005,8,1800,4
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two validation images of two classes with names that HTML would take for markup."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(2):
            mask = np.zeros((24, 32), np.uint8)
            mask[:, rng.integers(8, 24) :] = 1
            for kind, pixels in (("images", np.repeat(mask[..., None] * 200, 3, axis=2)), ("labels", mask)):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / kind / split / f"{number}.png")
    (root / "classes.yaml").write_text('names: ["<dark>", "bright & blue"]\n')
    return root


@pytest.fixture
def run(data: Path, tmp_path: Path, random_network: Callable[..., Any]) -> Path:
    """A run's folder, as after three of four epochs."""
    root = tmp_path / "my run"
    root.mkdir()
    (root / "recipe.yaml").write_text(
        "name: quick\nnetwork: {name: enet}\nstages:\n"
        "- {name: encoder, part: encoder, epochs: 1}\n- {name: network, epochs: 3}\n"
    )
    record = {"data": str(data), "train_images": 2, "val_images": 2, "classes": ["<dark>", "bright & blue"]}
    (root / "data.json").write_text(json.dumps(record))
    (root / "history.csv").write_text(HISTORY)
    network = random_network("enet", 2)
    metadata = ModelMetadata(
        name="quick",
        network={"name": "enet", "num_classes": 2},
        classes=("<dark>", "bright & blue"),
        palette=((10, 20, 30), (200, 210, 220)),
        provenance={"stage": "network", "epoch": 2},
    )
    save_checkpoint(root / "best.safetensors", network, metadata)
    return root


class Page(HTMLParser):
    """Collects tags and text; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "link", "line", "circle", "polyline", "polygon"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("circle",):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_the_page_says_what_the_files_say_and_loads_nothing(run: Path, data: Path) -> None:
    path = write_report(run)
    assert path == run / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert len(page.addresses) == 2 and "url(" not in text and "<script" not in text
    model = load(run)
    scores = evaluate(model, open_dataset(data, "val"), model.classes).scores
    words = " ".join(page.words)
    for value in (scores.miou, scores.global_accuracy, *scores.iou):
        assert f"{100 * value:.1f}" in page.words
    assert "<dark>" in page.words and "bright & blue" in page.words
    assert "3 of 4" in page.words and "1.5" in page.words  # epochs, hours
    assert "network, epoch 2: mIoU 34.25" in words and "name: quick" in words
    rows = re.findall(r"<tr><th>&lt;dark&gt;</th>(.*?)</tr>", text)
    share = scores.counts[0, 1] / scores.counts[0].sum()
    assert f">{100 * share:.1f}</td>" in rows[0]


def test_the_images_are_those_of_the_recipes_split_at_its_size(run: Path, data: Path) -> None:
    with (run / "recipe.yaml").open("a") as recipe:
        recipe.write("data: {val_split: train, size: [16, 24]}\n")
    words = Page(write_report(run).read_text(encoding="utf-8")).words
    assert any("2 images of the split 'train'" in word for word in words)
    model = load(run)
    scores = evaluate(model, Resized(open_dataset(data, "train"), (16, 24)), model.classes).scores
    assert all(f"{100 * value:.1f}" in words for value in (scores.miou, scores.global_accuracy))
    assert scores.counts.sum() == 2 * 16 * 24


def test_prelu_slopes_by_depth(random_network: Callable[..., Any]) -> None:
    network = random_network("enet", 3)
    slopes = slopes_by_depth(network)
    weight = network.encoder.stage1[0].act.weight.detach()
    found = next(one for one in slopes if one.name == "encoder.stage1.0.act")
    assert (found.lowest, found.highest) == (float(weight.min()), float(weight.max()))
    assert found.mean == pytest.approx(float(weight.mean()))
    assert found.ends_block and found.in_encoder
    inside = next(one for one in slopes if one.name == "encoder.stage1.0.extension.1.1")
    assert not inside.ends_block
    assert len(slopes) == sum(isinstance(module, torch.nn.PReLU) for module in network.modules())
    whole = slopes_by_depth(random_network("enet", 3, decoder_activation="prelu"))
    chart = slopes_chart(whole)
    border = next(place for place, text in chart.marks if text == "decoder")
    assert border == sum(one.in_encoder for one in whole) + 0.5
    assert not any(text for _, text in slopes_chart(slopes).marks)  # a ReLU decoder has no slope


def test_a_run_without_validation_shows_its_newest_weights(run: Path) -> None:
    (run / "best.safetensors").rename(run / "last.safetensors")
    (run / "history.csv").write_text("\n".join(HISTORY.splitlines()[:2]) + "\n")
    assert "last.safetensors" in write_report(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: (run / "recipe.yaml").unlink(), "is no folder of a training run; it has no recipe.yaml"),
        (lambda run: (run / "best.safetensors").unlink(), "the run has no weights yet"),
        (
            lambda run: (run / "history.csv").write_text("stage,epoch\na,b\n"),
            "history.csv: is not the history of a run",
        ),
        (lambda run: (run / "best.safetensors").write_bytes(b"half"), "best.safetensors: not a complete safetensors"),
        (
            lambda run: (run / "data.json").write_text(
                json.dumps({"data": "/gone", "train_images": 1, "val_images": 1, "classes": []})
            ),
            "/gone",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(
    spoil: Callable[[Path], Any], sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(run)
    assert main(["report", str(run)]) in (1, 2)
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and "Traceback" not in said
    assert not (run / "report.html").exists()
