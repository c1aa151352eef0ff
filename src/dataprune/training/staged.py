"""Networks, each trained on parts of a training set, stage after stage: judged on validation and, once, on test."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.nn import functional

from dataprune.data.handle import DataHandle, open_shared
from dataprune.errors import DatapruneError, MachineError, invalid
from dataprune.training.checkpoint import Checkpoints, training_environment, training_on
from dataprune.training.fit import Fit, Part, Training
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import batches_of
from dataprune.training.together import epoch_losses, is_plain
from dataprune.workers import Outcome, Report
from dataprune.workers.jobs import failed

MOST_PLACED = 2  # data sets that a worker keeps on its device: a study has two arms at most
Draw = Callable[[np.ndarray, int, int, int], np.ndarray]
"""From the last losses (NaN where not known), an epoch of so many and a seed to how much each example counts; 0 leaves it out."""

CHECKPOINT_SECONDS = 5.0  # a checkpoint is worth about its own time several times over; less than this is sooner trained again


@dataclass(frozen=True, eq=False)
class Stage:
    """Some passes (`epochs`) over some rows, cut short after so many batches (`steps`)."""

    trained_on: Bool[np.ndarray, " examples"]
    epochs: int
    steps: int


@dataclass(frozen=True)
class Places:
    """Where the data of a training lie, for a worker; every stage is of rows of `train`, `test` is looked at once, at the end."""

    train: DataHandle
    validation: DataHandle | None  # None: `validation_rows` of train
    validation_rows: bytes
    test: DataHandle | None
    key: str  # stands for the contents, since files of the same name may be of another study


@dataclass(frozen=True)
class StagedJob:
    """All that a worker needs for one training; stages are as `Stage`, with packed rows. The scratch folder is the training's own;
    None where the worker does not see the study's. `dynamic` leaves out other examples in every epoch of a single stage."""

    name: str
    training: Training
    stages: tuple[tuple[bytes, int, int], ...]
    places: Places
    scratch: Path | None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    dynamic: Draw | None = None


