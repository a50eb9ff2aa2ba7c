"""The generated C as a C program sees it: documented example, warnings, sanitizers, wrong calls, floating point."""

from __future__ import annotations

import ctypes
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import fleetseg
from fleetseg.compilation import write_library
from fleetseg.compiler.build import build_library, find_compiler
from fleetseg.compiler.target import FLAGS
from fleetseg.errors import CompileError
from fleetseg.models import build_network

from .networks import randomised

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT, CLASSES = 45, 26, 6


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of every kind of kernel: dilations, pyramids, pixel shuffles, concats."""
    out = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETSEG_CACHE", str(out / "cache"))
        network = randomised(build_network("espnet", CLASSES, alpha2=1, alpha3=1), 1)
        write_library(network, (WIDTH, HEIGHT), out, precision=request.param)
    return out


def build(source: str, folder: Path, *flags: str) -> Path:
    """The program of a C text with the network's file, warnings being errors."""
    program = folder / "program"
    (folder / "program.c").write_text(source)
    files = [str(folder / "program.c"), str(folder / "espnet.c")]
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    command = [*find_compiler(), *warnings, *flags, *files, f"-I{folder}", "-o", str(program), "-lm", "-pthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return program


def test_documented_example_runs(folder: Path) -> None:
    text = (ROOT / "docs" / "output-format.md").read_text()
    found = re.search(r"```c\n(.*?)```", text, re.DOTALL)
    assert found
    program = build(found[1].replace("NAME", "espnet"), folder, "-O1")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert re.fullmatch(r"the first pixel is of class \d\n", done.stdout)


CHECK = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "espnet.h"
enum { PIXELS = espnet_WIDTH * espnet_HEIGHT, MAP = espnet_MAP_WIDTH * espnet_MAP_HEIGHT };
int main(void)
{
    uint8_t *image = malloc(PIXELS * 3), *one = malloc(MAP), *many = malloc(MAP);
    float *logits = malloc(sizeof(float) * MAP * espnet_CLASSES);
    for (int i = 0; i < PIXELS * 3; ++i)
        image[i] = (uint8_t)(i * 7919 >> 3);
    for (int threads = 1; threads <= 3; ++threads) {
        espnet_instance *network = NULL;
        if (espnet_create(threads, &network))
            return 1;
        for (int turn = 0; turn < 3; ++turn) {
            uint8_t *target = threads == 1 ? one : many;
            memset(target, 255, MAP);
            if (espnet_run(network, image, espnet_WIDTH, espnet_HEIGHT, 3, target, turn == 1 ? logits : NULL))
                return 2;
            if (threads > 1 && memcmp(one, many, MAP))
                return 3;
        }
        for (int p = 0; p < MAP; ++p) {
            int best = 0;
            for (int c = 1; c < espnet_CLASSES; ++c)
                if (logits[c * MAP + p] > logits[best * MAP + p])
                    best = c;
            if (best != one[p])
                return 4;
        }
        espnet_destroy(network);
    }
    espnet_destroy(NULL);
    free(image), free(one), free(many), free(logits);
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_clean_under_sanitizers(folder: Path, sanitizers: str) -> None:
    program = build(CHECK, folder, "-O1", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:2000]) == (0, "")


def library(folder: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(folder / "espnet.so"))
    loaded.espnet_message.restype = ctypes.c_char_p
    loaded.espnet_describe.restype = ctypes.c_char_p
    return loaded


def test_wrong_calls_are_statuses_with_a_sentence(folder: Path) -> None:
    loaded, instance = library(folder), ctypes.c_void_p()
    assert loaded.espnet_create(0, ctypes.byref(instance)) == 1
    assert loaded.espnet_create(257, ctypes.byref(instance)) == 1
    assert loaded.espnet_create(1, None) == 1
    assert loaded.espnet_create(1, ctypes.byref(instance)) == 0
    image, classes = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    source, result = ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(classes.ctypes.data)
    assert loaded.espnet_run(instance, source, WIDTH + 1, HEIGHT, 3, result, None) == 2
    assert loaded.espnet_run(instance, source, WIDTH, HEIGHT, 4, result, None) == 2
    assert loaded.espnet_run(instance, None, WIDTH, HEIGHT, 3, result, None) == 1
    assert loaded.espnet_run(instance, source, WIDTH, HEIGHT, 3, None, None) == 1
    assert loaded.espnet_run(instance, source, WIDTH, HEIGHT, 3, result, None) == 0
    assert loaded.espnet_message(2) == b"the image must be 45 x 26 pixels of 3 bytes"
    loaded.espnet_destroy(instance)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="denormals are looked at as x86-64 has them")
def test_loading_leaves_denormals_alone(folder: Path) -> None:
    tiny = np.float32(1e-40)
    library(folder)
    assert np.float32(tiny * np.float32(1.0)) == tiny
    assert tiny != 0
    assert "-ffast-math" not in FLAGS


def test_libraries_are_cached_by_content(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(folder / "cache"))
    again = folder / "again.so"
    # With the same input nothing runs but the compiler's --version.
    monkeypatch.setattr("fleetseg.compiler.build._compile", lambda *_: pytest.fail("compiled again"))
    build_library(folder / "espnet.c", again, find_compiler())
    assert again.read_bytes() == (folder / "espnet.so").read_bytes()


def test_without_a_compiler_pytorch_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("fleetseg.compiler.build.importlib.util.find_spec", lambda _: None)
    network = torch.nn.Conv2d(3, 4, 1).eval()
    with pytest.warns(RuntimeWarning, match="no C compiler was found .* it runs on PyTorch for now"):
        model = fleetseg.compile(network, (9, 7))
    assert model.engine == "torch"
    assert model(np.zeros((7, 9, 3), np.uint8)).shape == (7, 9)
    with pytest.raises(CompileError, match="no C compiler was found"):
        fleetseg.compile(network, (9, 7), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_and_failing_compilers_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(CompileError, match="CC names 'no-such-compiler'"):
        find_compiler()
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CompileError, match="no C compiler was found"):
        find_compiler()
    monkeypatch.undo()
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "broken.c").write_text("int f(void) { return nothing; }\n")
    (tmp_path / "broken.h").write_text("")
    with pytest.raises(CompileError, match=r"broken\.c: .* failed \(.*error.*nothing"):
        build_library(tmp_path / "broken.c", tmp_path / "broken.so", find_compiler())
    assert not (tmp_path / "broken.so").exists()
