"""A search over a recipe's keys: Optuna proposes, `Run` trains, validation mIoU judges.

The folder of a search holds ``search.json`` (what is searched), ``study.journal`` (Optuna's storage, which only
ever grows, so that a kill loses nothing), a run's folder ``trial-0000`` and so on a trial, and ``best.yaml``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from fleetseg.atomic import write_text
from fleetseg.errors import FleetsegError, RecipeError, TrainingError, UsageError
from fleetseg.metrics import Scores
from fleetseg.training.recipe import Recipe
from fleetseg.training.recipe_file import load_recipe
from fleetseg.training.run import Run
from fleetseg.training.search_space import SearchKey

#: Trials before the sampler learns from earlier ones and before any is pruned.
STARTUP_TRIALS = 5

#: Called with a sentence about a trial.
Say = Callable[[str], None]


@dataclass(frozen=True)
class SearchPlan:
    """What is searched; a search goes on only with the same plan."""

    recipe: str
    settings: tuple[str, ...]
    data: str
    keys: tuple[SearchKey, ...]
    seed: int
    #: Takes the place of the recipe's network, as in training.
    network: str | None = None


class Search:
    """One search in one folder."""

    def __init__(self, plan: SearchPlan, out: Path, resume: bool, say: Say) -> None:
        """Make or reopen the folder.

        `UsageError` if it holds another search or, without `resume`, any; `TrainingError` if its journal is broken.
        """
        self.plan = plan
        self.out = out
        self.say = say
        self._open(resume)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = _study(out.resolve() / "study.journal")

    def _open(self, resume: bool) -> None:
        path = self.out / "search.json"
        # Searches from before there was a choice of networks have no such key.
        plan = {key: value for key, value in asdict(self.plan).items() if key != "network" or value}
        text = json.dumps(plan, indent=2) + "\n"
        if not path.exists():
            if (self.out / "recipe.yaml").exists():
                raise UsageError(f"{self.out}: holds a training run; choose another --out for the search")
            write_text(path, text)
        elif not resume:
            raise UsageError(f"{self.out}: holds a search already; add --resume or choose another --out")
        elif path.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"{path}: the search was started with another recipe, network, data, seed or keys; give the same"
            )

    def run(self, trials: int) -> list[FrozenTrial]:
        """Train until `trials` trials are through, those of earlier calls included; returns all of them.

        A trial that an interruption left half-way goes on first, from its last whole epoch.
        """
        for left in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._prepare(left.number)
            self._one(Trial(self.study, left._trial_id))
        while len(self._ended()) < trials:
            self._prepare(len(self.study.get_trials(deepcopy=False)))
            self._one(self.study.ask())
        return self._ended()

    def _ended(self) -> list[FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def _prepare(self, number: int) -> None:
        """A sampler for this trial alone: its values depend on seed and earlier results, not on interruptions."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = optuna.samplers.TPESampler(
                seed=self.plan.seed * 100_003 + number, n_startup_trials=STARTUP_TRIALS, multivariate=True
            )

    def _one(self, trial: Trial) -> None:
        settings = [f"{key.key}={key.setting(suggest(trial, key))}" for key in self.plan.keys]
        self.say(f"trial {trial.number}: {', '.join(settings)}")
        try:
            recipe = load_recipe(self.plan.recipe, [*self.plan.settings, *settings], network=self.plan.network)
        except RecipeError as error:  # each value is legal alone, these are not together
            self._fail(trial, error)
            return
        run = Run(recipe, self.plan.data, self.folder(trial.number), resume=True)
        run.watch = _Watch(trial, recipe)
        try:
            run.execute()
        except optuna.TrialPruned:
            self.study.tell(trial, state=TrialState.PRUNED)
            self.say(f"trial {trial.number}: pruned, below the median of earlier trials at that epoch")
        except TrainingError as error:
            self._fail(trial, error)
        else:
            self.study.tell(trial, 100 * run.best_miou)
            self.say(f"trial {trial.number}: mIoU {100 * run.best_miou:.2f}, best {self.study.best_value:.2f}")
            if self.study.best_trial.number == trial.number:
                write_text(self.out / "best.yaml", recipe.to_yaml())

    def _fail(self, trial: Trial, error: FleetsegError) -> None:
        trial.set_user_attr("error", str(error))
        self.study.tell(trial, state=TrialState.FAIL)
        self.say(f"trial {trial.number}: failed: {error}")

    def folder(self, number: int) -> Path:
        """A trial's run."""
        return self.out / f"trial-{number:04d}"


def _study(journal: Path) -> optuna.Study:
    """The study in a journal, made if it is missing.

    `journal` is absolute: Optuna's lock is a link beside it, and one that a kill left is only seen to be old if the
    link leads to the journal.
    """
    _cut_half_line(journal)
    try:
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name="fleetseg",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        )
    except (ValueError, KeyError) as error:
        raise TrainingError(f"{journal}: is not the journal of a search ({error})") from error


def _cut_half_line(journal: Path) -> None:
    """What a kill or a full disk left of a line; another one behind it would make both unreadable."""
    if not journal.is_file():
        return
    with journal.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


class _Watch:
    """Tells Optuna each validation's mIoU and stops a trial that it gives up."""

    def __init__(self, trial: Trial, recipe: Recipe) -> None:
        self.trial = trial
        starts = [sum(stage.epochs for stage in recipe.stages[:number]) for number in range(len(recipe.stages))]
        self.before = {stage.name: start for stage, start in zip(recipe.stages, starts, strict=True)}

    def __call__(self, stage: str, epoch: int, scores: Scores) -> None:
        """`optuna.TrialPruned` if the trial is worse than the median of earlier ones was at this epoch."""
        step = self.before[stage] + epoch
        if step not in self.trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values:
            self.trial.report(100 * scores.miou, step)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def suggest(trial: Trial, key: SearchKey) -> Any:
    """This trial's value for `key`; asked again, the same."""
    if key.choices:
        return trial.suggest_categorical(key.key, key.choices)
    if key.whole:
        return trial.suggest_int(key.key, round(key.low), round(key.high), log=key.logarithmic)
    return trial.suggest_float(key.key, key.low, key.high, log=key.logarithmic)


def trial_figures(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """For a table and for JSON, best first; miou is in percent, None for a trial that was not finished."""
    # Optuna gives a pruned trial the value it was pruned at; it stands behind those that came to their end.
    ordered = sorted(trials, key=lambda one: (one.state != TrialState.COMPLETE, -(one.value or 0.0), one.number))
    return [
        {
            "trial": trial.number,
            "state": {"COMPLETE": "finished", "FAIL": "failed"}.get(trial.state.name, trial.state.name.lower()),
            "miou": trial.value if trial.state == TrialState.COMPLETE else None,
            "last_miou": trial.intermediate_values[max(trial.intermediate_values)]
            if trial.intermediate_values
            else None,
            "values": dict(trial.params),
        }
        for trial in ordered
    ]
