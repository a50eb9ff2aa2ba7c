"""Random networks on random sizes: PyTorch and the generated C agree whatever the numbers of everything."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import fleetseg.compilation
from fleetseg.compiler import pipeline
from fleetseg.compiler.build import find_compiler
from fleetseg.compiler.capture import capture
from fleetseg.compiler.interpret import interpret
from fleetseg.compiler.passes.order import PASSES
from fleetseg.compiler.strips import plan_strips
from fleetseg.metadata import NetworkSpec, metadata_for

CHANNELS = st.one_of(st.integers(1, 14), st.integers(15, 130))
SMALL = st.integers(1, 5)

ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU, nn.PReLU, nn.ReLU6, nn.ELU, nn.SiLU, nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.Tanh, nn.GELU,
    lambda: nn.LeakyReLU(0.1), nn.Identity,
)  # fmt: skip


class Lambda(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.layer(x.mean((2, 3))))[:, :, None, None]


class PooledAndUnpooled(nn.Module):
    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        values, indices = F.max_pool2d(x, self.kernel, self.stride, return_indices=True)
        # Of overlapping windows one value may go to one place twice: the same one.
        return F.max_unpool2d(values, indices, self.kernel, self.stride, output_size=x.shape[2:])


def _conv(draw: Any, channels: int, height: int, width: int) -> nn.Module:
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    groups = draw(st.sampled_from([1, 1, *divisors]))
    out = groups * draw(st.integers(1, max(1, min(130 // groups, 40))))
    kernel, dilation = (draw(SMALL), draw(SMALL)), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = tuple(draw(st.integers(0, (k - 1) * d)) for k, d in zip(kernel, dilation, strict=True))
    stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    return nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias=draw(st.booleans()))


def _transposed(draw: Any, channels: int, height: int, width: int) -> nn.Module:
    groups = draw(st.sampled_from([d for d in range(1, channels + 1) if channels % d == 0]))
    out = groups * draw(st.integers(1, max(1, 24 // groups)))
    stride, dilation, kernel = draw(st.integers(1, 3)), draw(st.integers(1, 2)), (draw(SMALL), draw(SMALL))
    padding = draw(st.integers(0, (min(kernel) - 1) * dilation))
    extra = draw(st.integers(0, max(stride, dilation) - 1))
    return nn.ConvTranspose2d(channels, out, kernel, stride, padding, extra, groups, draw(st.booleans()), dilation)


def _pool(draw: Any, channels: int, height: int, width: int) -> nn.Module:
    kernel, stride, round_up = draw(SMALL), draw(st.integers(1, 3)), draw(st.booleans())
    padding = draw(st.integers(0, kernel // 2))
    if draw(st.booleans()):
        return nn.AvgPool2d(kernel, stride, padding, round_up, draw(st.booleans()), draw(st.sampled_from([None, 3])))
    return nn.MaxPool2d(kernel, stride, padding, draw(st.integers(1, 3)), False, round_up)


def _resized(draw: Any, channels: int, height: int, width: int) -> nn.Module:
    mode = draw(st.sampled_from(["nearest", "nearest-exact", "bilinear", "bilinear", "corners"]))
    keywords: dict[str, Any] = {"mode": "bilinear" if mode == "corners" else mode}
    if keywords["mode"] == "bilinear":
        keywords["align_corners"] = mode == "corners"
    if draw(st.booleans()):
        keywords["size"] = (draw(st.integers(1, 30)), draw(st.integers(1, 70)))
    else:
        keywords["scale_factor"] = draw(st.sampled_from([0.5, 0.7, 1.5, 2.0, 2.3, 3.0]))
    return Lambda(lambda x: F.interpolate(x, **keywords))


def _shuffled(draw: Any, channels: int, height: int, width: int) -> nn.Module:
    groups = draw(st.sampled_from([d for d in range(1, channels + 1) if channels % d == 0]))
    factor = draw(st.integers(1, 3))
    kind = draw(st.integers(0, 4))
    if kind == 0 and channels % factor**2 == 0:
        return nn.PixelShuffle(factor)
    if kind == 1 and height >= factor and width >= factor:
        return Lambda(
            lambda x: F.pixel_unshuffle(x[:, :40, : height // factor * factor, : width // factor * factor], factor)
        )
    if kind == 2 and channels > 1:
        first = draw(st.integers(1, channels - 1))
        return Lambda(lambda x: torch.cat(x.split([first, channels - first], 1)[::-1], 1))
    if kind == 3:
        left, top = draw(st.integers(-(width // 3), 3)), draw(st.integers(-(height // 3), 3))
        return Lambda(lambda x: F.pad(x, (left, 1, top, 0)))
    return nn.ChannelShuffle(groups)


def _mixed(draw: Any, channels: int, height: int, width: int) -> nn.Module:
    axis = draw(st.integers(1, 3))
    kinds: list[Callable[[], nn.Module]] = [
        lambda: nn.LocalResponseNorm(draw(st.integers(1, 7)), alpha=0.1),
        lambda: nn.Softmax(1),
        lambda: nn.LogSoftmax(1),
        lambda: nn.AdaptiveAvgPool2d((draw(st.integers(1, 9)), draw(st.integers(1, 40)))),
        lambda: SqueezeExcite(channels),
        lambda: nn.BatchNorm2d(channels),
        lambda: Lambda(lambda x: x * x[:, :1] + x.mean((2, 3), keepdim=True) - 0.5),
        lambda: Lambda(lambda x: torch.cat((x, x * 2), axis)),
    ]
    if min(height, width) >= 4:
        kinds.append(lambda: PooledAndUnpooled(draw(st.integers(2, 3)), 2))
    return draw(st.sampled_from(kinds))()


@st.composite
def networks(draw: Any) -> tuple[nn.Module, tuple[int, int]]:
    """(a network of up to five layers, (width, height) of its image)."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 20))
    torch.manual_seed(draw(st.integers(0, 99)))
    before = draw(CHANNELS)
    layers: list[nn.Module] = [nn.Conv2d(3, before, draw(st.sampled_from([1, 3])), padding="same")]
    shape = (before, height, width)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from([_conv, _conv, _transposed, _pool, _resized, _shuffled, _mixed]))
        layer = nn.Sequential(kind(draw, *shape), draw(st.sampled_from(ACTIVATIONS))())
        try:
            result = layer.eval()(torch.zeros(1, *shape))
        except RuntimeError:
            continue  # a window that does not fit
        if result.numel() > 150_000 or result.shape[1] > 200 or min(result.shape) < 1:
            continue
        layers.append(layer)
        shape = tuple(result.shape[1:])
    layers.append(nn.Conv2d(shape[0], draw(st.integers(2, 40)), 1))
    return nn.Sequential(*layers).eval(), (width, height)


