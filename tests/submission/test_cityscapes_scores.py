"""Our scores of predictions as files are cityscapesscripts' (golden figures of its run; live where it is installed).

Golden figures: ``FLEETSEG_CITYSCAPESSCRIPTS=VENV/bin/python FLEETSEG_WRITE_GOLDEN=1 pytest …``, of cityscapesscripts
2.3.0 with numpy 2.3.5.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetseg.data.label_tables import cityscapes_table
from fleetseg.errors import DataError
from fleetseg.evaluation import Choice, evaluate
from fleetseg.labels import CITYSCAPES_19
from fleetseg.submission import CityscapesScores, score_cityscapes

from .official_cases import CASES, Frames, write_case

GOLDEN = Path(__file__).parents[1] / "golden" / "cityscapesscripts.json"
OFFICIAL = os.environ.get("FLEETSEG_CITYSCAPESSCRIPTS", "")
#: Our name of a group of figures → cityscapesscripts'.
KEYS = {
    "class_iou": "classScores",
    "class_iiou": "classInstScores",
    "category_iou": "categoryScores",
    "category_iiou": "categoryInstScores",
}
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Case → the data set's folder and the predictions'."""
    roots = {name: tmp_path_factory.mktemp("cityscapes") for name in CASES}
    return {name: (root, write_case(root, name)) for name, root in roots.items()}


def official(root: Path, predictions: Path) -> dict[str, dict[str, float | None]]:
    """What cityscapesscripts' evaluation says, None for NaN."""
    out = root / "official"
    out.mkdir(exist_ok=True)
    places = {"CITYSCAPES_DATASET": root, "CITYSCAPES_RESULTS": predictions, "CITYSCAPES_EXPORT_DIR": out}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [OFFICIAL, "-m", "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"],
        env=environment | {name: str(path) for name, path in places.items()},
        check=True,
        capture_output=True,
    )
    figures: dict[str, Any] = json.loads((out / "resultPixelLevelSemanticLabeling.json").read_text())
    return {
        key: {name: None if math.isnan(value) else value for name, value in figures[theirs].items()}
        for key, theirs in KEYS.items()
    }


def largest_difference(scores: CityscapesScores, expected: dict[str, dict[str, float | None]]) -> float:
    """Over all figures; what one side leaves out or cannot say, the other cannot say either."""
    largest = 0.0
    for key in KEYS:
        ours: dict[str, float] = getattr(scores, key)
        for name, value in expected[key].items():
            own = ours.get(name, math.nan)
            assert math.isnan(own) == (value is None), (key, name, own, value)
            largest = max(largest, abs(own - value) if value is not None else 0.0)
        assert set(ours) <= set(expected[key])
    return largest


@pytest.mark.parametrize("case", CASES)
def test_equals_the_golden_figures(folders: dict[str, tuple[Path, Path]], case: str) -> None:
    root, predictions = folders[case]
    expected = json.loads(GOLDEN.read_text())[case]
    assert largest_difference(score_cityscapes(predictions, Frames(root)), expected) < TOLERANCE


@pytest.mark.skipif(not OFFICIAL, reason="FLEETSEG_CITYSCAPESSCRIPTS does not name a Python with cityscapesscripts")
def test_equals_cityscapesscripts_itself(
    folders: dict[str, tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    golden, report = {}, []
    for case, (root, predictions) in folders.items():
        golden[case] = official(root, predictions)
        difference = largest_difference(score_cityscapes(predictions, Frames(root)), golden[case])
        report.append(f"{case}: {len(CASES[case])} images, largest difference {difference:.1e}")
        assert difference < TOLERANCE
    with capsys.disabled():
        print("", *report, sep="\n")
    if os.environ.get("FLEETSEG_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


@pytest.mark.parametrize("case", ["streets", "few classes", "one-pixel instances", "an image of ignored labels"])
def test_evaluating_a_network_gives_the_same_figures(folders: dict[str, tuple[Path, Path]], case: str) -> None:
    """`evaluate` counts 19 classes where the files have 34 ids; only iIoU's caravans and trailers are told apart."""
    root, predictions = folders[case]
    dataset = Frames(root)
    files = iter(sorted(predictions.iterdir()))
    masks = [np.asarray(Image.open(path)) for path in files]
    answers = iter([np.where(cityscapes_table()[mask] == 255, 19, cityscapes_table()[mask]) for mask in masks])
    choice = Choice(["category", "iiou"])
    result = evaluate(
        lambda _image: next(answers).astype(np.uint8),
        dataset,
        (*CITYSCAPES_19.names, "unlabelled"),
        measures=choice.measures(choice.wanted(dataset, CITYSCAPES_19), CITYSCAPES_19),
    )
    expected = json.loads(GOLDEN.read_text())[case]
    ours = {
        "class_iou": dict(zip(result.labels.names, result.scores.iou.tolist(), strict=True)),
        "class_iiou": result.class_iiou(),
        "category_iou": result.category_iou(),
    }
    for key, values in ours.items():
        for name, value in values.items():
            theirs = expected[key][name]
            assert math.isnan(value) if theirs is None else value == pytest.approx(theirs, abs=TOLERANCE), (key, name)


def test_a_value_that_is_no_label_is_named(folders: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    root = folders["few classes"][0]
    predictions = write_case(tmp_path, "few classes")
    path = sorted(predictions.iterdir())[0]
    values = np.asarray(Image.open(path)).copy()
    values[3, 5] = 200
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=r"value 200 at row 3, column 5 is no label"):
        score_cityscapes(predictions, Frames(root))
