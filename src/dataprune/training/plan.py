"""From one dial to everything an ensemble needs, and what that will cost.

Knows the defaults and how they follow the size of the set. The figures behind them are in `docs/log.md`.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dataprune.data import Dataset
from dataprune.errors import InputError, must, unknown
from dataprune.training.ensemble import Ensemble
from dataprune.training.recipes import recipe_named

if TYPE_CHECKING:
    from dataprune.training.fit import Training

# members and epochs at REFERENCE_SIZE examples
EFFORTS: dict[str, tuple[int, int]] = {"low": (2, 4), "medium": (2, 8), "high": (6, 10)}
REFERENCE_SIZE = 50_000
MOST_EPOCHS = 40  # on a set of a few thousand


@dataclass(frozen=True)
class Settings:
    """What a run may be asked for; whatever is None follows from `effort` and the data. All of it is the run's identity.

    Attributes:
        effort: `low`, `medium` or `high`.
        members: networks in the ensemble.
        epochs: passes over the set for each member.
        model: a name of `dataprune.training.models.MODELS` or `module:function`.
        recipe: a name of `dataprune.training.recipes.RECIPES` or `module:function`.
        batch: examples a step.
        when: record after each epoch on the pictures as they are (`clean`) or while training (`online`).
        folds: 0, or how many folds; each member is then trained on all folds but one.
        repeats: of the folds.
        seed: of everything random.
    """

    effort: Literal["low", "medium", "high"] = "medium"
    members: int | None = None
    epochs: int | None = None
    model: str | None = None
    recipe: str | None = None
    batch: int | None = None
    when: Literal["clean", "online"] = "clean"
    folds: int = 0
    repeats: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Machine:
    """Where and how wide to work; none of it changes a result.

    Attributes:
        device: `cpu`, `cuda`, ...
        executor: `serial` or `processes`; None takes processes on a CPU and serial elsewhere.
        workers: processes at once; None takes the usable cores.
    """

    device: str = "cpu"
    executor: Literal["serial", "processes"] | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Price:
    """What an ensemble will cost: passes over the set, operations, and seconds if they were measured."""

    member_epochs: int
    flops: int
    seconds: float | None


def plan(dataset: Dataset, settings: Settings) -> Ensemble:
    """Fill in what the settings leave open.

    Raises:
        InputError: the set has no labels or one class, or a setting is out of range or unknown.
    """
    check_trainable(dataset)
    if settings.effort not in EFFORTS:
        raise unknown("effort", settings.effort, EFFORTS)
    if settings.when not in ("clean", "online"):
        raise unknown("when", settings.when, ("clean", "online"))
    members, epochs = EFFORTS[settings.effort]
    recipe = recipe_named(settings.recipe or default_recipe(dataset))
    epochs = settings.epochs or recipe.epochs or _scaled(epochs, len(dataset))
    if settings.folds:
        members = settings.folds * settings.repeats
    if settings.members is not None:
        members = settings.members
    return Ensemble(
        model=settings.model or ("mlp" if dataset.images is None else "proxy"),
        recipe=recipe.replace(epochs=epochs, batch=settings.batch),
        members=members,
        epochs=epochs,
        n_classes=dataset.n_classes,
        folds=settings.folds,
        repeats=settings.repeats,
        when=settings.when,
        seed=settings.seed,
    )


def check_trainable(dataset: Dataset) -> None:
    """Refuse a set on which no classifier can be trained."""
    if dataset.labels is None:
        raise InputError("the data have no labels, and training needs them. Give --labels FILE, or use `dataprune km` on features.")
    present = np.unique(dataset.labels)
    if len(present) < 2:
        only = dataset.classes[int(present[0])] if len(present) else "none"
        raise InputError(f"the data must hold at least two classes to be scored, got one: {only!r}.")
    if len(dataset) < 4:
        raise must("data", "hold at least 4 examples", len(dataset))


def default_recipe(dataset: Dataset) -> str:
    """Name the recipe that a set is trained by if none is asked for."""
    if dataset.images is None:
        return "fast-vectors"
    return "fast-gray" if dataset.images.shape[3] == 1 else "fast"


def _scaled(epochs: int, n_examples: int) -> int:
    """Give smaller sets more passes: the number of steps shrinks with the square root of the size, not with the size."""
    return int(np.clip(round(epochs * (REFERENCE_SIZE / n_examples) ** 0.5), epochs, MOST_EPOCHS))


def price(dataset: Dataset, ensemble: Ensemble, machine: Machine, measure: bool = True) -> Price:
    """Say what the ensemble will cost, with seconds from a few steps on this machine when the work is long enough to ask.

    Args:
        measure: time a few steps; otherwise `seconds` is None.
    """
    from dataprune.training.fit import Training, flops_of
    from dataprune.workers import default_workers

    training = Training(ensemble.model, ensemble.recipe, ensemble.epochs, ensemble.seed, ensemble.n_classes, machine.device)
    shape = dataset.inputs.shape[1:]
    shape = (shape[2], shape[0], shape[1]) if dataset.images is not None else shape
    share = 1 - 1 / ensemble.folds if ensemble.folds else 1.0
    passes = 3 * share + (1 if ensemble.when == "clean" else 1 - share)
    member_epochs = ensemble.members * ensemble.epochs
    flops = int(flops_of(training, shape) * passes * len(dataset) * member_epochs)
    if not measure:
        return Price(member_epochs, flops, None)
    at_once = min(machine.workers or default_workers(), ensemble.members) if machine.device == "cpu" else 1
    rounds = -(-ensemble.members // at_once)
    train, look = _step_seconds(dataset, training)
    batches = len(dataset) / ensemble.recipe.batch
    seconds = rounds * ensemble.epochs * batches * (train * share + look * (passes - 3 * share))
    return Price(member_epochs, flops, seconds)


def _step_seconds(dataset: Dataset, training: "Training") -> tuple[float, float]:
    """Time a training step and a clean pass of one batch, on the first few batches of the set."""
    from dataprune.training.fit import Fit, Inputs, one_thread

    n_rows = min(len(dataset), 3 * training.recipe.batch)
    assert dataset.labels is not None
    with one_thread(training.device):
        inputs = Inputs(np.ascontiguousarray(dataset.inputs[:n_rows]), training.recipe.normalise, training.device)
        fit = Fit(training, inputs, dataset.labels[:n_rows], np.ones(n_rows, bool))
        fit.train_epoch()
        begun = time.perf_counter()
        fit.train_epoch()
        trained = time.perf_counter()
        for _ in fit.predict():
            pass
        looked = time.perf_counter()
    scale = training.recipe.batch / n_rows
    return (trained - begun) * scale, (looked - trained) * scale
