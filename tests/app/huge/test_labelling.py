"""Labels do not depend on where windows lie, on bands, on where one begins or on how many windows run at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.app.huge.conftest import RADIUS, clouds

from fleetseg.app.huge import plan as plan_module
from fleetseg.app.huge.plan import WindowOptions
from fleetseg.app.huge.run import Outputs, label_image
from fleetseg.image import write_png
from fleetseg.runtime import Model, load
from fleetseg.runtime.test_time import ViewedModel, Views

MakeOutputs = Callable[..., Outputs]


def labels_of(model: Model, path: Path, outputs: Outputs, **options: object) -> np.ndarray:
    label_image(model, path, outputs, WindowOptions(**options))
    return tifffile.imread(outputs.labels)


@pytest.fixture
def cloudy(tmp_path: Path) -> tuple[Path, np.ndarray]:
    picture = clouds(301, 219)
    write_png(tmp_path / "a.png", picture)
    return tmp_path / "a.png", picture


@pytest.mark.parametrize(
    ("window", "overlap"), [((64, 48), 0.7), ((64, 64), 0.5), ((96, 80), 0.5), ((400, 64), 0.5), ((512, 512), 0.1)]
)
def test_a_network_that_sees_a_quarter_of_the_overlap_answers_as_for_the_whole_image(
    blurring: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs, window: tuple[int, int], overlap: float
) -> None:
    path, picture = cloudy
    found = labels_of(blurring, path, outputs(), window=window, overlap=overlap)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, blurring.predict(picture))


def test_one_that_sees_further_does_depend_on_the_grid(
    blurring: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    """Without this the test above could not fail."""
    path, picture = cloudy
    found = labels_of(blurring, path, outputs(), window=(64, 48), overlap=0.0)
    different = (found != blurring.predict(picture)).mean()
    assert 0 < different < 0.1


def test_bands_and_batches_change_nothing(
    blurring: Model, tmp_path: Path, outputs: MakeOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = clouds(1200, 700)
    write_png(tmp_path / "a.png", picture)
    options = {"window": (128, 96), "overlap": 0.25}
    expected = labels_of(blurring, tmp_path / "a.png", outputs(), **options)
    monkeypatch.setattr(plan_module, "SUMS_MEMORY", 1)
    done = label_image(blurring, tmp_path / "a.png", outputs("narrow"), WindowOptions(**options, window_batch=3))
    assert len(done.plan.bands) == 3
    np.testing.assert_array_equal(tifffile.imread(outputs("narrow").labels), expected)
    # Nor could they here, where the overlap shows enough: the whole image gives the same.
    assert expected.shape == (700, 1200) and RADIUS <= 128 * 0.25 / 4
    assert (expected != blurring.predict(picture)).mean() < 1e-3


def test_scales_and_mirror_images_are_those_of_evaluation(
    blurring: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    path, picture = cloudy
    views = Views(scales=(1.0, 1.5), flip=True)
    found = labels_of(blurring, path, outputs(), window=(400, 400), views=views)
    np.testing.assert_array_equal(found, ViewedModel(blurring, views=views).predict(picture))
    assert (found != blurring.predict(picture)).any()


def test_downsampled_labels_are_those_of_the_smaller_image(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    path, _ = cloudy
    found = labels_of(colours, path, outputs(), window=(64, 48), downsample=2.0)
    assert found.shape == (109, 150)
    # A whole number of pixels becomes one, so every window averages the same ones.
    picture = clouds(301, 219)[:218, :300].reshape(109, 2, 150, 2, 3).mean(axis=(1, 3))
    agreement = (found == colours.predict(np.rint(picture).astype(np.uint8))).mean()
    assert agreement > 0.995


def test_a_compiled_network_sees_windows_of_its_size_alone(
    colours: Model, cloudy: tuple[Path, np.ndarray], outputs: MakeOutputs
) -> None:
    from fleetseg.errors import UsageError

    path, picture = cloudy
    colours.fixed_size = (80, 64)
    seen: set[tuple[int, ...]] = set()
    original = colours.probabilities_of
    colours.probabilities_of = lambda images: seen.update(i.shape for i in images) or original(images)  # type: ignore
    np.testing.assert_array_equal(labels_of(colours, path, outputs()), picture.argmax(axis=2))
    assert seen == {(64, 80, 3)}
    with pytest.raises(UsageError, match="was compiled for 80×64 and sees no windows of 64×48"):
        labels_of(colours, path, outputs(), window=(64, 48))
    with pytest.raises(UsageError, match="compiled for 80×64"):
        labels_of(colours, path, outputs(), views=Views(scales=(2.0,)))


@pytest.mark.slow
def test_the_packaged_network_depends_on_the_grid_by_two_percent_at_most(tmp_path: Path, outputs: MakeOutputs) -> None:
    """ENet sees 1,249 pixels around each; the bound that docs/huge-images.md states for its default windows."""
    from fleetseg.data.scenes import render_scene

    model = load("enet-camvid", threads=1)
    picture = render_scene(5, 1600, 1200)[0]
    write_png(tmp_path / "a.png", picture)
    answers = [labels_of(model, tmp_path / "a.png", outputs(str(share)), overlap=share) for share in (0.25, 0.4, 0.5)]
    answers.append(model.predict(picture))
    for place, one in enumerate(answers):
        for other in answers[place + 1 :]:
            assert (one != other).mean() <= 0.02
