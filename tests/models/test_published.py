"""The published ESPNet layout, without the published files: their keys, and what wrong files are answered with."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fleetseg.errors import CheckpointError, UsageError
from fleetseg.models.published import load_published, published_key

Build = Callable[..., Any]
Tensors = dict[str, Tensor]


def as_published(network: Any) -> Tensors:
    """A network's weights as the authors' code would save them."""
    weights = network.state_dict().items()
    return OrderedDict((published_key(key), value) for key, value in weights if "num_batches" not in key)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a `.pth` file."""

    def write(content: Any) -> Path:
        torch.save(content, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    return write


@pytest.fixture(scope="module")
def camvid_encoder(random_network: Build) -> Tensors:
    return as_published(random_network("espnet-c", 12, alpha2=1, alpha3=2))


@pytest.fixture(scope="module")
def cityscapes(random_network: Build) -> Tensors:
    return as_published(random_network("espnet", 20, alpha2=2, alpha3=3))


def sentence(path: Path) -> str:
    """What the file is refused with: one sentence that begins with its name, exit status 1."""
    with pytest.raises(CheckpointError) as caught:
        load_published(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert caught.value.exit_status == 1
    return text.removeprefix(f"{path}: ")


def test_keys_of_the_layout(camvid_encoder: Tensors, cityscapes: Tensors) -> None:
    assert {key.rsplit(".", 1)[0] for key in camvid_encoder} == {
        "level1.conv", "level1.bn", "level1.act",
        "b1.bn", "b1.act", "b2.bn", "b2.act", "b3.bn", "b3.act",
        *(f"level{level}_0.{part}" for level in (2, 3) for part in ("bn", "act")),
        *(f"level{level}_0.{part}.conv" for level in (2, 3) for part in ("c1", "d1", "d2", "d4", "d8", "d16")),
        *(
            f"{module}.{part}"
            for module in ("level2.0", "level3.0", "level3.1")
            for part in ("c1.conv", "d1.conv", "d2.conv", "d4.conv", "d8.conv", "d16.conv", "bn.bn", "bn.act")
        ),
        "classifier.conv",
    }  # fmt: skip
    assert {key.rsplit(".", 1)[0] for key in cityscapes if not key.startswith("encoder.")} == {
        "level3_C.conv", "br", "conv.conv", "conv.bn", "conv.act", "up_l3.0",
        "combine_l2_l3.0.bn", "combine_l2_l3.0.act",
        *(f"combine_l2_l3.1.{part}.conv" for part in ("c1", "d1", "d2", "d4", "d8", "d16")),
        "combine_l2_l3.1.bn.bn", "combine_l2_l3.1.bn.act",
        "up_l2.0", "up_l2.1.bn", "up_l2.1.act", "classifier",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "classes", "options"),
    [
        ("espnet-c", 12, {"alpha2": 1, "alpha3": 2}),
        ("espnet-c", 20, {"alpha2": 2, "alpha3": 8}),
        ("espnet", 12, {"alpha2": 2, "alpha3": 3, "decoder_channels": 19}),
        ("espnet", 20, {"alpha2": 2, "alpha3": 5, "decoder_channels": 16}),
    ],
)
def test_the_file_tells_which_network_it_is(
    name: str, classes: int, options: dict[str, int], random_network: Build, save: Callable[[Any], Path]
) -> None:
    original = random_network(name, classes, **options)
    network, metadata = load_published(save(as_published(original)))
    assert metadata.network.model_dump() == {
        "name": name,
        "num_classes": classes,
        "in_channels": 3,
        "options": options,
        "output_stride": original.output_stride,
    }
    assert not network.training
    image = torch.randn(1, 3, 20, 28)
    with torch.no_grad():
        assert torch.equal(network(image), original(image))


def test_classes_and_normalisation(save: Callable[[Any], Path], camvid_encoder: Tensors, cityscapes: Tensors) -> None:
    camvid = load_published(save(camvid_encoder))[1]
    assert (camvid.classes[0], camvid.classes[10], camvid.classes[11]) == ("Sky", "Bicyclist", "Unlabelled")
    assert camvid.normalisation.mean == (110.33102643, 108.40886315, 105.03319369)
    streets = load_published(save(cityscapes))[1]
    assert (streets.classes[0], streets.classes[18], streets.classes[19]) == ("road", "bicycle", "unlabelled")
    assert streets.normalisation.std == (45.3192215, 46.15289307, 44.91483307)
    for metadata, size in ((camvid, (480, 360)), (streets, (1024, 512))):
        assert (metadata.normalisation.order, metadata.normalisation.scale) == ("bgr", 1 / 255)
        assert metadata.train_size == size
        assert metadata.licence.startswith("MIT")
        assert metadata.palette[-1] == (0, 0, 0)


def test_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.pth: no such checkpoint file"):
        load_published(tmp_path / "a.pth")


BROKEN = "is no complete file of PyTorch weights (truncated, damaged or of another kind)"


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_truncated(save: Callable[[Any], Path], camvid_encoder: Tensors, share: float) -> None:
    path = save(camvid_encoder)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert sentence(path) == BROKEN


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02K\x01.", pickle.dumps({"a": 1}, 2), b"PK\x03\x04" * 50])
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.pth"
    path.write_bytes(content)
    assert sentence(path)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), head=st.sampled_from([b"", b"\x80\x02", b"\x80\x02}q\x00", b"PK\x03\x04"]))
