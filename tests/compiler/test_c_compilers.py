"""The generated C under other compilers: clang as the ziglang package brings it, for this machine and for others."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fleetseg.compilation
from fleetseg.compiler.build import find_compiler
from fleetseg.compiler.capture import capture
from fleetseg.compiler.pipeline import generate
from fleetseg.compiler.target import FLAGS, TARGETS
from fleetseg.metadata import NetworkSpec, metadata_for

from .operations import FAMILIES, Together

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="no ziglang"),
]
ZIG = [sys.executable, "-m", "ziglang", "cc"]
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=fast"]
METADATA = metadata_for(NetworkSpec(name="cases", num_classes=2), "cases", ["one", "two"])


def everything() -> Together:
    """Two cases of every family."""
    torch.manual_seed(1)
    return Together({f"{name} {case}": FAMILIES[name][case] for name in FAMILIES for case in list(FAMILIES[name])[:2]})


@pytest.fixture(scope="module")
def generic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cases.c for the generic target."""
    folder = tmp_path_factory.mktemp("generic")
    made = generate(capture(everything().eval(), (12, 8)), METADATA, (12, 8), TARGETS["generic"])
    (folder / "cases.c").write_text(made.source)
    (folder / "cases.h").write_text(made.header)
    return folder


@pytest.mark.parametrize(
    "machine", [["x86_64-linux-gnu"], ["aarch64-linux-gnu"], ["wasm32-wasi", "-msimd128"]], ids=str
)
def test_generic_c_compiles_for_any_machine(generic: Path, machine: list[str]) -> None:
    command = [
        *ZIG,
        "-target",
        *machine,
        *STRICT,
        "-O1",
        "-c",
        "-o",
        str(generic / "cases.o"),
        str(generic / "cases.c"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:2000]) == (0, "")


@pytest.mark.parametrize("target", ["host", "generic"])
def test_zig_is_found_and_builds_what_runs(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "libraries"))
    assert find_compiler() == ZIG
    monkeypatch.setattr("fleetseg.compiler.build.FLAGS", ("-Wall", "-Wextra", "-Werror", *FLAGS))
    network = everything().eval()
    model = fleetseg.compilation.compile(network, (12, 8), tmp_path, target=target, threads=2, metadata=METADATA)
    image = np.random.default_rng(1).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(METADATA.normalisation.apply(image)))[0].numpy()
    np.testing.assert_allclose(model.logits(image), expected, atol=2e-5 * max(1.0, float(np.abs(expected).max())))
