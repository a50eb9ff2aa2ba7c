"""ESP's empty channels: they change nothing, and keep oneDNN's bf16 gradients right."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from fleetseg.models import esp
from fleetseg.models.esp import ESP, gradient_safe_padding

# One training step of a dilated convolution of 25 channels, as autocast runs it; prints the relative error of its
# weight gradient against float64. In a process of its own: where the fault is, it may write outside its memory.
CONVOLUTION = """
import json, sys, torch
import torch.nn.functional as F
from fleetseg.models.esp import padded
extra, dilation = int(sys.argv[1]), 4
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
x, weight, gradient = (
    torch.randn(shape, generator=generator).bfloat16() for shape in ((1, 25, 16, 64), (25, 25, 3, 3), (1, 25, 16, 64))
)
exact = weight.double().requires_grad_()
F.conv2d(x.double(), exact, padding=dilation, dilation=dilation).backward(gradient.double())
weight.requires_grad_()
wide = F.pad(x, (0, 0, 0, 0, 0, extra)).contiguous(memory_format=torch.channels_last).requires_grad_()
output = F.conv2d(wide, padded(weight, extra, dim=1), padding=dilation, dilation=dilation)
output.backward(gradient.contiguous(memory_format=torch.channels_last))
print(json.dumps(float((weight.grad.double() - exact.grad).norm() / exact.grad.norm())))
"""


def convolution_error(extra: int) -> float:
    """Relative error of the weight gradient with `extra` empty channels; infinite if the process died of it."""
    command = [sys.executable, "-c", CONVOLUTION, str(extra)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    if done.returncode == 0:
        return float(json.loads(done.stdout))
    assert done.returncode < 0, done.stderr  # a signal, not an exception
    return math.inf


def test_empty_channels_keep_the_gradient_right() -> None:
    assert convolution_error(7) < 0.01


@pytest.mark.slow
def test_the_padding_is_still_needed_on_faulty_processors() -> None:
    """When this fails on the processor that the fault was found on, PyTorch has mended it: drop the padding."""
    if not torch.cpu._is_avx512_bf16_supported() or not torch.__version__.startswith("2.13"):
        pytest.skip("the fault was seen in torch 2.13 on processors with AVX-512 BF16")
    assert not convolution_error(0) < 0.01  # also true of NaN


def relative_error(gradient: Tensor, exact: Tensor) -> float:
    return float((gradient.double() - exact.double()).norm() / exact.double().norm())


@pytest.mark.parametrize(("channels", "out", "stride"), [(128, 128, 1), (131, 128, 2)])
def test_bf16_gradients_agree_with_float32(channels: int, out: int, stride: int) -> None:
    torch.manual_seed(0)
    module = ESP(channels, out, stride=stride).to(memory_format=torch.channels_last)
    x = torch.randn(2, channels, 12 * stride, 40 * stride).contiguous(memory_format=torch.channels_last)
    weights = torch.randn(2, out, 12, 40)

    def gradients(bf16: bool) -> dict[str, Tensor]:
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = module(x)
        (output.float() * weights).sum().backward()
        return {key: value.grad.clone() for key, value in module.named_parameters()}

    exact, rounded = gradients(bf16=False), gradients(bf16=True)
    for key in exact:
        if key.startswith(("branches", "reduce")):
            assert relative_error(rounded[key], exact[key]) < 0.06, key


def test_empty_channels_change_nothing_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = ESP(64, 64)
    x = torch.randn(2, 64, 9, 11)
    results = []
    for extra in (0, 4):
        monkeypatch.setattr(esp, "gradient_safe_padding", lambda _x, _channels, extra=extra: extra)
        module.zero_grad()
        output = module(x)
        output.square().sum().backward()
        results.append([output.detach(), *(parameter.grad.clone() for parameter in module.parameters())])
    for plain, widened in zip(*results, strict=True):
        torch.testing.assert_close(widened, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))


def test_where_channels_are_added() -> None:
    x = torch.zeros(1)
    assert gradient_safe_padding(x.bfloat16(), 25) == 7
    assert gradient_safe_padding(x, 25) == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert [gradient_safe_padding(x, channels) for channels in (5, 12, 16, 17, 25, 32, 33)] == [
            0, 0, 0, 15, 7, 0, 15,
        ]  # fmt: skip
        with torch.no_grad():
            assert gradient_safe_padding(x, 25) == 0