SETTINGS = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def compiled(
    network: nn.Module, size: tuple[int, int], folder: Path, target: str, threads: int, precision: str = "fp32"
) -> Any:
    with torch.inference_mode():
        classes = network(torch.zeros(1, 3, size[1], size[0])).shape[1]
    spec = NetworkSpec(name="random", num_classes=classes)
    metadata = metadata_for(spec, "random", [f"class {index}" for index in range(classes)])
    return fleetseg.compilation.compile(
        network, size, folder, target=target, threads=threads, precision=precision, metadata=metadata
    )


@pytest.mark.slow
@pytest.mark.timeout(2400)
@settings(SETTINGS, max_examples=12)
@given(made=networks(), target=st.sampled_from(["host", "generic"]), threads=st.integers(1, 4), in_strips=st.booleans())
def test_pytorch_and_c_agree(
    made: tuple[nn.Module, tuple[int, int]],
    target: str,
    threads: int,
    in_strips: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline, "_groups", lambda graph, *_: plan_strips(graph, 20_000) if in_strips else ())
    network, size = made
    model = compiled(network, size, tmp_path, target, threads)
    image = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(model.metadata.normalisation.apply(image)))[0].numpy()
    assume(np.isfinite(expected).all())
    tolerance = 3e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(model.logits(image), expected, atol=tolerance)
    classes = model._native.classes(image)
    best = np.sort(expected, axis=0)
    sure = best[-1] - best[-2] > 2 * tolerance
    assert (classes == expected.argmax(0))[sure].all()


@pytest.mark.slow
@pytest.mark.timeout(2400)
@settings(SETTINGS, max_examples=8)
@given(made=networks(), target=st.sampled_from(["host", "generic"]), threads=st.integers(1, 4))
def test_interpreter_and_c_agree_in_bf16(
    made: tuple[nn.Module, tuple[int, int]], target: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    network, size = made
    model = compiled(network, size, tmp_path, target, threads, "bf16")
    image = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    graph = capture(network, size, 3)
    for rewrite in PASSES["bf16"]:
        graph = rewrite(graph)
    (name, value), *_ = graph.inputs.items()
    batch = np.zeros(value.shape, np.float32)
    batch[:, :, : size[1], : size[0]] = model.metadata.normalisation.apply(image)
    logits = model.logits(image)
    expected = interpret(graph, {name: batch})[0][0, :, : logits.shape[1], : logits.shape[2]]
    assume(np.isfinite(expected).all())
    # A sum in another order may fall to the other side of a rounding, half a percent apart, once a layer.
    np.testing.assert_allclose(logits, expected, atol=0.04 * max(1e-6, float(np.abs(expected).max())))


MAIN = """
#include <stdlib.h>
#include "random.h"
int main(void)
{
    uint8_t *image = malloc(random_WIDTH * random_HEIGHT * 3), *map = malloc(random_MAP_WIDTH * random_MAP_HEIGHT);
    float *logits = malloc(sizeof(float) * random_CLASSES * random_MAP_WIDTH * random_MAP_HEIGHT);
    for (int i = 0; i < random_WIDTH * random_HEIGHT * 3; ++i)
        image[i] = (uint8_t)(i * 7919 >> 3);
    for (int threads = 1; threads <= 3; ++threads) {
        random_instance *network = NULL;
        if (random_create(threads, &network))
            return 1;
        for (int turn = 0; turn < 2; ++turn)
            if (random_run(network, image, random_WIDTH, random_HEIGHT, 3, map, turn ? logits : NULL))
                return 2;
        random_destroy(network);
    }
    free(image), free(map), free(logits);
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
@settings(SETTINGS, max_examples=8)
@given(
    made=networks(), target=st.sampled_from(["host", "generic"]), precision=st.sampled_from(["fp32", "bf16"]),
    in_strips=st.booleans(),
)  # fmt: skip
def test_clean_under_sanitizers(
    made: tuple[nn.Module, tuple[int, int]], target: str, precision: str, in_strips: bool, sanitizers: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline, "_groups", lambda graph, *_: plan_strips(graph, 20_000) if in_strips else ())
    compiled(*made, tmp_path, target, 1, precision)
    (tmp_path / "main.c").write_text(MAIN)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", f"-fsanitize={sanitizers}"]
    flags += ["-fno-sanitize-recover=all", f"-I{tmp_path}", str(tmp_path / "main.c"), str(tmp_path / "random.c")]
    command = [*find_compiler(), *flags, "-o", str(tmp_path / "main"), "-lm", "-pthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:2000]) == (0, "")
