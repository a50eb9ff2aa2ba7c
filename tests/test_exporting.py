"""Every format whose runtime is installed: written, run there, equal to the network; and every way to go wrong."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fleetseg
from fleetseg import exporting
from fleetseg.errors import ExportError, MissingExtraError, OutputError, UnknownNameError, UsageError
from fleetseg.exporters import formats
from fleetseg.exporters.formats import FORMATS
from fleetseg.exporting import ExportRequest, export
from fleetseg.models.checkpoint import save_checkpoint

Build = Callable[..., Any]

#: One is quick and always there; the other formats' suites run in `make test-all`.
QUICK = {"onnx"}
SIZE = (28, 20)
FORMATS_HERE = [
    name
    for name, item in FORMATS.items()
    if name != "c" and all(importlib.util.find_spec(package) for package in item.packages)
]


@pytest.fixture(scope="module")
def checkpoints(random_network: Build, metadata_of: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Small networks with weights of every kind, by name; licence and colours are to travel."""
    folder = tmp_path_factory.mktemp("checkpoints")
    found = {}
    for name, options in (("enet", {}), ("espnet", {"alpha2": 1, "alpha3": 1}), ("espnet-c", {"alpha2": 1})):
        network = random_network(name, 4, seed=5, **options)
        path = folder / f"{name}.safetensors"
        save_checkpoint(path, network, metadata_of(network, name, licence="for research"))
        found[name] = str(path)
    return found


def slow_but_quick_ones(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in names]


def suffix_of(name: str) -> str:
    return FORMATS[name].suffix


