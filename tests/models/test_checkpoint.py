"""Files of weights: what a broken, foreign or tampered one is answered with. Round trips: test_networks.py."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fleetseg.cli import main
from fleetseg.errors import CheckpointError, OutputError, UsageError
from fleetseg.metadata import METADATA_KEY, ModelMetadata
from fleetseg.models import build_network
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of

Build = Callable[..., Any]


@pytest.fixture(scope="module")
def written(random_network: Build, metadata_of: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint of a small ESPNet-A with three classes."""
    network = random_network("espnet-a", 3, alpha2=1, alpha3=1)
    path = tmp_path_factory.mktemp("weights") / "whole.safetensors"
    save_checkpoint(path, network, metadata_of(network))
    return path


@pytest.fixture
def rewrite(written: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes the checkpoint again with changed metadata (dotted keys) and tensors (None: without it)."""

    def write(metadata: dict[str, Any] | None = None, tensors: dict[str, torch.Tensor | None] | None = None) -> Path:
        description = json.loads(load_checkpoint(written)[1].to_json())
        for key, value in (metadata or {}).items():
            *parents, last = key.split(".")
            place = description
            for parent in parents:
                place = place[parent]
            place[last] = value
        weights = {**load_file(written), **(tensors or {})}
        path = tmp_path / "changed.safetensors"
        kept = {key: value for key, value in weights.items() if value is not None}
        save_file(kept, path, metadata={METADATA_KEY: json.dumps(description)})
        return path

    return write


def sentence(path: Path) -> str:
    """What the file is refused with: one sentence that begins with its name, exit status 1."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert caught.value.exit_status == 1
    return text.removeprefix(f"{path}: ")


def test_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing: no such checkpoint file"):
        load_checkpoint(tmp_path / "nothing")


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 2000, -1])
def test_truncated(written: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(written.read_bytes()[:kept])
    assert sentence(path).startswith("not a complete safetensors file (")


@pytest.mark.parametrize("content", [b"no weights at all" * 100, b"\x00" * 4096, struct.pack("<Q", 2**60) + b"{}"])
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(content)
    assert sentence(path).startswith("not a complete safetensors file (")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), data=st.booleans())
def test_any_changed_byte_is_either_harmless_or_one_sentence(
    written: Path, tmp_path: Path, place: float, value: int, data: bool
) -> None:
    content = bytearray(written.read_bytes())
    header = struct.unpack("<Q", content[:8])[0] + 8
    content[int(header + place * (len(content) - header)) if data else int(place * header)] = value
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content)
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        assert str(error).startswith(f"{path}: ")


def test_safetensors_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"layer.weight": torch.zeros(3, 3)}, path)
    assert sentence(path) == "a safetensors file without fleetseg metadata; use one written by fleetseg train"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"network.name": "espnet-z"}, "describes a network that cannot be built: There is no network 'espnet-z'; "),
        ({"network.name": "enet"}, "describes a network that cannot be built: network 'enet' has no option 'alpha2'"),
        ({"network.options": {"alpha2": 1, "alpha3": 2}}, "the weight 'level3.1.reduce.weight' of ESPNetA is missing"),
        ({"network.options": {"alpha2": 1, "alpha3": "2"}}, "describes a network that cannot be built: "),
        ({"network.options": {"alpha2": 1, "alpha3": 10**9}}, "describes a network that cannot be built: "),
        ({"network.options": {"alpha2": 1, "alpha3": 1, "branches": 0}}, "describes a network that cannot be built: "),
        (
            {"network.num_classes": 4},
            "its fleetseg metadata is wrong at the whole: 3 class names, 3 colours and a network of 4 classes; "
            "the three must be equal",
        ),
        (
            {
                "network.num_classes": 2,
                "classes": ["a", "b"],
                "palette": [[0, 0, 0], [1, 1, 1]],
            },
            "'classifier.weight' has shape (3, 128, 1, 1), ESPNetA with 2 classes needs (2, 128, 1, 1)",
        ),
        (
            {"network.in_channels": 5000, "normalisation.mean": [0] * 5000, "normalisation.std": [1] * 5000},
            "'level1.0.weight' has shape (16, 3, 3, 3), ESPNetA with 3 classes needs (16, 5000, 3, 3)",
        ),
        ({"network.in_channels": 10**12}, "its fleetseg metadata is wrong at network.in_channels: "),
        ({"network.in_channels": 1}, "its fleetseg metadata is wrong at the whole: 3 channels are normalised but the"),
        ({"network.output_stride": 1}, "gives espnet-a the output stride 1; it is 8"),
        ({"network.output_stride": 4}, "its fleetseg metadata is wrong at network.output_stride: "),
        ({"format_version": 2}, "its fleetseg metadata is wrong at format_version: "),
        ({"palette": [[0, 0, 256], [0, 0, 0], [0, 0, 0]]}, "its fleetseg metadata is wrong at palette.0.2: "),
        ({"classes": ["a", "b", "a"]}, "its fleetseg metadata is wrong at the whole: the class name 'a' occurs twice"),
        ({"surprise": 1}, "its fleetseg metadata is wrong at surprise: "),
    ],
)
def test_tampered_metadata(rewrite: Callable[..., Path], changes: dict[str, Any], expected: str) -> None:
    assert sentence(rewrite(changes)).startswith(expected)


