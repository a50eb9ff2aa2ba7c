"""A comparison: every engine prepared, loaded, timed in turns with the others asleep, and its class map judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fleetseg.benchmark.choices import Choice
from fleetseg.benchmark.job import REFERENCE, Job
from fleetseg.benchmark.peak import PeakMeter
from fleetseg.benchmark.record import Comparison, KernelTime, Profile, Result, Skipped, percentiles
from fleetseg.benchmark.rounds import turns
from fleetseg.benchmark.worker import MAP
from fleetseg.benchmark.worker_process import WorkerProcess
from fleetseg.errors import BenchmarkError, UsageError

if TYPE_CHECKING:
    from fleetseg.benchmark.subject import Subject

#: Untimed runs at the start of every turn: caches, clock and sleeping threads come back.
WARM_UP = 3

#: Told what is being done, and how much of everything (0 to 1) is done.
Tell = Callable[[str, float], None]

#: Part of the time, roughly, that preparing and loading take, for the progress bar; the rounds take as much.
_PREPARING = 0.5


@dataclass
class _Participant:
    choice: Choice
    worker: WorkerProcess
    first_result_ms: float
    agreement: float
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """What a comparison depends on beside its subject."""

    choices: Sequence[Choice]
    threads: int
    trials: int
    #: Whether the native engine's kernels are timed as well.
    profile: bool = False
    #: Untimed runs at the start of every turn.
    warm_up: int = WARM_UP


def compare(subject: Subject, settings: Settings, peak: PeakMeter | None, tell: Tell) -> Comparison:
    """Time the chosen engines on a subject.

    An engine that cannot be timed is among the `skipped`, unless the call asked for it by name: then the error is
    raised, `UsageError` for what is not installed and `BenchmarkError` for the rest.
    """
    return _Run(subject, settings, peak, tell).comparison()


class _Run:
    def __init__(self, subject: Subject, settings: Settings, peak: PeakMeter | None, tell: Tell) -> None:
        self._subject, self._settings, self._peak, self._tell = subject, settings, peak, tell
        self._size = f"{subject.size[0]}x{subject.size[1]}"
        self._failed: dict[Choice, str] = {}
        self._comparison = Comparison(
            subject.model, self._size, settings.threads, settings.trials, subject.macs, subject.random_weights
        )

    def comparison(self) -> Comparison:
        choices = self._installed()
        # All are prepared before any is loaded: a preparation may take the whole machine.
        forms = {}
        for position, choice in enumerate(choices):
            self._tell(f"preparing {choice}", _PREPARING * position / (2 * len(choices)))
            forms[choice] = self._prepared(choice)
        with ExitStack() as stack:
            participants = []
            for position, (choice, form) in enumerate(forms.items()):
                self._tell(f"loading {choice}", _PREPARING * (0.5 + position / (2 * len(forms))))
                participant = None if form is None else self._loaded(choice, form, stack)
                participants += [participant] if participant else []
            self._rounds(participants)
            for participant in participants:
                self._finish(participant)
        return self._comparison

    def _installed(self) -> list[Choice]:
        for choice in self._settings.choices:
            reason = choice.missing()
            if reason:
                self._fail(choice, reason, UsageError)
        return [choice for choice in self._settings.choices if choice not in self._failed]

    def _prepared(self, choice: Choice) -> str | None:
        """The engine's quickest form, or None if it failed."""
        try:
            with WorkerProcess(self._job(choice)) as worker:
                return str(worker.ask("prepare")["form"])
        except BenchmarkError as error:
            self._fail(choice, str(error))
            return None

    def _loaded(self, choice: Choice, form: str, stack: ExitStack) -> _Participant | None:
        """A worker with its first result, asleep."""
        job = self._job(choice)
        worker = stack.enter_context(WorkerProcess(job))
        try:
            first = worker.ask("load", form=form)["first_result_ms"]
            share = agreement(np.load(job.own / MAP), np.load(self._subject.folder / REFERENCE))
        except BenchmarkError as error:
            self._fail(choice, str(error))
            return None
        worker.stop()
        return _Participant(choice, worker, first, share)

    def _rounds(self, participants: list[_Participant]) -> None:
        plan = turns(len(participants), self._settings.trials) if participants else []
        last_round = -1
        for done, turn in enumerate(plan):
            participant = participants[turn.engine]
            self._tell(f"round {turn.round + 1}, {participant.choice}", _PREPARING * (1 + done / len(plan)))
            if turn.round != last_round and self._peak is not None:
                self._peak.measure()
            last_round = turn.round
            if participant.choice in self._failed:
                continue
            try:
                participant.worker.wake()
                participant.times += participant.worker.ask("run", warm_up=self._settings.warm_up, trials=turn.trials)[
                    "milliseconds"
                ]
                participant.worker.stop()
            except BenchmarkError as error:
                self._fail(participant.choice, str(error))

    def _finish(self, participant: _Participant) -> None:
        choice = participant.choice
        if choice in self._failed:
            return
        try:
            participant.worker.wake()
            memory = participant.worker.ask("memory")["peak_memory_mb"]
            if self._settings.profile and choice.engine == "native":
                self._comparison.profiles.append(self._profile(participant))
            participant.worker.stop()
        except BenchmarkError as error:
            self._fail(choice, str(error))
            return
        median, p90, p99 = percentiles(participant.times)
        self._comparison.results.append(
            Result(
                model=self._subject.model,
                engine=choice.engine,
                precision=choice.precision,
                size=self._size,
                threads=self._settings.threads,
                median_ms=median,
                p90_ms=p90,
                p99_ms=p99,
                agreement=participant.agreement,
                gflops=2e-6 * self._subject.macs / median,
                first_result_ms=participant.first_result_ms,
                peak_memory_mb=memory,
            )
        )

    def _profile(self, participant: _Participant) -> Profile:
        reply = participant.worker.ask("profile", warm_up=self._settings.warm_up, trials=self._settings.trials)
        fields = KernelTime.__dataclass_fields__
        kernels = tuple(KernelTime(**{key: kernel[key] for key in fields}) for kernel in reply["kernels"])
        return Profile(self._subject.model, participant.choice.precision, self._size, self._settings.threads, kernels)

    def _job(self, choice: Choice) -> Job:
        return Job(str(self._subject.folder), choice.engine, choice.precision, self._settings.threads)

    def _fail(
        self, choice: Choice, reason: str, kind: type[UsageError] | type[BenchmarkError] = BenchmarkError
    ) -> None:
        """Go on without it; raise if nothing is left of what a word of the call asked for."""
        self._failed[choice] = reason
        skipped = Skipped(self._subject.model, choice.engine, choice.precision, self._size, reason)
        self._comparison.skipped.append(skipped)
        meant = [other for other in self._settings.choices if choice.asked and other.asked == choice.asked]
        if meant and all(other in self._failed for other in meant):
            raise kind(f"{meant[0]} on {self._subject.model} at {self._size}: {self._failed[meant[0]]}")


def agreement(found: np.ndarray, reference: np.ndarray) -> float:
    """Percent of pixels with the same class; `BenchmarkError` for a map of another shape or type."""
    if found.shape != reference.shape or found.dtype != reference.dtype:
        raise BenchmarkError(
            f"its class map is {found.dtype} {found.shape}; {reference.dtype} {reference.shape} is needed"
        )
    return 100 * float(np.mean(found == reference))
