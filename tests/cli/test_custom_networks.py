"""docs/custom-networks.md: its network, its commands and its Python lines, one after another."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.cli import main
from fleetseg.data.scenes import render_scene
from fleetseg.errors import UsageError
from fleetseg.models import build_network, users
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "docs" / "custom-networks.md").read_text(), flags=re.DOTALL)
COMMANDS = [shlex.split(line) for language, block in BLOCKS if not language for line in block.splitlines()]
WORD = "my_net.py:MyNet"
#: Makes the training short; everything else about it is as printed.
SHORT = (
    "--data", "scenes:2", "--set", "data.workers=0", "--set", "network.options.width=8",
    "--set", "stages=[{name: one, epochs: 1, batch_size: 2, augmentation: {crop: [32, 24]}}]",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the document's network and a street."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_net.py").write_text(BLOCKS[0][1])
    Image.fromarray(render_scene(3, 48, 36)[0]).save(folder / "street.png")
    return folder


@pytest.fixture(autouse=True)
def newcomer(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In that folder, in a process that has seen no network of the user's."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("FLEETSEG_CACHE", str(place / "cache"))
    monkeypatch.setattr(users, "_CLASSES", {})


def command(verb: str) -> list[str]:
    """The document's first command of that verb."""
    return next(words[1:] for words in COMMANDS if words[1] == verb)


