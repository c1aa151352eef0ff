"""Trains the trials of a study, side by side, writes each as it ends, and tells a listener of it."""

import contextlib
import math
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data import Dataset, pack
from dataprune.data.handle import data_handle
from dataprune.errors import MachineError
from dataprune.store import canonical_json
from dataprune.streams import torch_seed
from dataprune.study.grid import Condition, Grid
from dataprune.study.outside import FOLDER, Guard, Outside, train_outside
from dataprune.study.trial import Trial, TrialResult, sound_trial, write_trial
from dataprune.training import staged
from dataprune.training.checkpoint import is_seen, training_environment
from dataprune.training.ensemble import Ensemble
from dataprune.training.fit import Training
from dataprune.training.inputs import READY_VALUES
from dataprune.training.plan import Plan
from dataprune.training.probe import search_flops
from dataprune.training.settings import Cost, Hardware
from dataprune.training.staged import StagedEpoch
from dataprune.training.together import MOST_ROWS, MOST_TOGETHER, is_plain
from dataprune.workers import Job, Outcome, Pool, default_workers, open_pool

SCRATCH = "scratch"


@dataclass(frozen=True)
class StudyProgress:
    """What a listener hears: the cost once, then each epoch and each trial that ended.

    Attributes:
        done, total, found: trials that have ended, of how many, and those found of before.
        examples, to_see: through the networks so far, and in the end.
        running: the latest epoch of each trial that runs, by its name.
        cost: of all that is to be trained, before training, once; its seconds are those on the clock, NaN for under a minute.
        ended: the trial that has just ended, and its result.
        epoch: the trial of which an epoch has just ended, and the message.
        notes: what one should know, before training.
    """

    done: int
    total: int
    found: int
    examples: int
    to_see: int
    running: Mapping[str, StagedEpoch]
    cost: Cost | None = None
    ended: tuple[Trial, TrialResult] | None = None
    epoch: tuple[Trial, StagedEpoch] | None = None
    notes: tuple[str, ...] = ()


Listener = Callable[[StudyProgress], None]