def test_any_bytes_are_one_sentence(tmp_path: Path, head: bytes, content: bytes) -> None:
    path = tmp_path / "any.pth"
    path.write_bytes(head + content)
    assert sentence(path)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain", "inside"])
def test_hostile_pickles_run_nothing(tmp_path: Path, camvid_encoder: Tensors, kind: str) -> None:
    path, witness = tmp_path / "hostile.pth", tmp_path / "witness"
    hostile = Hostile(f"touch {witness}")
    content: Any = {**camvid_encoder, "level1.conv.weight": hostile} if kind == "inside" else hostile
    if kind == "plain":
        path.write_bytes(pickle.dumps(content, 2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind != "legacy")
    assert sentence(path) == "holds posix.system besides weights; a file that could run code is never loaded"
    assert not witness.exists()
    # The same file does run its command when it is loaded the careless way, so the test can fail.
    torch.load(path, weights_only=False) if kind != "plain" else pickle.loads(path.read_bytes())
    assert witness.exists()


def test_files_that_hold_no_table_of_weights(save: Callable[[Any], Path], camvid_encoder: Tensors) -> None:
    expected = "holds no table of weights; expected one of the published ESPNet or ERFNet checkpoints"
    for content in ([1, 2], torch.zeros(3), {"state_dict": [1]}, {"a": torch.eye(2).to_sparse()}):
        assert sentence(save(content)) == expected
    assert load_published(save({"epoch": 7, "state_dict": camvid_encoder}))[1].network.name == "espnet-c"


def test_weights_of_another_network(save: Callable[[Any], Path], random_network: Build) -> None:
    expected = "not in the layout of the published ESPNet or ERFNet weights; give one of those, a"
    assert sentence(save(random_network("enet", 12).state_dict())).startswith(expected)
    assert sentence(save({})).startswith(expected)


@pytest.mark.parametrize("classes", [5, 19, 300])
def test_other_class_counts(save: Callable[[Any], Path], camvid_encoder: Tensors, classes: int) -> None:
    tensors = {**camvid_encoder, "classifier.conv.weight": torch.zeros(classes, 256, 1, 1)}
    assert sentence(save(tensors)) == (f"has {classes} classes; published weights have 12 (CamVid) or 20 (Cityscapes)")


def test_missing_foreign_and_unfit_weights(
    save: Callable[[Any], Path], camvid_encoder: Tensors, cityscapes: Tensors
) -> None:
    without = {key: value for key, value in camvid_encoder.items() if key != "level2_0.d8.conv.weight"}
    assert sentence(save(without)) == "the weight 'level2_0.d8.conv.weight' of ESPNetC is missing"
    assert sentence(save({**camvid_encoder, "x": torch.zeros(1)})) == "the weight 'x' has no place in ESPNetC"
    reshaped = {**camvid_encoder, "b1.bn.bias": torch.zeros(20)}
    assert sentence(save(reshaped)) == "'join1.0.bias' has shape (20,), ESPNetC with 12 classes needs (19,)"
    no_decoder = {key: value for key, value in cityscapes.items() if key != "conv.conv.weight"}
    assert sentence(save(no_decoder)) == "the weight 'conv.conv.weight' of ESPNet's decoder is missing"
    odd_decoder = {**cityscapes, "conv.conv.weight": torch.zeros(20, 37, 3, 3)}
    assert sentence(save(odd_decoder)) == (
        "describes a network that cannot be built: network 'espnet': decoder_channels is 17; use 16 or 19"
    )
    endless = {**camvid_encoder, f"level2.{'9' * 5000}.x": torch.zeros(1)}
    assert sentence(save(endless)).startswith("the weight 'level2.1.c1.conv.weight' of ESPNetC is missing")


def test_archives_that_are_no_weights(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    path = tmp_path / "archive.pth"
    path.write_bytes(buffer.getvalue())
    assert sentence(path) == BROKEN
