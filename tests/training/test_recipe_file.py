"""Recipes: the packaged ones load, and each mistake is one sentence with the key and what is legal."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fleetseg.errors import RecipeError, UnknownNameError, UsageError
from fleetseg.training.recipe import Recipe
from fleetseg.training.recipe_file import load_recipe, packaged_recipes

MINIMAL = {"name": "mine", "network": {"name": "enet"}, "stages": [{"name": "only", "epochs": 2}]}


@pytest.fixture
def minimal(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return str(path)


def test_the_packaged_recipes() -> None:
    assert {"enet-camvid", "espnet-camvid", "smoke"} <= set(packaged_recipes())


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_packaged_recipe_loads_and_is_called_as_its_file(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_complete_recipe_written_out_is_the_same_recipe(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(str(path)) == recipe


def test_defaults(minimal: str) -> None:
    recipe = load_recipe(minimal)
    assert (recipe.precision, recipe.seed, recipe.default_data, recipe.data.workers) == ("auto", 0, None, 1)
    assert recipe.stages[0].part == "network"


def test_overrides(minimal: str) -> None:
    recipe = load_recipe(
        minimal,
        [
            "seed=7",
            "stages.only.epochs=9",
            "stages.0.optimiser.learning_rate=2e-3",
            "stages.0.augmentation.crop=[64, 48]",
            "stages.0.augmentation.crop.1=32",
            "network.options.bias=false",
            "stages.0.ema=0.5",
            "licence=free",
        ],
    )
    stage = recipe.stages[0]
    assert (recipe.seed, stage.epochs, stage.optimiser.learning_rate, stage.ema) == (7, 9, 0.002, 0.5)
    assert stage.augmentation.crop == (64, 32)
    assert (recipe.network.options, recipe.licence) == ({"bias": False}, "free")


def test_a_section_that_is_off_is_turned_on_by_one_of_its_keys(minimal: str, tmp_path: Path) -> None:
    """A complete recipe says null there."""
    path = tmp_path / "complete.yaml"
    path.write_text(load_recipe(minimal).to_yaml())
    section = load_recipe(str(path), ["stages.only.distillation.teacher=x"]).stages[0].distillation
    assert section is not None and section.teacher == "x"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("epochs=3", r"unknown key 'epochs'; legal here: name, network, data, normalisation, seed, .*stages$"),
        ("stages.0.augmentation.zoom=3", r"unknown key 'stages.0.augmentation.zoom'; legal here: crop, scale, fl"),
        ("stages.0.optimiser.name=sgd", r"stages.0.optimiser.name: Input should be 'adam' or 'adamw' \(it is 'sgd'\)"),
        (
            "stages.0.schedule.name=exp",
            r"schedule.name: Input should be 'constant', 'step', 'poly', 'cosine', .*or 'one-cycle'",
        ),
        ("stages.0.loss.class_weights=focal", r"should be 'none', 'enet', 'inverse' or 'median', or a list"),
        ("stages.0.epochs=many", r"stages.0.epochs: .*valid integer.*'many'"),
        ("stages.0.epochs=0", r"stages.0.epochs: Input should be greater than or equal to 1 \(it is 0\)"),
        ("stages.0.batch_size=2.5", r"stages.0.batch_size: .*valid integer"),
        ("stages.0.optimiser.learning_rate=-1", r"learning_rate: Input should be greater than 0 \(it is -1\)"),
        ("stages.0.optimiser.learning_rate=.inf", r"learning_rate: Input should be a finite number"),
        ("stages.0.optimiser.learning_rate=.nan", r"learning_rate: Input should be a finite number"),
        (
            "stages.0.loss.class_weights=[1, 0]",
            r"class_weights: a list of class weights holds a number above 0 for each",
        ),
        ("stages.0.loss.terms=[]", r"stages.0.loss.terms: .*at least 1 item"),
        ("stages.0.loss.terms=[{name: lovas}]", r"stages.0.loss.terms.0.name: Input should be 'cross-entropy', 'ohem'"),
        ("stages.0.loss.terms=[{name: focal, radius: 2}]", r"the term 'focal' has no option 'radius'; it has: gamma"),
        ("stages.0.loss.terms=[{name: dice, gamma: 2}]", r"the term 'dice' has no option 'gamma'; it has none"),
        (
            "stages.0.loss.terms=[{name: focal, alpha: 2}]",
            r"unknown key 'stages.0.loss.terms.0.alpha'; legal here: nam",
        ),
        ("stages.0.loss.terms=[{name: ohem, keep: null}]", r"the term 'ohem' needs a number as its option 'keep'"),
        ("stages.0.loss.terms=[{name: dice}, {name: dice}]", r"the term 'dice' is there twice; add its weights up"),
        ("stages.0.distillation={}", r"the key 'stages.0.distillation.teacher' is missing"),
        (
            "stages.0.distillation={teacher: x, T: 2}",
            r"unknown key 'stages.0.distillation.T'; legal here: teacher, log",
        ),
        ("stages.0.augmentation.balance=2", r"balance: Input should be less than or equal to 1 \(it is 2\)"),
        ("stages.0.optimiser.clip=0", r"clip: Input should be greater than 0"),
        ("stages.0.loss.c=1", r"stages.0.loss.c: Input should be greater than 1"),
        ("stages.0.ema=1", r"stages.0.ema: Input should be less than 1"),
        ("stages.0.augmentation.crop=[480]", r"stages.0.augmentation.crop.1: a value is missing there$"),
        ("stages.0.augmentation.crop=[48, 48, 3]", r"augmentation.crop: a list of at most 2 items is needed$"),
        ("stages.0.augmentation.crop=480x360", r"augmentation.crop: a list in brackets is needed \(it is '480x360'\)"),
        ("stages.0.epochs=yes", r"stages.0.epochs: Input should be a number; true, yes and on are none \(it is True\)"),
        ("stages.0.epochs=1:5", r"stages.0.epochs: .*valid integer.*\(it is '1:5'\)"),
        (
            "data.cache=perhaps",
            r"data.cache: .*valid boolean.*, or: Input should be 'memory', 'disk' or 'auto' \(it is 'p",
        ),
        ("stages.0.distillation.teacher=[1]", r"stages.0.distillation.teacher: Input should be a valid string$"),
        ("stages.0.distillation.teacher=[a, b, a]", r"distillation: teacher: a is there twice; name each model once"),
        ("init=''", r"init: String should have at least 1 character"),
        ("stages.0.augmentation.crop=[8, 480]", r"crop is \[8, 480\]; width and height must be 16 to 16384"),
        ("stages.0.augmentation.crop=[100000, 480]", r"crop is \[100000, 480\]; width and height must be 16 to 16384"),
        ("data.workers=100000", r"data.workers: Input should be less than or equal to 256"),
        ("stages.0.augmentation.scale=[2, 1]", r"scale is \[2.0, 1.0\]; it must be a rising pair above 0"),
        ("stages.0.schedule.warmup_epochs=3", r"warmup_epochs is 3 but the stage has 2 epochs"),
        ("stages.first.epochs=3", r"--set stages.first.epochs: there is no stage 'first'; legal: only, 0 to 0"),
        ("stages.1.epochs=3", r"there is no stage '1'; legal: only, 0 to 0"),
        ("stages.0.name=Two words", r"stages.0.name: String should match pattern"),
        (f"stages.0.name={'x' * 101}", r"stages.0.name: String should have at most 100 characters"),
        ("stages.0.part=encoder", r"the last stage must have part: network"),
        ("stages.0=5", r"stages.0: a mapping is needed, with keys out of name, part, epochs"),
        ("stages=[]", r"stages: .*at least 1 item"),
        ("data=", r"data: a mapping is needed, with keys out of scenes, workers, cache"),
        ("data.workers=-1", r"data.workers: Input should be greater than or equal to 0"),
        ("seed.x=1", r"--set seed.x=1: 'x' has no place below a plain value"),
        ("seed=-1", r"seed: Input should be greater than or equal to 0"),
        ("seed", r"--set seed: write key=value"),
        ("=3", r"--set =3: write key=value"),
        ("seed=[1", r"--set seed=\[1: the value is not valid YAML"),
        ("precision=fp16", r"precision: Input should be 'auto', 'bf16' or 'fp32' \(it is 'fp16'\)"),
        ("compile=perhaps", r"compile: Input should be a valid boolean"),
        ("normalisation.std=[1, 0, 1]", r"normalisation.std.1: Input should be greater than 0 \(it is 0\)"),
        ("normalisation={mean: [1], std: [1]}", r"normalisation.mean has 1 values; images have 3 channels"),
        ("network.name=enett", r"network.name: There is no network 'enett'; did you mean enet"),
        ("network.options.alpha2=3", r"'enet' has no option 'alpha2'; it has: bias, encoder_activation, dilated"),
        ("network.options=3", r"network.options: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_is_one_sentence(minimal: str, override: str, sentence: str) -> None:
    overrides = [override]
    if override.startswith("seed.x"):
        overrides = ["seed=1", override]
    with pytest.raises(RecipeError, match=sentence) as caught:
        load_recipe(minimal, overrides)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2
    assert str(caught.value).startswith((minimal, "--set"))


def test_encoder_stage_of_a_network_without_encoder(minimal: str) -> None:
    stages = "stages=[{name: one, part: encoder, epochs: 1}, {name: two, epochs: 1}]"
    with pytest.raises(RecipeError, match="stage one has part: encoder, but network 'espnet-b' has no encoder"):
        load_recipe(minimal, [stages, "network.name=espnet-b"])
    assert load_recipe(minimal, [stages]).stages[0].part == "encoder"


def test_the_papers_settings() -> None:
    """ENet's section 5.2 and ESPNet's 4.1; of ESPNet's class weights the published code's c."""
    enet, espnet = load_recipe("enet-camvid-paper"), load_recipe("espnet-camvid-paper")
    for recipe, decay, c in ((enet, 2e-4, 1.02), (espnet, 5e-4, 1.10)):
        assert [stage.part for stage in recipe.stages] == ["encoder", "network"]
        for stage in recipe.stages:
            assert (stage.optimiser.name, stage.optimiser.learning_rate) == ("adam", 5e-4)
            assert (stage.optimiser.weight_decay, stage.batch_size, stage.ema) == (decay, 10, None)
            assert (stage.loss.class_weights, stage.loss.c, stage.schedule.name) == ("enet", c, "step")
    assert [(stage.epochs, stage.schedule.step_epochs, stage.schedule.gamma) for stage in enet.stages] == [
        (60, 50, 0.1),
        (50, 40, 0.1),
    ]
    assert {(stage.schedule.step_epochs, stage.schedule.gamma) for stage in espnet.stages} == {(100, 0.5)}
    assert {stage.augmentation.flip for stage in enet.stages} == {0}


def test_an_auxiliary_head_needs_an_encoder(minimal: str) -> None:
    with pytest.raises(RecipeError, match=r"stage only has loss.auxiliary, but network 'espnet-b' has no place for an"):
        load_recipe(minimal, ["stages.0.loss.auxiliary=0.4", "network.name=espnet-b"])


def test_a_recipe_from_before_there_were_terms_means_the_same(minimal: str) -> None:
    loss = load_recipe(minimal, ["stages.0.loss={class_weights: median, c: 1.1}"]).stages[0].loss
    assert [(term.name, term.weight, term.label_smoothing) for term in loss.terms] == [("cross-entropy", 1.0, 0.0)]
    assert loss.auxiliary == 0


def test_encoder_stages_come_first(minimal: str) -> None:
    stages = "{name: a, epochs: 1}, {name: b, part: encoder, epochs: 1}, {name: c, epochs: 1}"
    with pytest.raises(RecipeError, match="part: encoder must come before"):
        load_recipe(minimal, [f"stages=[{stages}]"])


def test_stage_names_are_unique(minimal: str) -> None:
    with pytest.raises(RecipeError, match="stage names are a, a; each must be unique"):
        load_recipe(minimal, ["stages=[{name: a, epochs: 1}, {name: a, epochs: 1}]"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "not valid YAML"),
        ("- 1\n- 2", "a recipe is a mapping with the keys name, network"),
        ("", "a recipe is a mapping"),
        ("name: x\nnetwork: {name: enet}", "the key 'stages' is missing"),
        ("name: x\nstages: [{name: a, epochs: 1}]", "the key 'network' is missing"),
        ("name: x\nnetwork: {name: enet}\nstages: [{epochs: 1}]", "the key 'stages.0.name' is missing"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=sentence) as caught:
        load_recipe(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(str(path))


def test_missing_file_and_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe file"):
        load_recipe(str(tmp_path / "absent.yaml"))
    with pytest.raises(UnknownNameError, match="There is no recipe 'smok'; did you mean smoke") as caught:
        load_recipe("smok")
    assert isinstance(caught.value, UsageError)


def test_every_key_is_in_the_written_recipe(minimal: str) -> None:
    tree = yaml.safe_load(load_recipe(minimal).to_yaml())
    assert set(tree) == set(Recipe.model_fields)


def test_a_runs_folder_is_no_recipe(minimal: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(Path(minimal).read_text())
    with pytest.raises(RecipeError, match=r"is the folder of a run; its recipe is .*recipe\.yaml$"):
        load_recipe(str(tmp_path))
