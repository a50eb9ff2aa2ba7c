"""Class and confidence from logits, against NumPy's and PyTorch's own operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fleetseg.runtime.decision import best_class, best_class_and_confidence, enlarged_planes


def integer_logits(seed: int = 0) -> np.ndarray:
    """Many equal values, so that ties are decided too."""
    return np.random.default_rng(seed).integers(-3, 4, (6, 30, 40)).astype(np.float32)


def test_best_class_is_argmax_with_ties() -> None:
    logits = integer_logits()
    np.testing.assert_array_equal(best_class(iter(logits)), logits.argmax(axis=0))


def test_up_to_255_classes() -> None:
    logits = np.random.default_rng(1).normal(size=(255, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(best_class(iter(logits)), logits.argmax(axis=0))


@pytest.mark.parametrize("scale", [1, 200])
def test_confidence_is_the_largest_softmax(scale: float) -> None:
    logits = integer_logits(2) * np.float32(scale)
    mask, confidence = best_class_and_confidence(iter(logits))
    expected = torch.from_numpy(logits).softmax(dim=0).amax(dim=0).numpy()
    np.testing.assert_array_equal(mask, logits.argmax(axis=0))
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence, expected, rtol=1e-5)


def test_logits_are_not_changed() -> None:
    logits = integer_logits(3)
    before = logits.copy()
    best_class(iter(logits))
    best_class_and_confidence(iter(logits))
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (37, 21), (64, 40)])
def test_stride_8_is_enlarged_to_the_padded_size_and_cropped(size: tuple[int, int]) -> None:
    width, height = size
    logits = np.random.default_rng(4).normal(size=(4, -(-height // 8), -(-width // 8))).astype(np.float32)
    planes = np.stack(list(enlarged_planes(logits, 8, size, size)))
    padded = F.interpolate(torch.from_numpy(logits)[None], scale_factor=8, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(planes, padded[0, :, :height, :width].numpy(), atol=1e-5)


def test_what_the_network_saw_is_brought_back_to_the_images_size() -> None:
    logits = np.random.default_rng(5).normal(size=(3, 12, 16)).astype(np.float32)
    planes = np.stack(list(enlarged_planes(logits, 1, (16, 12), (50, 31))))
    expected = F.interpolate(torch.from_numpy(logits)[None], size=(31, 50), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(planes, expected[0].numpy(), atol=1e-5)
