"""Networks small enough to know their answers by heart, in real files."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Several workers share the processors: a thread each. Read when PyTorch and NumPy are imported, so it comes first.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # pytest-xdist names its own terminal's width, by which tables would be cut.
    os.environ.pop("COLUMNS", None)

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper

from fleetseg.metadata import METADATA_KEY, ModelMetadata, NetworkSpec, Normalisation, metadata_for

# No deadlines: how long an example takes says something about the machine alone.
settings.register_profile("fleetseg", deadline=None)
settings.load_profile("fleetseg")

# A shell starts jobs in its background with Ctrl-C ignored; the tests that press it need it heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Its three classes are the channels: a pixel's class is its largest channel.
COLOUR_METADATA = ModelMetadata(
    name="colours",
    network=NetworkSpec(name="colours", num_classes=3),
    classes=("red", "green", "blue"),
    palette=((200, 0, 0), (0, 200, 0), (0, 0, 200)),
    normalisation=Normalisation(mean=(0, 0, 0), std=(1, 1, 1)),
    train_size=(32, 24),
)

WriteOnnx = Callable[..., Path]


def colour_graph(stride: int) -> onnx.ModelProto:
    """Logits are the image's channels, of every `stride`-th pixel."""
    weights = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    node = helper.make_node("Conv", ["image", "weights"], ["logits"], strides=[stride, stride])
    graph = helper.make_graph(
        [node],
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3, "rows", "columns"])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def write_colour_onnx(tmp_path: Path) -> WriteOnnx:
    """Writes the colour network under a name, with metadata (None: without any) and an output stride."""

    def write(name: str = "colours.onnx", metadata: ModelMetadata | None = COLOUR_METADATA, stride: int = 1) -> Path:
        model = colour_graph(stride)
        if metadata is not None:
            spec = metadata.network.model_copy(update={"output_stride": stride})
            entry = model.metadata_props.add()
            entry.key, entry.value = METADATA_KEY, metadata.model_copy(update={"network": spec}).to_json()
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture
def colour_onnx(write_colour_onnx: WriteOnnx) -> Path:
    """The colour network as a file."""
    return write_colour_onnx()


@pytest.fixture
def noise() -> npt.NDArray[np.uint8]:
    """A picture of an odd size, (21, 37, 3)."""
    return np.random.default_rng(5).integers(0, 256, (21, 37, 3), dtype=np.uint8)


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Sequence[str], str], None]:
    """Checks in an empty folder that a command is refused with one sentence and leaves every file as it was.

    Call with the command's words and (part of) the sentence.
    """
    from fleetseg.cli import main

    monkeypatch.chdir(tmp_path)

    def files() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}

    def check(words: Sequence[str], sentence: str) -> None:
        before = files()
        assert main(list(words)) == 2
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1
        assert files() == before

    return check


SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """What the project's work shares beside the checkout; tests that need it carry the mark `shared`."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    return SHARED


@pytest.fixture(scope="session")
def random_network() -> Callable[..., Any]:
    """Builds a registered network in evaluation mode in which no weight, slope or running statistic is a default.

    Call with (name, num_classes, in_channels=3, seed=0, **options). Networks that have a width get a sixteenth of it
    unless one is given: their wiring is the same, and the largest has 160 million weights.
    """
    import torch

    from fleetseg.models import SegmentationNetwork, build_network, network_entry

    def build(name: str, num_classes: int, in_channels: int = 3, seed: int = 0, **options: Any) -> SegmentationNetwork:
        torch.manual_seed(seed)
        if "width" in network_entry(name).option_names():
            options = {"width": 1 / 16, **options}
        network = build_network(name, num_classes, in_channels, **options)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.3)
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
            elif isinstance(module, torch.nn.PReLU):
                torch.nn.init.uniform_(module.weight, -0.1, 0.4)
            elif isinstance(module, torch.nn.Conv2d) and not module.weight.any():  # FCN's scores, LRR's coefficients
                torch.nn.init.normal_(module.weight, std=0.1)
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.1)
        return network.eval()

    return build


@pytest.fixture(scope="session")
def metadata_of() -> Callable[..., ModelMetadata]:
    """Metadata for a network with classes named class0, class1 and so on; keywords replace fields."""
    from fleetseg.models.checkpoint import spec_of

    def describe(network: Any, name: str = "test", **fields: Any) -> ModelMetadata:
        classes = [f"class{number}" for number in range(network.num_classes)]
        return metadata_for(spec_of(network), name, classes).model_copy(update=fields)

    return describe
