"""Several processes as one: the same gradients, scores and files, with real processes that talk through gloo."""

from __future__ import annotations

import csv
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fleetseg.cli import main
from fleetseg.errors import UsageError
from fleetseg.training.loader import EpochSampler
from fleetseg.training.processes import Processes, check_counts, from_environment, launch
from fleetseg.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]

#: What each of two processes runs: a step of a BatchNorm network on its half, then gradients to a file.
ONE_STEP = """
import sys, numpy as np, torch
from torch.nn.parallel import DistributedDataParallel
from fleetseg.metadata import Normalisation
from fleetseg.training.collectives import SharedStatistics, joined
from fleetseg.training.module import TrainingModule
from fleetseg.training.precision import Precision
from fleetseg.training.processes import from_environment
from fleetseg.training.recipe import StageSection
import os
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from test_distributed import batch_of_four, small_network, CLASS_WEIGHTS, LABELLED
processes = from_environment(os.environ)

def step(labelled):
    module = TrainingModule(small_network(), StageSection(name="one", epochs=1), Normalisation(),
                            np.array(CLASS_WEIGHTS, np.float32), 1, 0, Precision(False, False), processes)
    wrapped = DistributedDataParallel(module, broadcast_buffers=False)
    module.forward = lambda batch: module.training_step(batch, 0)
    module.wrapped = lambda: wrapped  # a cycle, as Lightning makes them
    images, target = batch_of_four(labelled)
    part = slice(processes.rank, None, 2)
    wrapped((images[part], target[part])).backward()
    grads = {name: value.grad for name, value in module.network.named_parameters()}
    SharedStatistics(processes).on_validation_start(None, module)
    module.on_validation_epoch_start()
    module.validation_step((images[part], torch.zeros_like(target[part])), 0)
    module.on_validation_epoch_end()
    counted = int(module.scores.counts.sum())
    result = (grads, module.mean_loss, module.images, dict(module.network.named_buffers()), counted)
    torch.save(result, f"{sys.argv[2]}/{labelled} {processes.rank}.pt")

with joined(processes):
    for labelled in LABELLED:
        step(labelled)

def name_of(thread):
    try:
        return thread.read_text().strip()
    except OSError:
        return ""  # it ended meanwhile

threads = " ".join(map(name_of, Path("/proc/self/task").glob("*/comm")))
Path(f"{sys.argv[2]}/threads {processes.rank}").write_text(threads)
"""

#: Where the labels are; a process without any has a loss that is no number.
LABELLED = ("both processes", "one process")
CLASS_WEIGHTS = (1.0, 3.0, 7.0)