@dataclass(frozen=True)
class StagedEpoch:
    """The progress message after each epoch: how many are done of all, the loss, the accuracy on validation."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    examples_seen: int


@dataclass(frozen=True, eq=False)
class StagedDone:
    """What came of a training: the mean loss and the accuracy on validation of each epoch, and which test examples are right."""

    loss: tuple[float, ...]
    validation: tuple[float, ...]
    test_correct: Bool[np.ndarray, " test"]  # at the end; empty where test is not looked at
    steps: int
    examples_seen: int
    train_seconds: float  # without looking at validation and test
    training_environment: dict[str, str]


def packed(mask: Bool[np.ndarray, " examples"]) -> bytes:
    return np.packbits(mask).tobytes()


def unpacked(bits: bytes, count: int) -> Bool[np.ndarray, " examples"]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=count).astype(bool)


def whole_stage(trained_on: Bool[np.ndarray, " examples"], epochs: int, batch: int) -> Stage:
    return Stage(trained_on, epochs, epochs * batches_of(int(trained_on.sum()), batch))


def stage_of_steps(trained_on: Bool[np.ndarray, " examples"], steps: int, batch: int) -> Stage:
    return Stage(trained_on, -(-steps // batches_of(int(trained_on.sum()), batch)), steps)


def examples_of(stage: Stage, batch: int) -> int:
    n_rows = int(stage.trained_on.sum())
    n_batches = batches_of(n_rows, batch)
    return stage.steps // n_batches * n_rows + _examples(n_rows, n_batches, stage.steps % n_batches)


def _examples(n_rows: int, n_batches: int, taken: int) -> int:
    """Count the examples of an epoch's first batches, which are the larger ones, as `torch.tensor_split` cuts them."""
    return taken * (n_rows // n_batches) + min(taken, n_rows % n_batches)


def width_of(stages: Sequence[Stage], batch: int) -> int:
    """Return the longest batch; only trainings of one width go together, so that none is padded for another."""
    sizes = [int(stage.trained_on.sum()) for stage in stages]
    return max(-(-size // batches_of(size, batch)) for size in sizes)


def train_staged(jobs: Sequence[StagedJob], report: Report) -> list[Outcome]:
    """Train each from its last checkpoint on, and return how each ended: one, or several that `is_plain` of one width. It reports a
    name and its `StagedEpoch`. Those that are plain come out the same whichever they are trained with."""
    first, ended = jobs[0], list[Outcome]()
    with training_on(first.training.device, first.name, first.scratch) as folder:
        running = {job.name: _train(job, folder if job is first else job.scratch or folder / job.name, report) for job in jobs}
        answers: dict[str, tuple[float, float] | None] = dict.fromkeys(running)
        while running:
            asked = {}
            for name, training in list(running.items()):
                try:
                    asked[name] = training.send(answers[name])
                except StopIteration as end:
                    ended.append(Outcome(name, end.value))
                except MachineError:
                    raise
                except DatapruneError as error:
                    ended.append(failed(name, error))
            running = {name: running[name] for name in asked}
            begun, n_steps = time.perf_counter(), sum(part.taken for _, part, _ in asked.values())
            losses = epoch_losses(*map(list, zip(*asked.values(), strict=True))) if asked else []
            seconds = time.perf_counter() - begun
            each = zip(asked.items(), losses, strict=True)
            answers = {name: (loss, seconds * part.taken / n_steps) for (name, (_, part, _)), loss in each}
    return ended


@dataclass
class _History:
    """What is known after some epochs, beside the network."""

    loss: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    seen: int = 0
    steps: int = 0
    train_seconds: float = 0.0


def _train(
    job: StagedJob, folder: Path, report: Report
) -> Generator[tuple[Fit, Part, int], tuple[float, float] | None, StagedDone]:
    """Train, but for the epochs of plain regressions: ask for those, with the width, and be told loss and seconds."""
    training, places = job.training, job.places
    train, validation, test = _inputs(places, training.recipe.normalise, training.device)
    labels = _labels(places.train)
    stages = [Stage(unpacked(bits, len(labels)), epochs, steps) for bits, epochs, steps in job.stages]
    parts = epochs_of(stages, training)
    fit = Fit(training, train, labels, np.any([stage.trained_on for stage in stages], axis=0))
    checkpoints = Checkpoints.of(folder, training.device, trial=job.name)  # which is the hash of all that defines it
    history, losses = _History(), torch.full((len(labels),), torch.nan, device=fit.device)

    def remember(rows: Tensor, logits: Tensor, _: Tensor | None) -> None:
        there = rows.to(fit.device)
        losses[there] = functional.cross_entropy(logits.float(), fit.labels[there], reduction="none")

    if (last := checkpoints.latest()) is not None:
        fit.restore(last.arrays, last.info["fit"])
        losses[:] = torch.from_numpy(last.arrays["losses"])
        history = _History(**last.info["history"])
    rows = np.flatnonzero(unpacked(places.validation_rows, len(labels))) if places.validation is None else None
    truth = labels[rows] if places.validation is None else _labels(places.validation)
    saved, width = time.perf_counter(), width_of(stages, training.recipe.batch)
    goes_along = is_plain(training.model, training.recipe, training.precision) and train.ready is not None and job.dynamic is None
    while fit.epoch < len(parts):
        part, begun = parts[fit.epoch], time.perf_counter()
        if job.dynamic is not None:
            part = _thinned(part, job.dynamic, losses.cpu().numpy(), training)
        if goes_along:
            answer = yield fit, part, width
            assert answer is not None
            loss, seconds = answer
            fit.end_epoch(loss)
        else:
            fit.train_epoch(remember if job.dynamic else None, part)
            seconds = time.perf_counter() - begun
        history.train_seconds += seconds
        history.seen += _examples(int(part.trained_on.sum()), part.n_batches, part.taken)
        history.steps += part.taken
        history.loss.append(fit.loss)
        history.validation.append(float((fit.named(rows, validation) == truth).mean()))
        report((job.name, StagedEpoch(fit.epoch, len(parts), fit.loss, history.validation[-1], history.seen)))
        if time.perf_counter() - saved >= job.checkpoint_seconds and fit.epoch < len(parts):
            checkpoints.save(
                fit.epoch, fit.arrays() | {"losses": losses.cpu().numpy()}, {"fit": fit.info(), "history": asdict(history)}
            )
            saved = time.perf_counter()
    return StagedDone(
        loss=tuple(history.loss),
        validation=tuple(history.validation),
        test_correct=np.zeros(0, bool) if places.test is None else fit.named(inputs=test) == _labels(places.test),
        steps=history.steps,
        examples_seen=history.seen,
        train_seconds=history.train_seconds,
        training_environment=training_environment(training.device),
    )


def _thinned(part: Part, draw: Draw, losses: np.ndarray, training: Training) -> Part:
    """Return the part of an epoch that a draw leaves; the rate goes by epochs, of which each has its share of the schedule."""
    rows, weights = np.flatnonzero(part.trained_on), np.zeros(len(part.trained_on), np.float32)
    weights[rows] = draw(losses[rows], part.epoch, training.epochs, training.seed)
    n = batches_of(int((weights > 0).sum()), training.recipe.batch)
    return Part(weights > 0, n, n, part.epoch * n, training.epochs * n, part.epoch, weights)


def epochs_of(stages: list[Stage], training: Training) -> list[Part]:
    """Cut the stages into epochs; milestones count them where all stages are of whole ones, else in proportion to steps."""
    parts: list[Part] = []
    first, n_steps = 0, sum(stage.steps for stage in stages)
    is_whole = sum(stage.epochs for stage in stages) == training.epochs
    for stage in stages:
        n_rows, left = int(stage.trained_on.sum()), stage.steps
        if n_rows < 2:
            raise invalid("keep", "leave at least 2 examples to train on", n_rows)
        n_batches = batches_of(n_rows, training.recipe.batch)
        while left > 0:
            taken = min(left, n_batches)
            epoch = len(parts) if is_whole else first * training.epochs // n_steps
            parts.append(Part(stage.trained_on, n_batches, taken, first, n_steps, epoch))
            first, left = first + taken, left - taken
    return parts


def _inputs(places: Places, normalise: str, device: str) -> tuple[Inputs, Inputs | None, Inputs | None]:
    """Place train, validation and test on the device, once for many trainings of one worker."""
    key = (places.key, normalise, device)
    if key not in _placed:
        while len(_placed) >= MOST_PLACED:
            del _placed[next(iter(_placed))]
        seen = open_shared(places.train)
        train = Inputs(seen.inputs, normalise, device, mirrored=seen.mirrored)
        validation, test = (
            None if shared is None else Inputs(open_shared(shared)[0], normalise, device, like=train)
            for shared in (places.validation, places.test)
        )
        _placed[key] = train, validation, test
    return _placed[key]


_placed: dict[tuple[str, str, str], tuple[Inputs, Inputs | None, Inputs | None]] = {}


def forget_inputs() -> None:
    _placed.clear()


def _labels(shared: DataHandle) -> Int64[np.ndarray, " examples"]:
    labels = open_shared(shared)[1]
    assert labels is not None
    return np.asarray(labels)