@pytest.mark.parametrize("name", slow_but_quick_ones(FORMATS_HERE))
@pytest.mark.parametrize("network", ["enet", "espnet-c"])
def test_the_file_is_the_network(name: str, network: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / f"a{suffix_of(name)}"
    report = export(checkpoints[network], out, ExportRequest(name, SIZE))
    assert report.size_bytes == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert {path.name for path in tmp_path.iterdir()} == {name.split("/")[0] for name in report.files}
    if report.agreement is None:
        assert "macOS" in report.note
        return
    assert report.agreement.max_difference is not None
    assert report.agreement.max_difference < 1e-4 * max(1, report.agreement.largest_logit)
    model = fleetseg.load(out, threads=1)
    assert (model.fixed_size, model.metadata.licence) == (SIZE, "for research")
    image = np.random.default_rng(1).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    expected = fleetseg.load(checkpoints[network]).predict(image, SIZE)
    assert (model(image) == expected).mean() > 0.99


@pytest.mark.parametrize("name", slow_but_quick_ones(FORMATS_HERE))
def test_half_precision_with_both_ends(name: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / f"a{suffix_of(name)}"
    request = ExportRequest(name, SIZE, "fp16", "classes", preprocessing=True, image_size=(40, 30))
    report = export(checkpoints["espnet-c"], out, request)
    if report.agreement is None:
        return
    model = fleetseg.load(out)
    assert model.fixed_size == (40, 30)
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    mask = model(image)
    assert (mask.shape, mask.dtype) == ((30, 40), np.uint8)
    with pytest.raises(UsageError, match="ends in its class map; logits need a file of --head logits"):
        model.logits(image)
    with pytest.raises(UsageError, match="takes images of 40×30, cannot see 28×20; export it with --size 28x20"):
        model.predict(image, SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FORMATS_HERE if FORMATS[name].dynamic])
def test_any_size(name: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / f"a{suffix_of(name)}"
    export(checkpoints["enet"], out, ExportRequest(name, None))
    model, network = fleetseg.load(out, threads=1), fleetseg.load(checkpoints["enet"])
    assert model.fixed_size is None
    # torch.export takes lengths of 1 as fixed, so the smallest maps must be larger.
    for width, height in ((17, 19), (16, 24), (31, 50)):
        image = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        ours, theirs = model.logits(image), network.logits(image)
        np.testing.assert_allclose(ours, theirs, atol=1e-3 * max(1, np.abs(theirs).max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FORMATS_HERE if FORMATS[name].dynamic])
def test_any_size_in_half_precision(name: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / f"a{suffix_of(name)}"
    export(checkpoints["espnet"], out, ExportRequest(name, None, "fp16"))
    model, network = fleetseg.load(out, threads=1), fleetseg.load(checkpoints["espnet"])
    image = np.random.default_rng(1).integers(0, 256, (31, 50, 3), dtype=np.uint8)
    ours, theirs = model.logits(image), network.logits(image)
    np.testing.assert_allclose(ours, theirs, atol=1e-2 * np.abs(theirs).max())


#: Format → largest file in MiB; half precision in ENet's Table 3 is 0.7 MB. OpenVINO describes the network in XML.
#: Core ML's aligns every weight to 64 bytes and says the type of every value.
SMALL = {"onnx": 0.75, "ncnn": 0.75, "torch": 0.75, "litert": 0.75, "coreml": 0.79, "openvino": 0.87}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["enet-camvid", "espnet-camvid"])
@pytest.mark.parametrize("name", [name for name in FORMATS_HERE if name in SMALL])
def test_half_precision_is_small(name: str, model: str, tmp_path: Path) -> None:
    report = export(model, tmp_path / f"a{suffix_of(name)}", ExportRequest(name, (96, 72), "fp16"))
    assert report.size_bytes <= SMALL[name] * 2**20


def test_one_onnx_file_on_other_engines(checkpoints: dict[str, str], tmp_path: Path) -> None:
    export(checkpoints["enet"], tmp_path / "a.onnx", ExportRequest("onnx", SIZE))
    image = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    expected = fleetseg.load(checkpoints["enet"]).logits(image)
    for engine in ("opencv", "openvino"):
        if importlib.util.find_spec("openvino") is None and engine == "openvino":
            continue
        model = fleetseg.load(tmp_path / "a.onnx", engine=engine, threads=1)
        assert model.engine == engine
        np.testing.assert_allclose(model.logits(image), expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(
    ("out", "request_", "error", "sentence"),
    [
        ("a.onnx", ExportRequest("onx", SIZE), UnknownNameError, "no format 'onx'; did you mean onnx"),
        ("a.xml", ExportRequest("onnx", SIZE), UsageError, "a file of ONNX ends in .onnx"),
        (
            "a.onnx",
            ExportRequest("onnx", SIZE, "int4"),
            UsageError,
            "--precision int4: ONNX is written in fp32, fp16, int8",
        ),
        ("a.param", ExportRequest("ncnn", None), UsageError, "ncnn takes images of one size; give WIDTHxHEIGHT, or a"),
        ("a.onnx", ExportRequest("onnx", SIZE, image_size=(8, 8)), UsageError, "--image-size resizes inside the file"),
        ("c", ExportRequest("c", SIZE, head="classes"), UsageError, "always takes uint8 images"),
        ("file/a.onnx", ExportRequest("onnx", SIZE), OutputError, "cannot be written"),
    ],
)
def test_wrong_requests_write_nothing(
    out: str,
    request_: ExportRequest,
    error: type[Exception],
    sentence: str,
    checkpoints: dict[str, str],
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(error, match=sentence.replace(".", r"\.")):
        export(checkpoints["espnet-c"], tmp_path / out, request_)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_exists_is_kept_unless_forced(checkpoints: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists already; give another name, or --force"):
        export(checkpoints["espnet-c"], out, ExportRequest("onnx", SIZE))
    assert out.read_text() == "mine"
    export(checkpoints["espnet-c"], out, ExportRequest("onnx", SIZE, force=True))
    assert fleetseg.load(out).fixed_size == SIZE
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_a_folder_of_somebodys_own_is_never_replaced(checkpoints: dict[str, str], tmp_path: Path) -> None:
    for form, name in (("onnx", "thesis.onnx"), ("c", "thesis"), ("coreml", "thesis.mlpackage")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chapter.txt").write_text("years")
        with pytest.raises(UsageError, match="is a folder that holds no exported network; --force does not replace it"):
            export(checkpoints["espnet-c"], tmp_path / name, ExportRequest(form, SIZE, force=True))
        assert (tmp_path / name / "chapter.txt").read_text() == "years"


def test_compiled_c_joins_what_stands_in_its_folder(checkpoints: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "compiled"
    for _ in range(2):
        export(checkpoints["espnet-c"], out, ExportRequest("c", SIZE, force=True))
        (out / "notes.txt").write_text("mine")
    assert (out / "notes.txt").is_file()
    assert fleetseg.load(out).fixed_size == SIZE


def test_a_lacking_package_is_its_install_line(
    checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"^exporting to LiteRT needs an extra: pip install 'fleetseg\[litert\]'"
    ):
        export(checkpoints["espnet-c"], tmp_path / "a.tflite", ExportRequest("litert", SIZE))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_agree_is_not_kept(
    checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = exporting.write_format

    def spoiled(network: Any, *rest: Any) -> None:
        weight = next(network.parameters()).data
        weight.neg_()
        write(network, *rest)
        weight.neg_()

    monkeypatch.setattr(exporting, "write_format", spoiled)
    with pytest.raises(ExportError, match=r"gives .*% of the pixels the network's class on onnxruntime .* nothing was"):
        export(checkpoints["espnet-c"], tmp_path / "a.onnx", ExportRequest("onnx", SIZE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no operator\n  called so")])
def test_an_interrupted_or_failed_export_leaves_nothing(
    error: BaseException, checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Any, path: Path) -> None:
        path.write_text("half")
        raise error

    monkeypatch.setattr("fleetseg.exporters.writing.write", fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ExportError
    with pytest.raises(expected, match=r"|cannot be written as onnx \(RuntimeError: no operator called so\)"):
        export(checkpoints["espnet-c"], tmp_path / "a.onnx", ExportRequest("onnx", SIZE))
    assert list(tmp_path.iterdir()) == []


def test_other_channel_counts(random_network: Build, metadata_of: Build, tmp_path: Path) -> None:
    network = random_network("espnet-c", 2, 5, alpha2=1)
    save_checkpoint(tmp_path / "five.safetensors", network, metadata_of(network))
    report = export(str(tmp_path / "five.safetensors"), tmp_path / "a.onnx", ExportRequest("onnx", None))
    assert report.agreement is not None
    assert report.agreement.same_classes > 0.999
