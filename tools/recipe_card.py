"""Write down what a packaged recipe gave: command, hours, mIoU, curves; one card a recipe, in docs/recipe-cards.

    python tools/recipe_card.py NAME RUN --data DIR --command "fleetseg train …"

Run by the maintainers after a recipe has been run to its end, from packaged weights or from nothing. The best
weights of RUN are measured on the validation split; weights that are packaged have a card of their own
(`package_weights.py`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml
from cards import cell, commands_text, draw_curves, hours, stages_text

import fleetseg
from fleetseg.atomic import write_text
from fleetseg.data import open_dataset
from fleetseg.evaluation import Evaluation, evaluate
from fleetseg.metadata import ModelMetadata
from fleetseg.models.checkpoint import load_checkpoint
from fleetseg.training.history import History

CARDS = Path(__file__).resolve().parents[1] / "docs" / "recipe-cards"


def main() -> None:
    """Read the arguments and write the card and its curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="the recipe")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--data", required=True, help="data set whose val split is measured")
    parser.add_argument("--data-is", default="CamVid", help="--data in the card's words")
    parser.add_argument("--command", action="append", required=True, help="the exact command [# remark]")
    parser.add_argument("--machine", default="one core of two (AVX-512, bf16, AMX)")
    arguments = parser.parse_args()
    best = arguments.run / "best.safetensors"
    model = fleetseg.load(best)
    found = evaluate(model, open_dataset(arguments.data, "val"), model.classes)
    rows = History(arguments.run / "history.csv").rows
    draw_curves(rows, CARDS / f"{arguments.name}-curves.png")
    card = recipe_card(arguments, load_checkpoint(best)[1], rows, found)
    write_text(CARDS / f"{arguments.name}.md", card)
    print(card)


def recipe_card(
    arguments: argparse.Namespace, metadata: ModelMetadata, rows: list[dict[str, str]], found: Evaluation
) -> str:
    """Markdown: how it was run, what it scores."""
    provenance, interval = metadata.provenance, found.interval()
    recipe = yaml.safe_load((arguments.run / "recipe.yaml").read_text(encoding="utf-8"))
    images, seeds = "one image", "one seed"
    if len(found.images) > 1:
        images = f"{len(found.images)} images"
        seeds = f"95% interval over images {cell(interval.low)} to {cell(interval.high)}; one seed"
    classes = "\n".join(
        f"| {label} | {cell(iou)} | {cell(accuracy)} |"
        for label, iou, accuracy in zip(found.labels.names, found.scores.iou, found.scores.accuracy, strict=True)
    )
    return f"""# Recipe {arguments.name}
Its settings: [{arguments.name}.yaml](../../src/fleetseg/recipes/{arguments.name}.yaml).

## How it was run
{commands_text(arguments.command)}

- Stages: {stages_text(rows)}, to the end. {hours(rows):.2f} hours in epochs on {arguments.machine}, shared with
  other work at the time.
- fleetseg {provenance["fleetseg"]}, torch {provenance["torch"]}, seed {recipe["seed"]}.
- The weights measured are those of epoch {provenance["epoch"]} of stage {provenance["stage"]}, the best on val.

![curves]({arguments.name}-curves.png)

## What it scores
{arguments.data_is}, val ({images}, unlabelled pixels ignored, one confusion matrix):
**mIoU {cell(found.scores.miou)}** ({seeds}),
class average accuracy {cell(found.scores.class_average_accuracy)},
global accuracy {cell(found.scores.global_accuracy)}.

| class | IoU | accuracy |
|---|---|---|
{classes}
"""


if __name__ == "__main__":
    main()