def test_it_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command("models"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == WORD
    network = build_network(WORD, 11)
    assert row["parameters"] == sum(weight.numel() for weight in network.parameters())


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """The document's training, shortened."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main([*command("train"), *SHORT]) == 0
    return place / "runs" / "mine" / "best.safetensors"


def test_it_is_served(trained: Path) -> None:
    pytest.importorskip("starlette")
    from fleetseg.cli.networks_to_serve import load_networks

    words = command("serve")
    assert words[2:] == ["--network", WORD]
    (served,) = load_networks([words[1]], "auto", None, 1, None, "auto", WORD)
    assert served.name == trained.parent.name
    with pytest.raises(UsageError, match="holds weights of the network 'enet', not of --network"):
        load_networks(["enet-camvid"], "auto", None, 1, None, "auto", WORD)


def test_it_is_trained_evaluated_compiled_and_predicts(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = command("evaluate")
    words[words.index("scenes:20")] = "scenes:1"
    assert main(words) == 0
    assert "mIoU" in capsys.readouterr().out
    predict = [words[1:] for words in COMMANDS if words[1] == "predict"]
    compile_it = command("compile")
    compile_it[compile_it.index("480x360")] = "48x36"
    masks = []
    for words in (predict[0], compile_it, predict[1]):
        assert main(words) == 0, words
        if words[0] == "predict":
            size = ["--size", "48x36"] if words[1] != "compiled" else []
            assert main([*words, *size]) == 0
            masks.append(np.array(Image.open("results/street.png")))
    assert (masks[0] == masks[1]).mean() > 0.99


def test_it_labels_a_batch(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fsspec")
    words = [*command("predict"), "--size", "48x36"]
    assert main(words) == 0
    alone = np.array(Image.open("results/street.png"))
    words[words.index("results")] = "batch"
    assert main([*words, "--workers", "1"]) == 0
    assert (np.array(Image.open("batch/street.png")) == alone).all()
    assert main([*words, "--cluster", "ray"]) == 2
    assert "machines of a cluster do not have that file" in capsys.readouterr().err


def test_it_is_compressed_and_trains_on(trained: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*command("compress"), "--no-time"]) == 0
    assert Path("fewer.safetensors").stat().st_size < trained.stat().st_size
    words = [*command("predict")[2:], "--size", "48x36"]
    assert main(["predict", "fewer.safetensors", *words]) == 0
    # From elsewhere too: the weights do not tell where the class is.
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    network = ["--network", f"{place}/my_net.py:MyNet", "--init", "../fewer.safetensors"]
    assert main(["train", "smoke", *SHORT, *network, "--out", "on"]) == 0
    fewer, more = (load_checkpoint(path)[0].options for path in (Path("on/best.safetensors"), trained))
    assert set(fewer) - set(more) == {"channels"}


def test_its_report(trained: Path) -> None:
    page = trained.parent / "report.html"
    page.unlink()
    assert main(["report", str(trained.parent), "--network", WORD]) == 0
    assert page.is_file()


def test_the_lines_of_python(trained: Path) -> None:
    names: dict[str, object] = {}
    exec(BLOCKS[-1][1], names)
    assert Path("mine_too.onnx").is_file()
    assert main(["predict", "mine_too.onnx", "street.png", "--out", "from_onnx"]) == 0


def test_weights_need_their_network(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(trained), "street.png", "--out", "results"]) == 1
    sentence = capsys.readouterr().err
    assert f"'{WORD}' is a network in a file of its user; add --network" in sentence
    assert "Traceback" not in sentence


def test_it_is_exported_and_verified(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command("export")) == 0
    verify = command("verify")
    verify[verify.index("scenes:20")] = "scenes:1"
    capsys.readouterr()
    assert main([*verify, "--json", "-"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert abs(figures["miou_drop"]) < 0.01


@pytest.mark.parametrize("verb", ["predict", "evaluate", "compile", "export", "compress", "submission"])
def test_weights_of_another_network(verb: str, place: Path, metadata_of: object, capsys: object) -> None:
    network = build_network("espnet-c", 11, alpha2=0, alpha3=0)
    save_checkpoint(place / "other.safetensors", network, metadata_of(network))  # type: ignore[operator]
    rest = {
        "predict": ["street.png", "--out", "results"],
        "evaluate": ["--data", "scenes:1"],
        "compile": ["--size", "48x36", "--out", "compiled"],
        "compress": ["--out", "fewer.safetensors", "--force"],
        "export": ["--format", "onnx", "--out", "other.onnx"],
        "submission": ["--format", "voc", "--data", "scenes:1", "--out", "other.zip"],
    }[verb]
    verbs = ["submission", "write"] if verb == "submission" else [verb]
    assert main([*verbs, "other.safetensors", *rest, "--network", WORD]) == 2
    assert capsys.readouterr().err == (  # type: ignore[attr-defined]
        f"fleetseg: other.safetensors: holds weights of the network 'espnet-c', not of --network {WORD}\n"
    )


def test_registered_names_are_no_files(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(trained), "--data", "scenes:1", "--network", "enet"]) == 2
    assert "--network enet: FILE.py:CLASS is needed" in capsys.readouterr().err


def test_a_network_that_fails_leaves_no_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "smoke", *SHORT, "--network", WORD, "--set", "network.options.width=-2", "--out", "broken"]
    assert main(words) == 2
    assert f"network '{WORD}'" in capsys.readouterr().err
    assert not (place / "broken").exists()


def test_any_registered_network_or_variant_replaces_a_recipes(place: Path) -> None:
    words = ["train", "smoke", "--network", "espnet-c-shufflenet", "--out", "shuffle"]
    short = [word if "width" not in word else "network.options.alpha3=1" for word in SHORT]
    assert main([*words, *short]) == 0
    network, metadata = load_checkpoint(place / "shuffle" / "best.safetensors")
    assert metadata.network.options == {"module": "shufflenet", "downsampling": "conv", "alpha3": 1}
    assert network.registered_name == "espnet-c"


@pytest.mark.slow
def test_it_is_timed(place: Path) -> None:
    words = ["benchmark", WORD, "--size", "48x36", "--classes", "5", "--trials", "2", "--threads", "1"]
    assert main([*words, "--engine", "native:fp32", "--engine", "torch:fp32", "--json", "speed.json"]) == 0
    results = json.loads((place / "speed.json").read_text())["results"]
    assert {result["engine"] for result in results} == {"native", "torch"}
    assert min(result["agreement"] for result in results) > 99
