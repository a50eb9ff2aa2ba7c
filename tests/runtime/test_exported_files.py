"""Files of other runtimes that are broken, somebody else's or for another machine: one sentence each."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import pytest

import fleetseg
from fleetseg.errors import CheckpointError, FleetsegError, MissingExtraError, UsageError
from fleetseg.metadata import ExportedForm, ModelMetadata, NetworkSpec, carried, metadata_for, read_carried
from fleetseg.runtime.exported_model import ExportedModel

PACKAGE = {".xml": "openvino", ".param": "ncnn", ".pt2": "torch", ".tflite": "ai_edge_litert", ".pte": "executorch"}


@pytest.mark.parametrize("suffix", PACKAGE)
@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x00\xff" * 40])
def test_broken_files(suffix: str, content: bytes, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGE[suffix])
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"a\{suffix}: "):
        fleetseg.load(path)


@pytest.mark.parametrize(
    ("suffix", "sentence"),
    [
        (".xml", "is no OpenVINO model, whose .xml begins with <?xml or <net"),
        (".pt2", "is no complete file of torch.export (cut off, or of another kind)"),
        (".onnx", "is no ONNX file, or is cut off"),
    ],
)
def test_text_under_another_name_is_one_sentence(
    suffix: str, sentence: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if suffix in PACKAGE:
        pytest.importorskip(PACKAGE[suffix])
    path = tmp_path / f"a{suffix}"
    path.write_text("hello, this is text")
    with pytest.raises(CheckpointError) as caught:
        fleetseg.load(path)
    assert str(caught.value) == f"{path}: {sentence}"
    assert capfd.readouterr().err == ""  # the runtimes say nothing of their own


def test_a_folder_named_as_weights(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(UsageError, match=r"a\.safetensors: is a folder, not a file of weights$"):
        fleetseg.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("suffix", [suffix for suffix in PACKAGE if suffix != ".pt2"])
def test_a_runtime_that_is_not_installed(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PACKAGE[suffix], f"{PACKAGE[suffix]}.interpreter", f"{PACKAGE[suffix]}.runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / f"a{suffix}").write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r"needs an extra: pip install 'fleetseg\["):
        fleetseg.load(tmp_path / f"a{suffix}")


def test_core_ml_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    (tmp_path / "a.mlpackage").mkdir()
    with pytest.raises(UsageError, match="Core ML runs on macOS alone; export to onnx or openvino"):
        fleetseg.load(tmp_path / "a.mlpackage")


def test_devices_that_are_not_here(colour_onnx: Path) -> None:
    with pytest.raises(UsageError, match="ONNX Runtime runs on cpu, cuda, tensorrt"):
        fleetseg.load(colour_onnx, device="abacus")
    with pytest.raises(UsageError, match=r"has no TensorrtExecutionProvider; .* pip install onnxruntime-gpu"):
        fleetseg.load(colour_onnx, device="tensorrt")
    with pytest.raises(UsageError, match="engine 'opencv' runs on device 'cpu', not on 'cuda'"):
        fleetseg.load(colour_onnx, engine="opencv", device="cuda")


def described(**form: object) -> tuple[ModelMetadata, ExportedForm]:
    metadata = metadata_for(NetworkSpec(name="colours", num_classes=3), "colours", ["red", "green", "blue"])
    return metadata, ExportedForm.model_validate({"format": "onnx", **form})


def test_fields_there_and_back() -> None:
    metadata, form = described(size=(8, 6), head="classes")
    assert read_carried(carried(metadata, form), "a") == (metadata, form)
    with pytest.raises(CheckpointError, match="a: has no 'fleetseg_form' metadata; use a file that fleetseg export"):
        read_carried({"fleetseg": metadata.to_json()}, "a")
    with pytest.raises(CheckpointError, match="a: its 'fleetseg_form' metadata is wrong"):
        read_carried({"fleetseg": metadata.to_json(), "fleetseg_form": "{}"}, "a")


class Fixed:
    """An engine that always gives the same."""

    name = "fixed"

    def __init__(self, result: np.ndarray) -> None:
        self.result = result
        self.seen: list[tuple[int, ...]] = []

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.seen.append(batch.shape)
        return self.result


def test_an_image_of_any_size_is_brought_to_the_files(noise: np.ndarray) -> None:
    logits = np.zeros((1, 3, 6, 8), np.float32)
    logits[:, 2] = 1
    engine = Fixed(logits)
    metadata, form = described(size=(8, 6), image_size=(16, 12), preprocessing=True)
    model = ExportedModel(engine, metadata, form, "a")
    assert (model(noise) == 2).all()
    assert model(noise).shape == noise.shape[:2]
    assert set(engine.seen) == {(1, 12, 16, 3)}


def test_an_output_of_another_shape_is_an_error(noise: np.ndarray) -> None:
    metadata, form = described(size=(8, 6))
    with pytest.raises(FleetsegError, match=r"a: gives \(3, 5, 8\) where its metadata promises \(3, 6, 8\)"):
        ExportedModel(Fixed(np.zeros((1, 3, 5, 8), np.float32)), metadata, form, "a")(noise)
