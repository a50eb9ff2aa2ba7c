"""One network on both engines: the same logits at every size, alone and in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import fleetseg
from fleetseg.compilation import compile as compile_network
from fleetseg.errors import FleetsegError, UsageError
from fleetseg.exporters.onnx import export_onnx
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import save_checkpoint, spec_of
from fleetseg.runtime import Model
from fleetseg.runtime.onnx_engine import OnnxEngine
from fleetseg.runtime.threads import processors
from fleetseg.runtime.torch_engine import TorchEngine

NETWORKS = ("enet", "espnet", "espnet-c")


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """A network with random weights as ONNX and as checkpoint."""
    torch.manual_seed(7)
    network = build_network(request.param, CAMVID_11.num_classes).eval()
    metadata = metadata_for(spec_of(network), request.param, CAMVID_11.names, CAMVID_11.palette)
    folder = tmp_path_factory.mktemp(request.param)
    export_onnx(network, metadata, folder / "a.onnx")
    save_checkpoint(folder / "a.safetensors", network, metadata)
    return fleetseg.load(folder / "a.onnx"), fleetseg.load(folder / "a.safetensors")


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (37, 21), (64, 48)])
def test_engines_agree(pair: tuple[Model, Model], size: tuple[int, int]) -> None:
    onnx_model, torch_model = pair
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    ours, theirs = onnx_model.logits(image), torch_model.logits(image)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(1, np.abs(theirs).max()))
    assert onnx_model(image).shape == (size[1], size[0])
    assert (onnx_model(image) == torch_model(image)).mean() > 0.99


def test_batches(pair: tuple[Model, Model]) -> None:
    batch = np.random.default_rng(2).normal(size=(3, 3, 16, 24)).astype(np.float32)
    for model in pair:
        together = model._engine.run(batch)
        alone = np.concatenate([model._engine.run(batch[i : i + 1]) for i in range(3)])
        np.testing.assert_allclose(together, alone, atol=1e-4 * max(1, np.abs(alone).max()))


def test_a_graph_that_fails_is_one_sentence(colour_onnx: Path) -> None:
    engine = OnnxEngine(colour_onnx.read_bytes(), "colours.onnx")
    with pytest.raises(FleetsegError, match=r"^colours\.onnx: ONNX Runtime failed on \(1, 5, 4, 4\) \(.+\)$"):
        engine.run(np.zeros((1, 5, 4, 4), np.float32))


def test_threads(colour_onnx: Path) -> None:
    assert processors() >= 1
    for threads, expected in ((None, processors()), (1, 1), (3, 3)):
        session = OnnxEngine(colour_onnx.read_bytes(), "colours.onnx", threads)._session
        assert session.get_session_options().intra_op_num_threads == expected
    before = torch.get_num_threads()
    try:
        TorchEngine(build_network("espnet-a", 2), threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [0, 100_000])
def test_impossible_numbers_of_threads(colour_onnx: Path, threads: int) -> None:
    for opened in (
        lambda: OnnxEngine(colour_onnx.read_bytes(), "colours.onnx", threads),
        lambda: TorchEngine(build_network("espnet-a", 2), threads),
        lambda: compile_network("enet-camvid", (64, 64), threads=threads),
    ):
        with pytest.raises(UsageError, match=f"^threads is {threads}; 1 to 1024 are possible$"):
            opened()


class FailingNetwork(torch.nn.Module):
    """Raises what PyTorch raises."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(self.sentence)


def test_pytorch_out_of_memory_becomes_a_memory_error() -> None:
    image = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(MemoryError):
        TorchEngine(FailingNetwork("DefaultCPUAllocator: can't allocate memory")).run(image)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="a bug"):
        TorchEngine(FailingNetwork("a bug")).run(image)  # type: ignore[arg-type]
