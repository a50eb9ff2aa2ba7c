"""Networks in users' files: what they may be, and one sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fleetseg.errors import CheckpointError, UnknownNameError, UsageError
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network, register_network, users
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of
from fleetseg.models.users import UserNetwork

HEAD = "import torch\nfrom torch import nn\n"
PLAIN = """
class Plain(nn.Module):
    def __init__(self, num_classes, in_channels=3, width=4, dropout=0.1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.head = nn.Conv2d(width, num_classes, 1)
        self.register_buffer("factor", torch.tensor(2.0), persistent=False)

    def forward(self, image):
        return self.head(self.conv(image)) * self.factor
"""


@pytest.fixture
def write(tmp_path: Path) -> object:
    def file(body: str, name: str = "net.py") -> Path:
        path = tmp_path / name
        path.write_text(HEAD + body)
        return path

    return file


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_CLASSES", {})


def test_a_plain_module_is_wrapped_and_rebuilt_from_its_file_of_weights(write: object, tmp_path: Path) -> None:
    word = f"{write(PLAIN)}:Plain"  # type: ignore[operator]
    assert register_network(word) == "net.py:Plain"
    network = build_network(word, 5, width=6).eval()
    assert isinstance(network, UserNetwork)
    assert (network.registered_name, network.options, network.output_stride) == ("net.py:Plain", {"width": 6}, 1)
    image = torch.randn(2, 3, 13, 21)
    assert network(image).shape == (2, 5, 13, 21)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "plain", list("abcde")))
    before = torch.random.get_rng_state()
    rebuilt, metadata = load_checkpoint(path)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert metadata.network.name == "net.py:Plain"
    # The buffer that is in no file has its value too.
    assert torch.equal(rebuilt(image), network(image))


def test_weights_alone_never_run_a_file(write: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = f"{write(PLAIN)}:Plain"  # type: ignore[operator]
    register_network(word)
    network = build_network(word, 2)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "plain", ["a", "b"]))
    users._CLASSES.clear()
    monkeypatch.chdir(tmp_path)  # where net.py lies
    with pytest.raises(CheckpointError, match=r"add --network with the file's path, such as --network FOLDER/net"):
        load_checkpoint(path)
    (tmp_path / "net.py").write_text((HEAD + PLAIN).replace("width=4", "width=5"))
    register_network("net.py:Plain")
    with pytest.raises(CheckpointError, match=r"'module\.conv\.weight' has shape \(4, 3, 3, 3\), .* needs \(5, 3"):
        load_checkpoint(path)


def test_strides_multiples_and_channels(write: object) -> None:
    body = """
class Coarse(nn.Conv2d):
    size_multiple = 24
    def __init__(self, num_classes):
        super().__init__(3, num_classes, 8, stride=8)
"""
    word = f"{write(body)}:Coarse"  # type: ignore[operator]
    register_network(word)
    network = build_network(word, 4)
    assert (network.output_stride, network.size_multiple) == (8, 24)
    assert network(torch.zeros(1, 3, 30, 9)).shape == (1, 4, 4, 2)
    with pytest.raises(UsageError, match="takes no in_channels, so it has 3, not 4; give its constructor the p"):
        build_network(word, 4, in_channels=4)


def test_a_multiple_that_is_no_power_of_two(write: object) -> None:
    body = PLAIN.replace("self.head =", "self.size_multiple = 7\n        self.head =")
    word = f"{write(body)}:Plain"  # type: ignore[operator]
    register_network(word)
    seen = []
    network = build_network(word, 2)
    network.module.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    assert network(torch.zeros(1, 3, 8, 15)).shape == (1, 2, 8, 15)
    assert seen == [(14, 21)]
    register_network(f"{write(body.replace('= 7', '= 0'))}:Plain")  # type: ignore[operator]
    with pytest.raises(UsageError, match="its size_multiple is 0; a whole number from 1 is needed"):
        build_network(word, 2)


def test_files_may_import_their_neighbours(write: object) -> None:
    write("WIDTH = 7\n", "neighbour_of_net.py")  # type: ignore[operator]
    path = write("from neighbour_of_net import WIDTH\n" + PLAIN.replace("width=4", "width=WIDTH"))  # type: ignore[operator]
    register_network(f"{path}:Plain")
    assert build_network(f"{path}:Plain", 2).module.conv.out_channels == 7


def module(forward: str, arguments: str = "num_classes") -> str:
    return f"""
class Net(nn.Module):
    def __init__(self, {arguments}):
        super().__init__()
        self.classes = 3
    def forward(self, image):
        {forward}
"""


@pytest.mark.parametrize(
    ("body", "name", "sentence"),
    [
        ("1 / 0\n", "Net", r"net\.py: cannot be run: ZeroDivisionError: division by zero"),
        ("class Net(:\n", "Net", r"net\.py: cannot be run: SyntaxError: invalid syntax"),
        (PLAIN, "Plane", r"There is no network in .*net\.py called 'Plane'; did you mean Plain\?"),
        ("Net = 3\n", "Net", "Net is no torch.nn.Module"),
        (module("return image", "classes"), "Net", "its constructor takes no num_classes; write __init__"),
        (module("return image", "num_classes, width"), "Net", "constructor's parameter width needs a default value"),
    ],
)
def test_what_cannot_be_registered(write: object, body: str, name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        register_network(f"{write(body)}:{name}")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("forward", "sentence"),
    [
        ("return image", r"gives \(1, 3, 64, 128\) for an image of 128×64; logits of shape \(1, 5, 64, 128\) or \(1"),
        ("return [image]", "gives list for an image of 128×64; logits of shape"),
        ("return image.view(7, 7)", "fails on an image of 128×64: RuntimeError: "),
    ],
)  # fmt: skip
def test_what_gives_no_logits(write: object, forward: str, sentence: str) -> None:
    word = f"{write(module(forward))}:Net"  # type: ignore[operator]
    register_network(word)
    with pytest.raises(UsageError, match=sentence):
        build_network(word, 5)


def test_wrong_words_and_options(write: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"network '.*nowhere\.py:Net': there is no file .*nowhere\.py"):
        register_network(f"{tmp_path / 'nowhere.py'}:Net")
    with pytest.raises(UsageError, match=r"network 'net\.py': write FILE\.py:CLASS, such as my_net\.py:MyNet"):
        register_network("net.py")
    word = f"{write(PLAIN)}:Plain"  # type: ignore[operator]
    register_network(word)
    with pytest.raises(UsageError, match=r"network 'net\.py:Plain' has no option 'depth'; it has: width, dropout"):
        build_network(word, 5, depth=3)
    with pytest.raises(UsageError, match="width is 'x'; a value of type int is needed"):
        build_network(word, 5, width="x")
    with pytest.raises(UsageError, match=r"network 'net\.py:Plain' cannot be built: RuntimeError: "):
        build_network(word, 5, width=-1)
    with pytest.raises(UnknownNameError, match=r"There is no network 'Plain\.py'"):
        build_network("Plain.py", 5)
