"""What is kept between runs: class statistics and decoded samples, found again only while the files are the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.data import open_dataset
from fleetseg.data.cached_statistics import cached_class_statistics
from fleetseg.data.fingerprint import cache_folder, fingerprint
from fleetseg.data.joined import Chosen, Relabelled
from fleetseg.data.mapped_samples import map_samples, mapped_file
from fleetseg.data.resized import Resized
from fleetseg.errors import DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))


def rewrite(path: Path, value: int) -> None:
    before = path.stat().st_mtime_ns
    Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


def test_statistics_are_counted_once_and_anew_after_a_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = open_dataset(folder, "train")
    first = cached_class_statistics(train)
    assert first.pixels.tolist() == [8, 32, 4]
    with monkeypatch.context() as patch:
        patch.setattr("fleetseg.data.cached_statistics.class_statistics", None)  # counting again would fail
        again = cached_class_statistics(open_dataset(folder, "train"))
    assert again.pixels.tolist() == [8, 32, 4]
    assert again.present_image_pixels.tolist() == first.present_image_pixels.tolist()
    rewrite(folder / "labels/train/b.png", 2)
    assert cached_class_statistics(open_dataset(folder, "train")).pixels.tolist() == [8, 8, 28]


def test_a_broken_cache_only_costs_time(folder: Path) -> None:
    cached_class_statistics(open_dataset(folder, "train"))
    (file,) = cache_folder().glob("classes-*.json")
    file.write_text('{"pixels": [1], "present')
    assert cached_class_statistics(open_dataset(folder, "train")).pixels.tolist() == [8, 32, 4]


def test_whatever_decides_about_samples_is_in_the_fingerprint(folder: Path) -> None:
    train = open_dataset(folder, "train")
    names = {
        fingerprint(train),
        fingerprint(open_dataset(folder, "val")),
        fingerprint(Resized(train, (3, 2))),
        fingerprint(Resized(train, (2, 3))),
        fingerprint(Chosen(train, [0], "train")),
        fingerprint(Chosen(train, [1], "train")),
        fingerprint(Relabelled(train, train.labels, np.zeros(256, np.uint8))),
        fingerprint(Relabelled(train, train.labels, np.ones(256, np.uint8))),
    }
    assert len(names) == 8
    assert fingerprint(train) == fingerprint(open_dataset(folder, "train"))
    assert fingerprint(open_dataset("scenes:2", "val")) is None


def test_mapped_samples_are_the_decoded_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = open_dataset(folder, "train")
    path = mapped_file(train)
    assert path is not None
    mapped = map_samples(train, path, lambda numbers, _: numbers)
    assert path.stat().st_size == 2 * 4 * 6 * 4
    monkeypatch.setattr("fleetseg.image.read_image", None)  # nothing is decoded from here on
    monkeypatch.setattr("fleetseg.data.listing.read_image", None)
    again = map_samples(train, path, lambda numbers, _: numbers)
    monkeypatch.undo()
    for found in (mapped, again):
        for index in range(2):
            assert np.array_equal(found[index].image, train[index].image)
            assert np.array_equal(found[index].mask, train[index].mask)
            assert found[index].name == train[index].name


def test_a_broken_sample_leaves_nothing_behind(folder: Path) -> None:
    (folder / "labels/train/b.png").write_bytes(b"no image")
    train = open_dataset(folder, "train")
    path = mapped_file(train)
    assert path is not None
    with pytest.raises(DataError, match=r"b\.png"):
        map_samples(train, path, lambda numbers, _: numbers)
    assert list(cache_folder().iterdir()) == []
