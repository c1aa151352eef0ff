"""How are the trials of a study trained, side by side, each written as it ends?"""

import contextlib
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data import Dataset, pack
from dataprune.data.handle import data_handle
from dataprune.errors import MachineError
from dataprune.store import canonical_json
from dataprune.streams import torch_seed
from dataprune.study.grid import Arm, Grid, GridRow, TrainingSetup
from dataprune.study.plan import cost_of
from dataprune.study.study import FAILED, OK
from dataprune.study.trials import TrialResult, borrowed, sound_trial, write_trial
from dataprune.training.checkpoint import training_environment
from dataprune.training.cost import Cost
from dataprune.training.ensemble import marker_file
from dataprune.training.fit import Training, forward_flops
from dataprune.training.inputs import example_shape
from dataprune.training.settings import Hardware
from dataprune.training.staged import (
    CHECKPOINT_SECONDS,
    Places,
    StagedDone,
    StagedEpoch,
    StagedJob,
    examples_of,
    forget_inputs,
    packed,
    train_staged,
    train_staged_away,
)
from dataprune.workers import ExecutorConfig, Job, Outcome, Pool, default_workers, open_pool

SCRATCH = "scratch"


@dataclass(frozen=True)
class StudyProgress:
    """What a listener hears: the price once, then each epoch and each trial that ended.

    Attributes:
        done: trials that have ended of `total`, `found` of them before.
        examples: through the networks so far, of `to_see`.
        running: the latest epoch of each trial that runs, by its name.
        price: before training, once.
        ended: the row and the result of a trial that has just ended.
        epoch: the row and the message of an epoch that has just ended.
        notes: what one should know, before training.
    """

    done: int
    total: int
    found: int
    examples: int
    to_see: int
    running: Mapping[str, StagedEpoch]
    price: Cost | None = None
    ended: tuple[GridRow, TrialResult] | None = None
    epoch: tuple[GridRow, StagedEpoch] | None = None
    notes: tuple[str, ...] = ()


Listener = Callable[[StudyProgress], None]


@dataclass(frozen=True)
class TrialContext:
    """Where trials are trained.

    Attributes:
        folder: of the study; trials are written here.
        hardware: who trains.
        device: on which.
        reads_test: whether test is looked at, at the end of a trial.
        looks: floating-point operations of a look at one example, by model.
        checkpoint_seconds: between two checkpoints of a trial.
    """

    folder: Path
    hardware: Hardware
    device: str
    reads_test: bool
    looks: Mapping[str, int]
    checkpoint_seconds: float = CHECKPOINT_SECONDS

    @property
    def executor_config(self) -> ExecutorConfig:
        """Who trains on that device."""
        return self.hardware.executor_config(self.device)


def flops_by_model(trained: Sequence[TrainingSetup], dataset: Dataset) -> dict[str, int]:
    """Count the floating-point operations of a look at one example, by model.

    Raises:
        InputError: a model is unknown, or does not fit the examples.
    """
    shape = example_shape(dataset.inputs)
    return {model: forward_flops(model, shape, dataset.n_classes) for model in {how.model for how in trained}}


def found(asked: Grid, bench: TrialContext, reuse: Sequence[Path], retry_failed: bool) -> dict[str, TrialResult]:
    """Return the results that are there already, here or in studies that may be reused (these are written here too)."""
    making, results = training_environment(bench.device), {}
    for name, row in _each(asked.rows).items():
        result = sound_trial(bench.folder, name)
        if result is None:
            result = borrowed(reuse, name)
            if result is None or dict(result.training_environment or {}) != making:
                continue
            write_trial(bench.folder, row.spec, result)
        elif result.status == FAILED and retry_failed:
            continue
        results[name] = result
    return results


def train(
    asked: Grid,
    arms: Sequence[Arm],
    results: Mapping[str, TrialResult],
    bench: TrialContext,
    listener: Listener | None,
    notes: tuple[str, ...] = (),
) -> Generator[tuple[str, TrialResult | str]]:
    """Train the trials that are not in `results`, and write each as it ends.

    Args:
        asked: the grid.
        arms: with the data of its trials.
        results: what there is already.
        bench: where.
        listener: hears the price and the progress.
        notes: what it is told before training.

    Returns:
        The name of each trial that has ended, with its result; with the reason, of one that was lost with its worker.

    Raises:
        MachineError: no room, no permission, no memory; what was finished is kept.
    """
    missing = {name: row for name, row in _each(asked.rows).items() if name not in results}
    examples = {n: sum(examples_of(one, row.spec.recipe.batch) for one in row.stages) for n, row in missing.items()}
    watch = ProgressCounter(listener, len(_each(asked.rows)), len(results), sum(examples.values()), notes, missing)
    if not missing:
        watch.priced(Cost(0, 0, 0))
        return
    dataset, scratch, executor_config = arms[0].data.train, bench.folder / SCRATCH, bench.executor_config
    flops = _flops(missing, examples, bench.looks)
    if listener is not None:
        at_once = 1 if executor_config.executor == "serial" else executor_config.workers or default_workers()
        seen, operations = sum(examples.values()), sum(flops.values())
        watch.priced(cost_of(list(missing.values()), seen, operations, dataset, bench.device, at_once))
    try:
        with contextlib.closing(_outcomes(missing, arms, bench, watch.heard)) as outcomes:
            for outcome in outcomes:
                result = _result(outcome, flops[outcome.key])
                if result is None:
                    yield outcome.key, f"trial {outcome.key}: {outcome.error}"
                    continue
                write_trial(bench.folder, missing[outcome.key].spec, result)
                shutil.rmtree(scratch / outcome.key, ignore_errors=True)
                watch.ended(missing[outcome.key], result)
                yield outcome.key, result
    finally:
        forget_inputs()


