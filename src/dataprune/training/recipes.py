"""How a network is trained: optimiser, schedule, augmentation, batch and epochs, as one frozen value."""

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args, get_origin

from dataprune.errors import invalid, unknown_choice
from dataprune.plugins import named

PRETRAINED = "encoder-tuned"  # the model that begins from weights which have seen pictures
SHRUNK, SHRUNK_FROM = (0.5, 0.75), 32  # what is left of the side of a picture, one after the other, and the side from which on
MOST_EPOCHS = 1_000_000  # more is a slip of the finger


@dataclass(frozen=True)
class Recipe:
    """Everything about a training but the network, the data and the seed.

    Attributes:
        optimiser: `sgd` (Nesterov's momentum if `nesterov`), `adam`, `adamw`, or `muon`: SGD, but of kernels orthogonalised steps.
        learning_rate: the peak of the schedule, for a loss averaged over the batch; without `weight_decay`, that peak in units of
            the rate that suits the strength chosen.
        schedule: `triangle` (linear up over `warmup`, linear down to zero), `cosine` (the same with a cosine), `constant`,
            `steps` (times `factor` at each epoch of `milestones`) or `plateau` (times `factor` when the training loss has
            not improved for more than `patience` epochs).
        weight_decay: on matrices and kernels only, not on biases and normalisation. None chooses it for each training by
            cross-validation on the rows and given labels that it trains on; for `linear` on vectors only (trees have none).
        batch: examples a step; an epoch is cut into equal batches of about this size, so none is tiny and none is left out.
        epochs: None lets `score` choose them by the size of the set.
        crop: reflect padding of the random crop, as a share of the picture's side (0.125 means 4 pixels at 32).
        rotation: largest angle of the random rotation, degrees.
        flip: mirror every other picture, or take the vector of its mirror image where the data hold it.
        small_first: share of the training, from its start, in which pictures of SHRUNK_FROM pixels or more are learned from, and
            looked at, at half of their side and then three quarters (progressive resizing); never its last epoch.
        normalise: `own` (the set's mean and deviation of each channel or column), `half` (0.5 and 0.5), `none` (values in [0, 1]),
            or `ball`: vectors as by `own`, then divided by their usual length, and longer ones brought to length one.
    """

    name: str
    optimiser: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float | None = 5e-4
    schedule: Literal["triangle", "cosine", "constant", "steps", "plateau"] = "triangle"
    warmup: float = 0.25
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    patience: int = 2
    batch: int = 128
    epochs: int | None = None
    crop: float = 0.0625
    flip: bool = True
    rotation: float = 0.0
    normalise: Literal["own", "half", "none", "ball"] = "own"
    label_smoothing: float = 0.0
    small_first: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value, choices = getattr(self, one.name), get_args(one.type)
            if get_origin(one.type) is Literal and value not in choices:
                raise unknown_choice(one.name, value, choices)
        for name, fits, requirement in (
            ("learning_rate", 0 < self.learning_rate < math.inf, "be a positive number"),
            ("momentum", 0 <= self.momentum < 1, "be in [0, 1)"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "be in [0, 1)"),
            ("small_first", 0 <= self.small_first < 1, "be a share of the training in [0, 1)"),
            ("weight_decay", 0 <= (self.weight_decay or 0) < math.inf, "be a number that is not negative"),
            ("optimiser", self.weight_decay is not None or self.optimiser == "sgd", "be sgd without a weight_decay"),
            ("factor", 0 <= self.factor < math.inf, "be a number that is not negative"),
            ("patience", 0 <= self.patience < math.inf, "be a number that is not negative"),
            ("batch", self.batch >= 1, "be at least 1"),
            ("batch", self.batch % 1 == 0, "be a whole number, at least 1"),
            ("epochs", self.epochs is None or self.epochs >= 1, "be at least 1"),
            ("epochs", self.epochs is None or self.epochs <= MOST_EPOCHS, f"be at most {MOST_EPOCHS:,}"),
            ("crop", 0 <= self.crop < 0.5, "be a share of the side in [0, 0.5)"),
            ("warmup", 0 <= self.warmup < 1, "be a share of the steps in [0, 1)"),
            ("rotation", 0 <= self.rotation <= 180, "be degrees in [0, 180]"),
        ):
            if not fits:
                raise invalid(name, requirement, getattr(self, name))


