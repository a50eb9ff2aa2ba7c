"""`load`: every kind of file, and one sentence for everything that is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import fleetseg
from fleetseg.errors import CheckpointError, MissingExtraError, UnknownNameError, UsageError
from fleetseg.metadata import METADATA_KEY, metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import save_checkpoint, spec_of
from fleetseg.runtime import loading

SHARED_WEIGHTS = Path(__file__).parents[3] / "shared" / "reference" / "espnet"

Picture = npt.NDArray[np.uint8]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """An ESPNet-A of two classes, as training writes it."""
    network = build_network("espnet-a", 2, alpha2=1, alpha3=1)
    path = tmp_path / "runs" / "a" / "best.safetensors"
    path.parent.mkdir(parents=True)
    save_checkpoint(path, network, metadata_for(spec_of(network), "tiny", ["road", "rest"]))
    return path


@pytest.fixture
def packaged(tmp_path: Path, colour_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with one packaged network, `street-colours`."""
    folder = tmp_path / "weights"
    folder.mkdir()
    shutil.copy(colour_onnx, folder / "street-colours.onnx")
    (folder / "street-colours.md").write_text("a model card")
    monkeypatch.setattr(loading, "_weights", lambda: folder)
    return folder


def test_onnx_file_by_string_and_path(colour_onnx: Path) -> None:
    assert fleetseg.load(str(colour_onnx)).classes == fleetseg.load(colour_onnx).classes


def test_packaged_name(packaged: Path, noise: Picture) -> None:
    assert fleetseg.packaged_models() == ("street-colours",)
    model = fleetseg.load("street-colours", threads=1)
    np.testing.assert_array_equal(model(noise), noise.argmax(axis=2))


def test_packaged_name_on_torch(packaged: Path, checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="'street-colours' has no PyTorch weights; use engine 'onnxruntime'"):
        fleetseg.load("street-colours", engine="torch")
    shutil.copy(checkpoint, packaged / "street-colours.safetensors")
    assert fleetseg.load("street-colours", engine="torch").engine == "torch"


def test_every_packaged_network_loads() -> None:
    for name in fleetseg.packaged_models():
        assert fleetseg.load(name).metadata.name == name


def test_unknown_name_offers_the_nearest(packaged: Path) -> None:
    with pytest.raises(UnknownNameError, match="no packaged model 'street-colour'; did you mean street-colours"):
        fleetseg.load("street-colour")


@pytest.mark.parametrize("name", ["erfnet", "espnet-c-no-fusion"])
def test_a_network_without_packaged_weights_says_how_to_get_some(packaged: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"'{name}' is a network of which no weights .*'network: \{{name: {name}\}}'"):
        fleetseg.load(name)


def test_checkpoint_and_its_run_folder(checkpoint: Path, noise: Picture) -> None:
    model = fleetseg.load(checkpoint, threads=1)
    assert (model.engine, model.classes) == ("torch", ("road", "rest"))
    assert model.logits(noise).shape == (2, 3, 5)
    np.testing.assert_array_equal(fleetseg.load(checkpoint.parent)(noise), model(noise))


@pytest.mark.shared
def test_published_checkpoint(noise: Picture) -> None:
    path = SHARED_WEIGHTS / "espnet_p_2_q_8_camvid.pth"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    model = fleetseg.load(path)
    assert (model.engine, len(model.classes)) == ("torch", 12)
    assert model(noise).shape == (21, 37)


def test_paths_that_do_not_exist(tmp_path: Path) -> None:
    for name in ("nowhere/model", "model.onnx", "model.safetensors", "model.pth"):
        with pytest.raises(UsageError, match=f"{name}: no such model file"):
            fleetseg.load(tmp_path / name)


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"without best\.safetensors"):
        fleetseg.load(tmp_path)


def test_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").touch()
    with pytest.raises(UsageError, match=r"weights\.h5: is no file of weights by its name; \.onnx, \.xml"):
        fleetseg.load(tmp_path / "weights.h5")


