"""What the workers are given: network, image, reference, and the ONNX files made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from fleetseg.benchmark.engines import opencv, pytorch, pytorch_compiled
from fleetseg.benchmark.job import Job
from fleetseg.benchmark.onnx_files import onnx_file
from fleetseg.benchmark.subject import random_network, read_subject, scene, write_subject
from fleetseg.benchmark.wrapped import Wrapped
from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.metadata import Normalisation, metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import save_checkpoint, spec_of
from fleetseg.models.cost import multiply_adds

SIZE = (40, 24)
#: Every field matters: another order, scale, mean and deviation than the default.
BGR = Normalisation(order="bgr", mean=(110.0, 108.0, 105.0), std=(72.0, 73.0, 70.0), scale=0.5)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("subject")
    torch.manual_seed(1)
    network = build_network("espnet-c", 4, alpha2=1, alpha3=1).eval()
    metadata = metadata_for(spec_of(network), "tiny", list("abcd")).model_copy(update={"normalisation": BGR})
    subject = write_subject("tiny", network, metadata, False, SIZE, folder)
    assert subject.macs == multiply_adds(network, *SIZE)
    return Job(str(folder), "onnxruntime", "fp32", 1)


def reference(job: Job) -> np.ndarray:
    return np.load(Path(job.folder) / "reference.npy")


def test_the_reference_is_what_pytorch_says_of_the_normalised_image(job: Job) -> None:
    module, metadata = read_subject(str(job.checkpoint), 20)[:2]
    with torch.inference_mode():
        logits = module(torch.from_numpy(metadata.normalisation.apply(job.image())))[0]
    assert job.size() == SIZE
    assert metadata == job.metadata()
    np.testing.assert_array_equal(reference(job), logits.argmax(0).numpy())
    assert reference(job).dtype == np.uint8


def test_wrapped_networks_normalise_as_metadata_says() -> None:
    image = scene("train", 3, SIZE)
    wrapped = Wrapped(torch.nn.Identity(), BGR, arg_max=False)
    np.testing.assert_allclose(wrapped(torch.from_numpy(image)).numpy(), BGR.apply(image)[0], atol=1e-6)


def test_onnx_files_agree_and_are_written_once(job: Job) -> None:
    path = onnx_file(job, "image-to-classes")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [SIZE[1], SIZE[0], 3]
    np.testing.assert_array_equal(session.run(None, {"image": job.image()})[0], reference(job))
    written = path.stat().st_mtime_ns
    assert onnx_file(job, "image-to-classes").stat().st_mtime_ns == written


def test_opencv_and_pytorch_give_the_reference(job: Job) -> None:
    before = torch.get_num_threads()
    try:
        for engine, form in ((opencv, opencv.FORMS["fp32"][0]), (pytorch, "eager")):
            engine.prepare(job)
            np.testing.assert_array_equal(engine.load(job, form)(job.image()), reference(job))
    finally:
        torch.set_num_threads(before)


def test_torch_compile_freezes(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def compiling(module: torch.nn.Module, **options: object) -> torch.nn.Module:
        # As an option it would come too late: dynamo looks at the setting of the process.
        seen.append(torch._inductor.config.freezing)
        return module

    monkeypatch.setattr(torch._inductor.config, "freezing", False)
    monkeypatch.setattr(torch, "compile", compiling)
    before = torch.get_num_threads()
    try:
        run = pytorch_compiled.load(job, "freezing")
        np.testing.assert_array_equal(run(job.image()), reference(job))
    finally:
        torch.set_num_threads(before)
    assert seen == [True]


def test_random_networks_are_the_same_every_time_and_have_statistics() -> None:
    state = torch.get_rng_state()
    first, second = (random_network("espnet-c", 5).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], second[key]) for key in first)
    variances = [value for key, value in first.items() if key.endswith("running_var")]
    assert variances and not any(torch.equal(value, torch.ones_like(value)) for value in variances)


def test_names_and_what_cannot_be_timed(tmp_path: Path) -> None:
    network, metadata, random_weights = read_subject("espnet-c", 7)
    assert (network.num_classes, metadata.name, random_weights) == (7, "espnet-c", True)
    with pytest.raises(UnknownNameError, match="There is no network 'espnet-q'; did you mean"):
        read_subject("espnet-q", 7)
    grey = build_network("espnet-c", 3, 1, alpha2=1, alpha3=1)
    save_checkpoint(tmp_path / "grey.safetensors", grey, metadata_for(spec_of(grey), "grey", list("abc")))
    with pytest.raises(UsageError, match="sees 1 channels; networks of RGB images are timed"):
        read_subject(str(tmp_path / "grey.safetensors"), 7)
