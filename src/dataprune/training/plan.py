"""From one dial to everything an ensemble needs, and what that will cost."""

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dataprune.data import Dataset
from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.training.ensemble import Ensemble, sees_mirrored
from dataprune.training.recipes import recipe_named
from dataprune.training.settings import Hardware, Settings

if TYPE_CHECKING:
    from dataprune.training.fit import Training

# Members, and epochs at REFERENCE_SIZE examples. Measured in docs/log.md: the cheapest that find the wrong labels of CIFAR-10.
EFFORTS: dict[str, tuple[int, int]] = {"low": (2, 5), "medium": (2, 10), "high": (6, 10)}
REFERENCE_SIZE = 50_000
# A fifth of the examples needs 1.4 times the epochs to learn, and many more only teach the labels by heart, wrong ones too.
SIZE_EXPONENT = 0.2
FEWEST, MOST = 0.5, 1.5  # times the epochs at REFERENCE_SIZE
WITHOUT_NORMALISATION = ("simple", "mlp", "linear")
TIMED_FROM_FLOPS = 5e11  # about ten seconds of one core


@dataclass(frozen=True)
class Price:
    """What an ensemble will cost: passes over the set, operations, those of one look at the set, seconds if measured."""

    member_epochs: int
    flops: int
    look_flops: int
    seconds: float | None


def plan(dataset: Dataset, settings: Settings) -> Ensemble:
    """Fill in what the settings leave open.

    Raises:
        InputError: the set has no labels or one class, or a setting is out of range or unknown.
    """
    check_trainable(dataset)
    if settings.effort not in EFFORTS:
        raise unknown_choice("effort", settings.effort, EFFORTS)
    if settings.when not in ("clean", "online"):
        raise unknown_choice("when", settings.when, ("clean", "online"))
    members, epochs = EFFORTS[settings.effort]
    model = settings.model or ("mlp" if dataset.images is None else "proxy")
    recipe = recipe_named(settings.recipe or default_recipe(dataset, model))
    recipe = dataclasses.replace(
        recipe,
        epochs=_first(settings.epochs, recipe.epochs, _scaled(epochs, len(dataset))),
        batch=_first(settings.batch, recipe.batch),
    )
    assert recipe.epochs is not None
    if settings.folds > len(dataset):
        raise invalid("folds", f"be at most the number of examples ({len(dataset)})", settings.folds)
    members = _first(settings.members, settings.folds * settings.repeats * settings.rounds if settings.folds else None, members)
    return Ensemble(
        model=model,
        recipe=recipe,
        members=members,
        epochs=recipe.epochs,
        n_classes=dataset.n_classes,
        folds=settings.folds,
        repeats=settings.repeats,
        rounds=settings.rounds,
        when=settings.when,
        seed=settings.seed,
    )


def _first(*values: int | None) -> int:
    """Return the first value that is not None."""
    return next(value for value in values if value is not None)


def resolve_device(hardware: Hardware) -> str:
    """Name the device to train on: the one asked for, else CUDA if there is one, else the CPU.

    Raises:
        MachineError: the device asked for cannot be used.
    """
    import torch

    from dataprune.training.fit import open_device

    if hardware.executor == "ray":  # the devices are the nodes', not this machine's
        return hardware.device or ("cuda" if hardware.gpus else "cpu")
    if hardware.device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return str(open_device(hardware.device))


def check_trainable(dataset: Dataset) -> None:
    """Refuse a set on which no classifier can be trained."""
    if dataset.labels is None:
        raise InputError("the data have no labels, and training needs them. Give --labels FILE.")
    present = np.unique(dataset.labels)
    if len(present) < 2:
        only = dataset.classes[int(present[0])] if len(present) else "none"
        raise InputError(f"the data must hold at least two classes to be scored, got one: {only!r}.")
    if len(dataset) < 4:
        raise invalid("data", "hold at least 4 examples", len(dataset))


