"""Compiled networks on real street scenes: the same classes as PyTorch in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fleetseg.compilation
from fleetseg.image import read_image
from fleetseg.runtime import load

SHARED = Path(__file__).parents[3] / "shared"
PUBLISHED = SHARED / "reference" / "espnet"

pytestmark = [pytest.mark.shared, pytest.mark.slow, pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared")]


@pytest.mark.parametrize("model", ["enet-camvid", str(PUBLISHED / "espnet_p_2_q_8_camvid.pth")])
def test_class_maps_agree(model: str, tmp_path: Path) -> None:
    native = fleetseg.compilation.compile(model, (480, 360), tmp_path, threads=2)
    reference = load(model, engine="torch")
    images = sorted((SHARED / "camvid" / "val").glob("*.png"))[::25]
    assert images
    for path in images:
        image = read_image(path)
        expected, logits = reference.logits(image), native.logits(image)
        classes = native(image)
        assert (classes == expected.argmax(0)).mean() >= 0.9999
        np.testing.assert_array_equal(classes, logits.argmax(0))
        # Rounding alone may decide between two almost equal maxima of ENet's pooling; the value then returns to the
        # pixel beside, and logits around it differ. ONNX Runtime and PyTorch disagree in the same way.
        error = np.abs(logits - expected).max(0)
        assert (error > 1e-3).mean() < (1e-2 if model == "enet-camvid" else 1e-9)
        assert np.median(error) < 1e-4


def test_golden_logits_of_the_published_code(tmp_path: Path) -> None:
    golden = np.load(PUBLISHED / "espnet_c_p_2_q_8.golden.npz")
    image = np.ascontiguousarray(golden["image_bgr"][..., ::-1])
    size = (image.shape[1], image.shape[0])
    native = fleetseg.compilation.compile(PUBLISHED / "espnet_c_p_2_q_8.pth", size, tmp_path)
    np.testing.assert_allclose(native.logits(image), golden["logits"], atol=2e-4)