def test_metadata_that_is_no_json(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(load_file(written), path, metadata={METADATA_KEY: '{"name": '})
    assert sentence(path).startswith("its fleetseg metadata is wrong at the whole: Invalid JSON")


def test_missing_foreign_and_unfit_weights(rewrite: Callable[..., Path]) -> None:
    assert sentence(rewrite(tensors={"down2.norm.bias": None})) == "the weight 'down2.norm.bias' of ESPNetA is missing"
    assert sentence(rewrite(tensors={"more": torch.zeros(1)})) == "the weight 'more' has no place in ESPNetA"
    whole_numbers = {"classifier.weight": torch.zeros(3, 128, 1, 1, dtype=torch.int32)}
    assert sentence(rewrite(tensors=whole_numbers)) == (
        "'classifier.weight' is of type torch.int32; torch.float32 is needed"
    )


def test_half_precision_weights_are_widened(rewrite: Callable[..., Path]) -> None:
    path = rewrite(tensors={"classifier.weight": torch.ones(3, 128, 1, 1, dtype=torch.float16)})
    assert load_checkpoint(path)[0].state_dict()["classifier.weight"].dtype == torch.float32


def test_loading_draws_no_random_numbers(written: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_checkpoint(written)
    assert torch.equal(torch.rand(3), expected)


def test_the_command_line_says_it_in_one_line(rewrite: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = rewrite(tensors={"down2.norm.bias": None})
    assert main(["evaluate", str(path), "--data", "scenes:1"]) == 1
    assert capsys.readouterr().err == f"fleetseg: {path}: the weight 'down2.norm.bias' of ESPNetA is missing\n"


def test_equal_networks_make_equal_files(random_network: Build, metadata_of: Build, tmp_path: Path) -> None:
    for name in ("a", "b"):
        network = random_network("espnet-a", 3, alpha2=1, alpha3=1)
        if name == "b":
            network.to(memory_format=torch.channels_last)
        save_checkpoint(tmp_path / name, network, metadata_of(network))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_metadata_of_another_network_is_refused(metadata_of: Build, tmp_path: Path) -> None:
    metadata: ModelMetadata = metadata_of(build_network("enet", 3))
    with pytest.raises(ValueError, match=r"the metadata describes .*'enet'.*, the weights are of .*'espnet-a'"):
        save_checkpoint(tmp_path / "a", build_network("espnet-a", 3), metadata)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(metadata_of: Build, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    network = build_network("espnet-a", 3)
    with pytest.raises(OutputError, match=r"file/a\.safetensors: cannot be written"):
        save_checkpoint(tmp_path / "file" / "a.safetensors", network, metadata_of(network))


def test_spec_of_a_network() -> None:
    spec = spec_of(build_network("espnet-c", 7, 4, alpha3=5))
    assert spec.model_dump() == {
        "name": "espnet-c",
        "num_classes": 7,
        "in_channels": 4,
        "options": {"alpha3": 5},
        "output_stride": 8,
    }
