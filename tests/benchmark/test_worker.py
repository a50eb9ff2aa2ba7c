"""Worker processes with a network of one convolution, on ONNX Runtime."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fleetseg.benchmark import worker as worker_module
from fleetseg.benchmark.compare import agreement
from fleetseg.benchmark.job import IMAGE, METADATA, Job
from fleetseg.benchmark.worker import MAP, Worker, peak_memory
from fleetseg.benchmark.worker_process import WorkerProcess
from fleetseg.errors import BenchmarkError
from fleetseg.metadata import NetworkSpec, metadata_for

SHAPE = (6, 8, 3)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """The class of a pixel is its brightest channel."""
    shape = [helper.make_tensor_value_info("image", TensorProto.UINT8, SHAPE)]
    result = [helper.make_tensor_value_info("classes", TensorProto.UINT8, SHAPE[:2])]
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["values"], ["best"], axis=2, keepdims=0),
        helper.make_node("Cast", ["best"], ["classes"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(nodes, "brightest", shape, result)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "image-to-classes.onnx")
    np.save(tmp_path / IMAGE, np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8))
    metadata = metadata_for(NetworkSpec(name="brightest", num_classes=3), "brightest", ["r", "g", "b"])
    (tmp_path / METADATA).write_text(metadata.to_json())
    return Job(str(tmp_path), "onnxruntime", "fp32", 1)


def test_loads_runs_and_tells_its_memory(job: Job) -> None:
    with WorkerProcess(job) as worker:
        assert worker.ask("load", form="image-to-classes")["first_result_ms"] > 0
        np.testing.assert_array_equal(np.load(job.own / MAP), job.image().argmax(2))
        assert len(worker.ask("run", warm_up=1, trials=5)["milliseconds"]) == 5
        assert worker.ask("memory")["peak_memory_mb"] > 1
        pid = worker.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_stopped_worker_does_nothing_until_it_is_woken(job: Job) -> None:
    with WorkerProcess(job) as worker:
        worker.ask("load", form="image-to-classes")
        worker.stop()
        state = Path(f"/proc/{worker.pid}/stat")
        if state.exists():
            assert state.read_text().rpartition(")")[2].split()[0] == "T"
        worker.wake()
        assert len(worker.ask("run", warm_up=0, trials=2)["milliseconds"]) == 2
        worker.stop()  # and closing ends it all the same


def test_what_an_engine_cannot_do_is_its_sentence(job: Job) -> None:
    with WorkerProcess(job) as worker:
        with pytest.raises(BenchmarkError, match=r"NoSuchFile: .*image-to-logits\.onnx"):
            worker.ask("load", form="image-to-logits")
        # It lives on.
        assert worker.ask("memory")["peak_memory_mb"] > 1


@pytest.mark.parametrize("asleep", [False, True])
def test_a_dead_worker_is_one_sentence(job: Job, asleep: bool) -> None:
    with WorkerProcess(job) as worker:
        worker.ask("memory")
        if asleep:
            worker.stop()
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.05)
        worker.wake()
        with pytest.raises(BenchmarkError, match=r"^its process ended by signal 9"):
            worker.ask("memory")
        worker.stop()  # returns, though there is nothing to stop


def test_a_worker_that_cannot_start_tells_the_last_line_of_its_log(job: Job) -> None:
    broken = Job(job.folder, "onnxruntime", "fp32", 1)
    (Path(job.folder) / IMAGE).unlink()
    with WorkerProcess(broken) as worker, pytest.raises(BenchmarkError, match=r"ended with status 1 \(.*image\.npy"):
        worker.ask("memory")


def test_the_quickest_form_is_taken(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        FORMS: ClassVar = {"fp32": ("slow", "quick")}

        @staticmethod
        def prepare(job: Job) -> None: ...

        @staticmethod
        def load(job: Job, form: str) -> object:
            return lambda image: time.sleep(0.02) if form == "slow" else None

    monkeypatch.setattr(worker_module, "engine_module", lambda name: Engine)
    assert Worker(job).answer({"do": "prepare"}) == {"form": "quick"}


def test_peak_memory_counts_what_was_touched() -> None:
    before = peak_memory()
    np.ones(before // 8 + 4_000_000).sum()
    assert peak_memory() >= before + 20_000_000


def test_agreement_is_a_percentage_and_needs_equal_maps() -> None:
    reference = np.zeros((2, 5), np.uint8)
    found = reference.copy()
    found[0, 0] = 1
    assert agreement(found, reference) == pytest.approx(90)
    with pytest.raises(BenchmarkError, match=r"its class map is int64 \(2, 5\); uint8 \(2, 5\) is needed"):
        agreement(found.astype(np.int64), reference)