def default_recipe(dataset: Dataset, model: str = "proxy") -> str:
    """Name the recipe by which a model is trained on a set if none is asked for."""
    if dataset.images is None:
        return "fast-vectors"
    plain = "-plain" if model in WITHOUT_NORMALISATION else ""
    return f"fast{plain}-gray" if dataset.images.shape[3] == 1 else f"fast{plain}"


def _scaled(epochs: int, n_examples: int) -> int:
    """Return smaller sets somewhat more passes."""
    factor = float(np.clip((REFERENCE_SIZE / n_examples) ** SIZE_EXPONENT, FEWEST, MOST))
    return max(1, round(epochs * factor))


def price(dataset: Dataset, ensemble: Ensemble) -> Price:
    """Return what the ensemble will cost in operations; a training pass counts as three looks.

    Raises:
        InputError: the model is unknown, or does not fit the examples.
    """
    from dataprune.training.fit import flops_of

    member_epochs = ensemble.members * ensemble.epochs
    train, look = _passes(ensemble, dataset)
    look_flops = flops_of(_training(ensemble, "cpu"), _shape(dataset)) * len(dataset)
    return Price(member_epochs, int(look_flops * (3 * train + look) * member_epochs), look_flops, None)


def timed_price(dataset: Dataset, ensemble: Ensemble, device: str, at_once: int) -> Price:
    """Return the price with seconds, from a few steps on this machine; work too short to ask about is not timed.

    Args:
        at_once: how many members are trained side by side.
    """
    asked = price(dataset, ensemble)
    if asked.flops < TIMED_FROM_FLOPS:
        return asked
    train, look = _passes(ensemble, dataset)
    train_seconds, look_seconds = _step_seconds(dataset, _training(ensemble, device))
    batches = len(dataset) / ensemble.recipe.batch
    rounds = -(-ensemble.members // at_once)
    epoch_seconds = batches * (train_seconds * train + look_seconds * look)
    return dataclasses.replace(asked, seconds=rounds * ensemble.epochs * epoch_seconds)


def _passes(ensemble: Ensemble, dataset: Dataset) -> tuple[float, float]:
    """Return the shares of the set that a member trains on and looks at in each epoch, on average."""
    train = 1 - 1 / ensemble.folds if ensemble.folds else 1.0
    if ensemble.when != "clean":
        return train, 1 - train
    return train, 1.0 + sees_mirrored(ensemble, dataset.inputs.shape) / ensemble.epochs


def _training(ensemble: Ensemble, device: str) -> "Training":
    from dataprune.training.fit import Training

    return Training(ensemble.model, ensemble.recipe, ensemble.epochs, ensemble.seed, ensemble.n_classes, device)


def _shape(dataset: Dataset) -> tuple[int, ...]:
    shape = dataset.inputs.shape[1:]
    return (shape[2], shape[0], shape[1]) if dataset.images is not None else shape


def _step_seconds(dataset: Dataset, training: "Training") -> tuple[float, float]:
    """Time a training step and a clean pass of one batch, in seconds, on examples from all over the set.

    The first ones of a folder are of one class: it is learned at once, and gradients next to zero take a CPU twenty times as long.
    """
    from dataprune.training.fit import Fit, Inputs, one_thread

    n_rows = min(len(dataset), 3 * training.recipe.batch)
    rows = np.arange(n_rows) * len(dataset) // n_rows
    assert dataset.labels is not None
    with one_thread(training.device):
        inputs = Inputs(np.ascontiguousarray(dataset.inputs[rows]), training.recipe.normalise, training.device)
        fit = Fit(training, inputs, dataset.labels[rows], np.ones(n_rows, bool))
        fit.train_epoch()
        begun = time.perf_counter()
        fit.train_epoch()
        trained = time.perf_counter()
        for _ in fit.predict():
            pass
        looked = time.perf_counter()
    scale = training.recipe.batch / n_rows
    return (trained - begun) * scale, (looked - trained) * scale