@dataclass(frozen=True)
class TrialContext:
    """Where trials are trained and written, and the operations of a look at one example."""

    folder: Path
    hardware: Hardware
    device: str
    forward_flops: int
    listener: Listener | None = None
    outside: Outside | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What results are made with."""
        return training_environment(self.device) if self.outside is None else self.outside.trainer.environment

    def flops(self, trial: Trial, examples_seen: int) -> int:
        """Count the operations of a training: three times those of a look at each example, and what chooses its strength."""
        search = search_flops(trial.n_train, self.forward_flops) if trial.recipe.weight_decay is None else 0
        return 3 * self.forward_flops * examples_seen + search

    def cost(self, trials: Sequence[Trial], dataset: Dataset) -> Cost:
        """Return what trials will cost; work of some length is timed by a few steps on this machine."""
        if not trials:
            return Cost(0.0, 0.0, 0.0)
        if self.outside is not None:
            return Cost(math.inf, sum(one.examples_seen for one in trials), 0.0)
        total, flops = sum(one.examples_seen for one in trials), sum(self.flops(one, one.examples_seen) for one in trials)
        passes = max(1, round(total / len(dataset)))
        first = trials[0]
        like = Ensemble(first.model, first.recipe, 1, passes, dataset.n_classes, when="online", precision=first.precision)
        seconds = Plan(dataset, like).timed_cost(1, self.device, 1).seconds
        return Cost(seconds / self.hardware.gain(self.device, len(trials)), total, flops)


def found(
    asked: Grid, known: Mapping[str, TrialResult], context: TrialContext, reuse: Sequence[Path], retry_failed: bool
) -> dict[str, TrialResult]:
    """Return the results beside `known` that are there, here or in studies that may be reused (these are written here too)."""
    making, results = context.environment, {}
    for name, trial in asked.by_name.items():
        if name in known:
            continue
        result = sound_trial(context.folder, name)
        if result is None:
            elsewhere = (sound_trial(folder, name) for folder in reuse)
            result = next((one for one in elsewhere if one is not None and one.status == "ok"), None)
            if result is None or dict(result.made_with or {}) != making:
                continue
            write_trial(context.folder, trial, result)
        if result.status == "ok" or not retry_failed:
            results[name] = result
        else:
            shutil.rmtree(context.folder / FOLDER / name, ignore_errors=True)
    return results


def train(
    asked: Grid,
    conditions: Sequence[Condition],
    results: Mapping[str, TrialResult],
    context: TrialContext,
    notes: tuple[str, ...] = (),
) -> Generator[tuple[str, TrialResult | str]]:
    """Train the trials that are not in `results`, and write each as it ends; what was finished is kept whatever happens.

    Yields the name of each trial that has ended, with its result; with the reason, of one that was lost with its worker.
    """
    missing = {name: trial for name, trial in asked.by_name.items() if name not in results}
    counter = ProgressCounter(context.listener, len(asked.by_name), len(results), missing)
    if context.listener is not None:
        counter.tell(cost=context.cost(list(missing.values()), conditions[0].data.train), notes=notes)
    if not missing:
        return
    guard = None if context.outside is None else Guard(context.folder)
    try:
        with contextlib.closing(_outcomes(missing, conditions, context, counter.heard)) as outcomes:
            for outcome in outcomes:
                trial = missing[outcome.key]
                result = _result(outcome, trial, context)
                if guard is not None:
                    guard.look(outcome.key)
                if result is None:
                    yield outcome.key, f"trial {outcome.key}: {outcome.error}"
                    continue
                path = write_trial(context.folder, trial, result)
                if guard is not None:
                    guard.written[path] = path.read_bytes()
                shutil.rmtree(context.folder / SCRATCH / outcome.key, ignore_errors=True)
                counter.ended(trial, result)
                yield outcome.key, result
    finally:
        staged.forget_inputs()


def _outcomes(
    missing: Mapping[str, Trial], conditions: Sequence[Condition], context: TrialContext, heard: Callable[[str, StagedEpoch], None]
) -> Generator[Outcome]:
    """Have the workers train; where they do not see the study's folder, without checkpoints there."""
    scratch = context.folder / SCRATCH
    with open_pool(context.hardware.executor_config(context.device)) as workers:
        n_classes, seen = conditions[0].data.train.n_classes, is_seen(scratch, workers)
        places = {} if context.outside else _places(conditions, scratch, workers)

        def staged_job(trial: Trial) -> staged.StagedJob:
            seed, own = torch_seed(trial.seed, "trial"), scratch / trial.name if seen else None
            how = trial.model, trial.recipe, trial.epochs, seed, n_classes, context.device, trial.precision
            stages = tuple((staged.packed(one.trained_on), one.epochs, one.steps) for one in trial.stages)
            draw = None if trial.dynamic is None else trial.dynamic.weights
            return staged.StagedJob(trial.name, Training(*how), stages, places[trial.train], own, dynamic=draw)

        def jobs() -> Iterator[Job]:
            for lot in lots:
                if context.outside is not None:
                    place = context.folder / FOLDER / lot[0].name if seen else None
                    yield Job(lot[0].name, train_outside, context.outside.job(lot[0], place))
                else:
                    yield Job(lot[0].name, staged.train_staged, [staged_job(trial) for trial in lot])

        lots = _lots(list(missing.values()), conditions, context)
        by_key = {lot[0].name: lot for lot in lots}
        with contextlib.closing(workers.run(jobs(), lambda _, said: heard(*said))) as outcomes:
            for outcome in outcomes:
                if context.outside is None and outcome.error is None:
                    yield from outcome.value
                else:
                    yield from (replace(outcome, key=trial.name) for trial in by_key[outcome.key])