# Augmentation, rates and schedules of the report; its crops are padded by 4 pixels: of 32 on CIFAR, of 224 on photographs.
_REPORT = Recipe("report", weight_decay=0.0, batch=25, epochs=60, crop=4 / 32, rotation=15.0)
_REPORT_ADAM = replace(_REPORT, optimiser="adam", schedule="plateau", patience=2)
_REPORT_STEPS = replace(_REPORT, schedule="steps", milestones=(40, 45, 50), factor=0.3)
REPORT_CIFAR10 = replace(_REPORT_ADAM, name="report-cifar10", learning_rate=1e-3, factor=0.5, normalise="half")
REPORT_CIFAR100 = replace(_REPORT_STEPS, name="report-cifar100", learning_rate=1e-3, nesterov=False)
REPORT_PHOTOS = replace(
    _REPORT_ADAM, name="report-photos", learning_rate=1e-4, factor=0.25, epochs=25, crop=4 / 224, normalise="none"
)
FAST = Recipe("fast")
FAST_GRAY = Recipe("fast-gray", flip=False)  # one channel is mostly digits, letters, scans: their mirror image means something else
# Progressive resizing; what each part of it brings, and what did not pay, is in docs/findings.md ("Time to quality").
PROGRESSIVE = Recipe("progressive", "muon", 0.15, batch=256, label_smoothing=0.1, small_first=0.45)
# Networks without normalisation layers (`simple`, `mlp`, `linear`) diverge at the rate of `fast`.
FAST_PLAIN = Recipe("fast-plain", optimiser="adamw", learning_rate=2e-2, weight_decay=1e-2)
FAST_PLAIN_GRAY = Recipe("fast-plain-gray", optimiser="adamw", learning_rate=2e-2, weight_decay=1e-2, flip=False)
FAST_VECTORS = Recipe("fast-vectors", optimiser="adamw", learning_rate=2e-3, weight_decay=1e-2, crop=0.0)
TUNED = Recipe("tuned", "adamw", 3e-4, weight_decay=1e-2, batch=64, normalise="half", label_smoothing=0.1)
TUNED_GRAY = replace(TUNED, name="tuned-gray", flip=False)
# Of boosted trees: the rate and the iterations count, and nothing else.
TREES = Recipe("trees", learning_rate=0.05, weight_decay=None, epochs=100, crop=0.0, flip=False, normalise="none")
PROBE = Recipe("probe", learning_rate=1.0, weight_decay=None, batch=64, crop=0.0, normalise="ball")

_GENERAL = (FAST, FAST_GRAY, FAST_PLAIN, FAST_PLAIN_GRAY, FAST_VECTORS, PROBE, PROGRESSIVE, TREES, TUNED, TUNED_GRAY)
RECIPES: dict[str, Recipe] = {r.name: r for r in (*_GENERAL, REPORT_CIFAR10, REPORT_CIFAR100, REPORT_PHOTOS)}


def recipe_named(name: str) -> Recipe:
    """Look a recipe up by name, or call `module:function`, which must return a `Recipe`."""
    return named("recipe", name, RECIPES, Recipe)


def batches_of(n_examples: int, batch: int) -> int:
    """Return into how many batches of like size an epoch is cut."""
    return max(1, round(n_examples / batch))


def smaller_side(recipe: Recipe, side: tuple[int, ...], first: int, n: int, n_all: int) -> tuple[int, int] | None:
    """Return to what height and width pictures are brought in an epoch that begins after `first` of `n_all` steps (or epochs) and
    takes `n` of them; None where they stay as they are, as vectors do, which have no side."""
    done, is_last = (first + n / 2) / n_all, first + n >= n_all
    if len(side) != 2 or min(side) < SHRUNK_FROM or is_last or done >= recipe.small_first:
        return None
    share = SHRUNK[int(done / recipe.small_first * len(SHRUNK))]
    return round(share * side[0]), round(share * side[1])


def rate_at(recipe: Recipe, step: int, n_steps: int, epoch: int) -> float:
    """Return the learning rate of a step (0-based) for every schedule but `plateau`, which depends on the losses."""
    peak = recipe.learning_rate
    if recipe.schedule == "steps":
        return peak * recipe.factor ** sum(epoch >= milestone for milestone in recipe.milestones)
    if recipe.schedule in ("constant", "plateau"):
        return peak
    n_up = int(recipe.warmup * n_steps)
    if step < n_up:
        return peak * (step + 1) / n_up
    left = (n_steps - step) / (n_steps - n_up + 1)
    return peak * (left if recipe.schedule == "triangle" else 0.5 - 0.5 * math.cos(math.pi * left))


@dataclass(frozen=True)
class Plateau:
    """The state of the `plateau` schedule after some epochs: the factor on the rate, the best loss, epochs without improvement."""

    factor: float = 1.0
    best: float | None = None
    bad_epochs: int = 0

    def after(self, loss: float, recipe: Recipe) -> "Plateau":
        """Return the state after an epoch with this mean training loss (improved: below the best by a relative 1e-4)."""
        if self.best is None or loss < self.best * (1 - 1e-4):
            return Plateau(self.factor, loss, 0)
        if self.bad_epochs + 1 > recipe.patience:
            return Plateau(self.factor * recipe.factor, self.best, 0)
        return Plateau(self.factor, self.best, self.bad_epochs + 1)