def small_network() -> Any:
    from fleetseg.models.base import SegmentationNetwork

    class Small(SegmentationNetwork):
        """A convolution, BatchNorm and PReLU."""

        def __init__(self) -> None:
            super().__init__(num_classes=3)
            layers = torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.BatchNorm2d(6), torch.nn.PReLU(6)
            self.layers = torch.nn.Sequential(*layers, torch.nn.Conv2d(6, 3, 1))

        def forward_padded(self, image: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.layers(image)
            return result

    torch.manual_seed(11)
    return Small()


def batch_of_four(labelled: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of one process (0 and 2) and the other (1 and 3), whose labels differ much in number and weight."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 255, (4, 3, 8, 16), dtype=torch.uint8, generator=generator)
    target = torch.randint(0, 3, (4, 8, 16), dtype=torch.uint8, generator=generator)
    target[0, :6] = 255
    target[1::2, 2:] = 2
    if labelled == "one process":
        target[1::2] = 255
    return images, target


def in_two_processes(*arguments: str) -> None:
    """torchrun with two processes."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


def accumulated(images: torch.Tensor, target: torch.Tensor) -> tuple[dict[str, torch.Tensor], float, torch.Tensor]:
    """One process, two half-batches through the network, divided by all labelled pixels.

    Gradients, loss, and the mean of BatchNorm's running means after each half alone.
    """
    from fleetseg.metadata import Normalisation

    weights = torch.tensor(CLASS_WEIGHTS)
    normaliser = weights[target[target != 255].long()].sum()
    network = small_network()
    whole, means = 0.0, []
    for part in (slice(0, None, 2), slice(1, None, 2)):
        values = torch.cat(
            [torch.from_numpy(Normalisation().apply(image.permute(1, 2, 0).numpy())) for image in images[part]]
        )
        loss = torch.nn.functional.cross_entropy(
            network(values), target[part].long(), weights, ignore_index=255, reduction="sum"
        )
        (loss / normaliser).backward()
        means.append(network.layers[1].running_mean.clone())
        network.layers[1].running_mean.zero_()
        whole += float(loss.detach() / normaliser)
    return {name: value.grad for name, value in network.named_parameters()}, whole, sum(means) / 2


def test_two_processes_give_the_gradients_of_one_that_accumulates(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(ONE_STEP)
    in_two_processes(str(tmp_path / "step.py"), str(Path(__file__).parent), str(tmp_path))
    for labelled, rank in itertools.product(LABELLED, (0, 1)):
        expected, loss, running_mean = accumulated(*batch_of_four(labelled))
        gradients, mean_loss, images, buffers, counted = torch.load(
            tmp_path / f"{labelled} {rank}.pt", weights_only=True
        )
        assert gradients.keys() == expected.keys()
        for name, value in gradients.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)
        assert (mean_loss, images) == (pytest.approx(loss, rel=1e-5), 4)
        torch.testing.assert_close(buffers["layers.1.running_mean"], running_mean, rtol=1e-4, atol=1e-6)
        assert counted == 4 * 8 * 16  # the confusion matrix has every process's pixels
    for rank in (0, 1):  # gloo's threads are gone: at the end of the process they would hang or abort it now and then
        assert "gloo" not in (tmp_path / f"threads {rank}").read_text()


@pytest.mark.parametrize(("batch", "world"), [(4, 2), (5, 2), (5, 3), (3, 3)])
def test_the_images_of_a_step_are_the_same_for_any_number_of_processes(batch: int, world: int) -> None:
    def steps(rank: int, count: int) -> list[set[tuple[int, int]]]:
        sampler = EpochSampler(17, batch, (3,), Processes(rank, count, count))
        sampler.set_epoch(2)
        keys = list(sampler)
        assert len(keys) == len(sampler)
        return [set(keys[first : first + sampler.share]) for first in range(0, len(keys), sampler.share)]

    shared = zip(*(steps(rank, world) for rank in range(world)), strict=True)
    assert [set().union(*parts) for parts in shared] == steps(0, 1)


def test_the_environment_of_torchrun() -> None:
    environment = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    environment |= {"MASTER_ADDR": "here", "MASTER_PORT": "1"}
    processes = from_environment(environment)
    assert processes == Processes(3, 4, 2) and processes.nodes == 2 and not processes.first
    assert from_environment({"RANK": "3"}) is None
    check_counts(processes, 2, None)
    with pytest.raises(UsageError, match="--devices is 4, but torchrun started 2"):
        check_counts(processes, 4, None)
    with pytest.raises(UsageError, match="must be numbers"):
        from_environment({**environment, "RANK": "first"})
    for wrong in ({"RANK": "4"}, {"LOCAL_WORLD_SIZE": "0"}, {"WORLD_SIZE": "1"}):
        with pytest.raises(UsageError, match="contradict each other; start with torchrun, or unset them"):
            from_environment({**environment, **wrong})


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def fleetseg(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fleetseg", "train", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def recipe_file(make_recipe: MakeRecipe, make_stage: MakeStage, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(make_recipe(stages=[make_stage("network", epochs=4, validate_every=1)]).to_yaml())
    return str(path)


@pytest.mark.slow
def test_a_run_of_two_processes_ends_and_goes_on_with_one(recipe_file: str, tiny_data: Path, tmp_path: Path) -> None:
    """Three epochs by two processes, then the fourth by one: the files are those of one run, said once."""
    words = [recipe_file, "--data", str(tiny_data), "--out", str(tmp_path / "run")]
    shorter = ["--set", "stages.network.epochs=3"]
    done = fleetseg(*words, *shorter, "--devices", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'best.safetensors'}\n"
    assert done.stderr.count("fleetseg: done") == 1 and "epoch 3/3" in done.stderr
    assert done.stderr.count("MB decoded, kept in memory") == 2  # train and val, once each
    found = rows(tmp_path / "run")
    assert [row["epoch"] for row in found] == ["1", "2", "3"]
    assert all(float(row["miou"]) > 0 for row in found)
    best = load_file(tmp_path / "run" / "best.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in best.values())
    assert (tmp_path / "run" / "report.html").is_file()

    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 3", "epochs: 4"))
    (tmp_path / "run" / "stages" / "network.safetensors").unlink()
    assert main(["train", *words, "--resume"]) == 0
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2", "3", "4"]
    assert [row["loss"] for row in rows(tmp_path / "run")][:3] == [row["loss"] for row in found]


def test_more_processes_than_images_of_a_batch_are_never_started(
    recipe_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fleetseg.training.processes.launch", lambda *_: pytest.fail("started 100,000 processes"))
    words = ["train", recipe_file, "--data", "scenes", "--out", str(tmp_path / "run"), "--devices", "100000"]
    assert main(words) == 2
    assert "a batch of stage network has 2 images, fewer than the 100000 processes" in capsys.readouterr().err


@pytest.mark.slow
def test_a_mistake_is_said_by_one_process(recipe_file: str, tiny_data: Path, tmp_path: Path) -> None:
    done = fleetseg(recipe_file, "--data", str(tiny_data), "--out", str(tmp_path / "run"), "--devices", "3")
    assert done.returncode == 2
    assert done.stderr.count("fleetseg:") == 1 and "Traceback" not in done.stderr
    assert "a batch of stage network has 2 images, fewer than the 3 processes" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_broken_image_ends_both_processes(recipe_file: str, tiny_data: Path, tmp_path: Path) -> None:
    import shutil

    data = shutil.copytree(tiny_data, tmp_path / "data")
    (data / "images" / "val" / "1.png").write_bytes(b"no picture")
    done = fleetseg(recipe_file, "--data", str(data), "--out", str(tmp_path / "run"), "--devices", "2")
    assert done.returncode == 1
    assert "val/1.png" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "--nodes 2: set MASTER_ADDR, MASTER_PORT, NODE_RANK"),
        (
            {"MASTER_ADDR": "a", "MASTER_PORT": "1", "NODE_RANK": "2"},
            "NODE_RANK is 2; with --nodes 2",
        ),
        ({"MASTER_ADDR": "a", "MASTER_PORT": "x", "NODE_RANK": "0"}, "must be numbers"),
    ],
)
def test_several_machines_need_a_meeting_point(
    variables: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=sentence):
        launch(["train"], 1, nodes=2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_starter_stops_all(
    number: signal.Signals, recipe_file: str, tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = [recipe_file, "--data", str(tiny_data), "--out", str(out), "--devices", "2"]
    command = [sys.executable, "-m", "fleetseg", "train", *words, "--set", "stages.network.epochs=5000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not (out / "history.csv").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=200)
    assert process.returncode != 0
    assert said.count("fleetseg: stopped; the same command with --resume") == 1, said
    assert "Traceback" not in said