def _lots(missing: Sequence[Trial], conditions: Sequence[Condition], context: TrialContext) -> list[list[Trial]]:
    """Return which trials make one job: probes on the same vectors go together, those of about the same length."""
    together: dict[object, list[Trial]] = {}
    for trial in missing:
        data = next(one.data.train for one in conditions if one.data.train.fingerprint == trial.train)
        key: object = trial.name
        is_small = data.features is not None and data.features.size * (1 + (data.mirrored is not None)) <= READY_VALUES
        if is_small and trial.trainer is None and trial.dynamic is None and is_plain(trial.model, trial.recipe, trial.precision):
            key = trial.train, trial.recipe, staged.width_of(trial.stages, trial.recipe.batch)
        together.setdefault(key, []).append(trial)
    workers, lots = context.hardware.executor_config(context.device).workers or default_workers(), []
    for same in together.values():
        most = max(1, min(MOST_TOGETHER, MOST_ROWS // len(same[0].stages[0].trained_on), -(-len(same) // workers)))
        ordered = sorted(same, key=lambda trial: -trial.examples_seen)
        lots += [ordered[at : at + most] for at in range(0, len(ordered), most)]
    return lots


@dataclass
class ProgressCounter:
    """Counts what has been trained and tells the listener."""

    listener: Listener | None
    total: int
    found: int
    missing: Mapping[str, Trial]
    n_ended: int = 0
    seen: int = 0
    running: dict[str, StagedEpoch] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.to_see = sum(trial.examples_seen for trial in self.missing.values())

    def heard(self, name: str, epoch: StagedEpoch) -> None:
        self.running[name] = epoch
        self.tell(epoch=(self.missing[name], epoch))

    def ended(self, trial: Trial, result: TrialResult) -> None:
        self.running.pop(trial.name, None)
        self.n_ended += 1
        self.seen += trial.examples_seen
        self.tell(ended=(trial, result))

    def tell(self, **news: Any) -> None:
        if self.listener is not None:
            through = self.seen + sum(epoch.examples_seen for epoch in self.running.values())
            done = self.found + self.n_ended
            self.listener(StudyProgress(done, self.total, self.found, through, self.to_see, dict(self.running), **news))


def _places(conditions: Sequence[Condition], scratch: Path, workers: Pool) -> dict[str, staged.Places]:
    """Put the data where workers find them, by the fingerprint of the training data."""
    places = {}
    for number, condition in enumerate(conditions):
        data, folder = condition.data, scratch / f"data-{number}"
        handles = {}
        assert data.test is not None, "only a trainer does without"
        for name, one in (("train", data.train), ("validation", data.validation), ("test", data.test)):
            if one is not None:
                pack.verify(one)
                (folder / name).mkdir(parents=True, exist_ok=True)
                handles[name] = data_handle(one, folder / name, workers)
        places[data.train.fingerprint] = staged.Places(
            train=handles["train"],
            validation=handles.get("validation"),
            validation_rows=staged.packed(np.isin(np.arange(len(data.train)), data.validation_rows)),
            test=handles["test"],
            key=canonical_json([data.train.fingerprint, data.validation_key, data.test.fingerprint]),
        )
    return places


def _result(outcome: Outcome, trial: Trial, context: TrialContext) -> TrialResult | None:
    """Turn an outcome into a result; None for a trial that was lost with its worker. What the machine lacks is raised again."""
    if outcome.error is None and context.outside is not None:
        return context.outside.result(outcome.value, context.folder)
    if outcome.error is None:
        done: staged.StagedDone = outcome.value
        return TrialResult(
            outcome.key,
            "ok",
            loss=done.loss,
            validation=done.validation,
            n_test=len(done.test_correct),
            test_correct=staged.packed(done.test_correct),
            steps=done.steps,
            examples_seen=done.examples_seen,
            flops=context.flops(trial, done.examples_seen),
            train_seconds=done.train_seconds,
            made_with=done.training_environment,
        )
    if outcome.lost:
        return None
    if isinstance(outcome.exception, MachineError | OSError | MemoryError):
        raise outcome.exception
    return TrialResult(outcome.key, "failed", error=outcome.error, traceback=outcome.traceback or "")
