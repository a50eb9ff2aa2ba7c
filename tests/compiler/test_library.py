"""Networks compiled to C against PyTorch, from image to class map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fleetseg.compilation
from fleetseg.compilation import _numbered_classes
from fleetseg.compiler.processor import extensions
from fleetseg.compiler.target import TARGETS
from fleetseg.errors import CheckpointError, UsageError
from fleetseg.models import build_network
from fleetseg.runtime import load
from fleetseg.runtime.native_engine import CompiledModel

from .networks import randomised


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path_factory.getbasetemp() / "libraries"))


def picture(width: int, height: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_agrees(network: nn.Module, size: tuple[int, int], folder: Path, target: str = "host") -> CompiledModel:
    """Logits to rounding, and classes equal wherever the two best logits differ by more than that."""
    model = fleetseg.compilation.compile(network, size, folder, target=target, threads=2)
    assert isinstance(model, CompiledModel)
    image = picture(*size)
    with torch.inference_mode():
        expected = network(torch.from_numpy(model.metadata.normalisation.apply(image)))[0].numpy()
    tolerance = 2e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(model.logits(image), expected, atol=tolerance)
    if model.metadata.network.output_stride == 1:
        best = np.sort(expected, axis=0)
        sure = best[-1] - best[-2] > 2 * tolerance
        assert (model(image) == expected.argmax(0))[sure].all()
        assert sure.mean() > 0.9
    return model


@pytest.mark.parametrize("size", [(41, 27), (96, 40)])
@pytest.mark.parametrize("target", ["host", "generic"])
def test_espnet_agrees_with_pytorch(tmp_path: Path, size: tuple[int, int], target: str) -> None:
    network = randomised(build_network("espnet", 7, alpha2=1, alpha3=1), seed=1)
    assert_agrees(network, size, tmp_path, target)


@pytest.mark.slow
def test_enet_agrees_with_pytorch(tmp_path: Path) -> None:
    assert_agrees(randomised(build_network("enet", 11), seed=1), (90, 60), tmp_path)


def test_eighth_size_logits_and_full_size_masks(tmp_path: Path) -> None:
    network = randomised(build_network("espnet-c", 5, alpha2=1, alpha3=1), seed=2)
    model = assert_agrees(network, (50, 33), tmp_path)
    image = picture(50, 33)
    assert model.logits(image).shape == (5, 5, 7)
    assert model(image).shape == (33, 50)


@pytest.mark.parametrize("classes", [2, 33])
@pytest.mark.parametrize("target", ["host", "x86-64-v3", "generic"])
def test_kernels_strides_dilations_and_groups(tmp_path: Path, classes: int, target: str) -> None:
    if not set(TARGETS.get(target, TARGETS["generic"]).extensions) <= extensions():
        pytest.skip(f"this processor does not run {target}")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 13, 3, stride=2, padding=1),
        nn.PReLU(13),
        nn.Conv2d(13, 26, (3, 5), padding=(2, 2), dilation=(2, 1), groups=13),
        nn.ReLU6(),
        nn.AvgPool2d(3, 1, 1),
        nn.Hardswish(),
        nn.Conv2d(26, 8, 3, padding=3, dilation=3, groups=2),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(8, 9, 4, stride=2, padding=1),
        nn.Conv2d(9, 6, 4, stride=4),
        nn.ConvTranspose2d(6, 7, 2, stride=2),
        nn.ConvTranspose2d(7, 5, 3, stride=2, padding=1, output_padding=1),
        nn.MaxPool2d(3, 1),
        nn.Conv2d(5, 6, 3, padding=2),
        nn.Conv2d(6, classes, (1, 3), padding=(0, 1)),
    )
    assert_agrees(network.eval(), (48, 24), tmp_path, target)


def test_small_and_odd_sizes(tmp_path: Path) -> None:
    network = randomised(build_network("espnet-c", 3, alpha2=1, alpha3=1), seed=4)
    for index, size in enumerate([(1, 1), (9, 3)]):
        assert_agrees(network, size, tmp_path / str(index))


def test_folder_loads_like_any_model(tmp_path: Path) -> None:
    network = randomised(build_network("espnet-c", 4, alpha2=1, alpha3=1), seed=5)
    made = fleetseg.compilation.compile(network, (40, 24), tmp_path)
    loaded = load(tmp_path, threads=1)
    image = picture(40, 24)
    np.testing.assert_array_equal(loaded.logits(image), made.logits(image))
    assert (loaded.engine, loaded.fixed_size) == ("native", (40, 24))
    assert loaded(picture(77, 31)).shape == (31, 77)
    with pytest.raises(UsageError, match="compiled for 40×24, cannot see 41×24"):
        loaded.logits(picture(41, 24))
    # Never write into the file itself: it is mapped into this process.
    (tmp_path / "espnetc.so").unlink()
    (tmp_path / "espnetc.so").write_bytes(b"no library")
    with pytest.raises(CheckpointError, match=r"espnetc\.so: cannot be loaded as a compiled network"):
        load(tmp_path)


def test_a_library_made_anew_replaces_the_one_loaded_before(tmp_path: Path) -> None:
    image = picture(16, 8)
    masks = []
    for bias in (0.0, 1.0):
        network = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            network.weight.zero_()
            network.bias.copy_(torch.tensor([0.5, bias]))
        masks.append(fleetseg.compilation.compile(network, (16, 8), tmp_path)(image))
    assert (masks[0].max(), masks[1].min()) == (0, 1)


def test_metadata_of_a_bare_module_comes_from_its_logits() -> None:
    metadata = _numbered_classes(nn.Conv2d(3, 6, 1), (8, 8))
    assert (len(metadata.classes), metadata.network.output_stride) == (6, 1)
    with pytest.raises(UsageError, match="Conv2d gives logits of 4×4 for images of 8×8"):
        _numbered_classes(nn.Conv2d(3, 6, 1, stride=2), (8, 8))