def test_engines_that_cannot_run_the_file(colour_onnx: Path, checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="runs on engine 'onnxruntime' or 'openvino' or 'opencv', not on 'torch'"):
        fleetseg.load(colour_onnx, engine="torch")
    with pytest.raises(UsageError, match="runs on engine 'torch', not on 'onnxruntime'"):
        fleetseg.load(checkpoint, engine="onnxruntime")
    with pytest.raises(UnknownNameError, match="no engine 'onnxruntim'; did you mean onnxruntime"):
        fleetseg.load(colour_onnx, engine="onnxruntim")


def test_thread_count_must_be_positive(colour_onnx: Path, checkpoint: Path) -> None:
    for path in (colour_onnx, checkpoint):
        with pytest.raises(UsageError, match="threads is -1; 1 to 1024 are possible"):
            fleetseg.load(path, threads=-1)


def test_onnx_of_somebody_else(write_colour_onnx: Callable[..., Path]) -> None:
    path = write_colour_onnx(metadata=None)
    with pytest.raises(CheckpointError, match=f"{path}: has no fleetseg metadata .* use an ONNX file that fleetseg"):
        fleetseg.load(path)


def test_onnx_with_wrong_metadata(colour_onnx: Path) -> None:
    model = onnx.load(colour_onnx)
    for text, place in (("{", "the whole"), ('{"name": "x"}', "network")):
        model.metadata_props[0].value = text
        colour_onnx.write_bytes(model.SerializeToString())
        with pytest.raises(CheckpointError, match=f"metadata is wrong at {place}"):
            fleetseg.load(colour_onnx)


def test_onnx_with_two_inputs(colour_onnx: Path) -> None:
    model = onnx.load(colour_onnx)
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
    colour_onnx.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="one image input"):
        fleetseg.load(colour_onnx)


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x07\x12" + b"\xff" * 100])
def test_broken_onnx(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.onnx: is no ONNX file, or is cut off$"):
        fleetseg.load(tmp_path / "a.onnx")
    assert capfd.readouterr().err == ""


def test_truncated_onnx(colour_onnx: Path) -> None:
    colour_onnx.write_bytes(colour_onnx.read_bytes()[:60])
    with pytest.raises(CheckpointError):
        fleetseg.load(colour_onnx)


def test_onnx_cannot_pull_in_other_files(colour_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(36))
    monkeypatch.chdir(tmp_path)
    model = onnx.load(colour_onnx)
    assert model.metadata_props[0].key == METADATA_KEY
    weights = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(weights, "secret.bin")
    weights.ClearField("raw_data")
    colour_onnx.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError):
        fleetseg.load(colour_onnx)


def test_truncated_checkpoint(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"best\.safetensors"):
        fleetseg.load(checkpoint)


def test_without_torch_the_sentence_is_the_install_line(
    checkpoint: Path, colour_onnx: Path, noise: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in (checkpoint, checkpoint.with_name("a.pth")):
        name.touch()
        with pytest.raises(MissingExtraError, match=r"running a PyTorch checkpoint .*pip install 'fleetseg\[train\]'"):
            fleetseg.load(name)
    assert fleetseg.load(colour_onnx)(noise).shape == (21, 37)


def test_an_onnx_file_needs_no_torch_and_imports_are_late(colour_onnx: Path) -> None:
    script = f"""
import sys, fleetseg, fleetseg.runtime, fleetseg.cli
heavy = {{"numpy", "cv2", "onnxruntime", "pydantic", "torch"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import numpy
assert fleetseg.load({str(colour_onnx)!r})(numpy.zeros((9, 9, 3), "uint8")).shape == (9, 9)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_lazy_names() -> None:
    import fleetseg.runtime as runtime

    assert set(runtime.__all__) == {"ENGINES", "Engine", "Model", "load", "packaged_models"}
    assert all(getattr(runtime, name) is not None for name in runtime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        runtime.laod  # noqa: B018