def _outcomes(
    missing: Mapping[str, GridRow], arms: Sequence[Arm], bench: TrialContext, heard: Callable[[str, StagedEpoch], None]
) -> Generator[Outcome]:
    """Have the crew train; where it does not see the study's folder, without checkpoints there."""
    scratch = bench.folder / SCRATCH
    with open_pool(bench.executor_config) as workers:
        places = _places(arms, scratch, bench.reads_test, workers)
        how = train_staged_away if workers.unseen([marker_file(scratch)]) else train_staged
        n_classes = arms[0].data.train.n_classes
        jobs = (Job(name, how, _job(row, places[row.spec.train], bench, n_classes)) for name, row in missing.items())
        with contextlib.closing(workers.run(jobs, heard)) as outcomes:  # type: ignore[type-var]
            yield from outcomes


def _each(rows: Sequence[GridRow]) -> dict[str, GridRow]:
    """Return each trial once: two cells may come to the same rows."""
    return {row.spec.trial: row for row in rows}


@dataclass
class ProgressCounter:
    """Counts what has been trained and tells the listener."""

    listener: Listener | None
    total: int
    found: int
    to_see: int
    notes: tuple[str, ...]
    rows: dict[str, GridRow]
    n_ended: int = 0
    seen: int = 0
    running: dict[str, StagedEpoch] = field(default_factory=dict)

    def priced(self, asked: Cost) -> None:
        self._tell(price=asked, notes=self.notes)

    def heard(self, trial: str, epoch: StagedEpoch) -> None:
        self.running[trial] = epoch
        self._tell(epoch=(self.rows[trial], epoch))

    def ended(self, row: GridRow, result: TrialResult) -> None:
        self.running.pop(row.spec.trial, None)
        self.n_ended += 1
        self.seen += result.examples_seen
        self._tell(ended=(row, result))

    def _tell(self, **news: Any) -> None:
        if self.listener is not None:
            through = self.seen + sum(epoch.examples_seen for epoch in self.running.values())
            done = self.found + self.n_ended
            self.listener(StudyProgress(done, self.total, self.found, through, self.to_see, dict(self.running), **news))


def _places(arms: Sequence[Arm], scratch: Path, reads_test: bool, workers: Pool) -> dict[str, Places]:
    """Put the data where workers find them, by the fingerprint of the training data."""
    places = {}
    for number, arm in enumerate(arms):
        data, folder = arm.data, scratch / f"data-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        mask = np.zeros(len(data.train), bool)
        mask[data.validation_rows] = True
        own = data.validation
        for name, one in (("train", data.train), ("validation", own), ("test", data.test)):
            if one is not None:
                pack.verify(one)
                (folder / name).mkdir(exist_ok=True)
        places[data.train.fingerprint] = Places(
            train=data_handle(data.train, folder / "train", workers),
            validation=None if own is None else data_handle(own, folder / "validation", workers),
            validation_rows=packed(mask),
            test=data_handle(data.test, folder / "test", workers) if reads_test else None,
            key=canonical_json([data.train.fingerprint, data.validation_key, data.test.fingerprint if reads_test else ""]),
        )
    return places


def _job(row: GridRow, places: Places, bench: TrialContext, n_classes: int) -> StagedJob:
    training = Training(row.spec.model, row.spec.recipe, row.spec.epochs, torch_seed(row.seed, "trial"), n_classes, bench.device)
    stages = tuple((packed(one.trained_on), one.epochs, one.steps) for one in row.stages)
    name = row.spec.trial
    return StagedJob(name, training, stages, places, bench.folder / SCRATCH / name, bench.checkpoint_seconds)


def _result(outcome: Outcome, flops: int) -> TrialResult | None:
    """Turn an outcome into a result; None for a trial that was lost, which is nobody's fault.

    Raises:
        MachineError, OSError, MemoryError: the machine's fault; the same command goes on once it is mended.
    """
    if outcome.error is None:
        done: StagedDone = outcome.value
        return TrialResult(
            outcome.key,
            OK,
            loss=done.loss,
            validation=done.validation,
            test_correct=done.test_correct if len(done.test_correct) else None,
            steps=done.steps,
            examples_seen=done.examples_seen,
            flops=flops,
            train_seconds=done.train_seconds,
            training_environment=done.training_environment,
        )
    if outcome.lost:
        return None
    if isinstance(outcome.exception, MachineError | OSError | MemoryError):
        raise outcome.exception
    return TrialResult(outcome.key, FAILED, error=outcome.error, traceback=outcome.traceback or "")


def _flops(missing: Mapping[str, GridRow], examples: Mapping[str, int], looks: Mapping[str, int]) -> dict[str, int]:
    """Count the operations of each training: three times those of a look at each example."""
    return {name: 3 * looks[row.spec.model] * examples[name] for name, row in missing.items()}
