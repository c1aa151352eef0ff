"""From one dial to everything an ensemble needs, and what it will cost."""

import dataclasses
import math
from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dataprune.data import Dataset
from dataprune.errors import InputError, invalid
from dataprune.precision import LITTLE_FLOPS, Asked, Choice, Precision, choose
from dataprune.streams import generator
from dataprune.training.ensemble import Ensemble
from dataprune.training.probe import MOST_ROWS, search, search_flops
from dataprune.training.recipes import (
    PRETRAINED,
    PROGRESSIVE,
    TREES,
    TUNED,
    TUNED_GRAY,
    Recipe,
    batches_of,
    recipe_named,
    smaller_side,
)
from dataprune.training.settings import Cost, Settings, seconds_of

# Repeats of the folds, members without folds, and epochs at REFERENCE_SIZE examples. Measured in docs/log.md: the cheapest that
# find the wrong labels of CIFAR-10.
EFFORTS: dict[str, tuple[int, int, int]] = {"low": (1, 2, 5), "medium": (1, 2, 10), "high": (2, 6, 10)}
FOLDS = 5
LEAST_STEPS = 400
BATCHES = (32, 700), (64, 1_500)  # examples a step, at most, up to so many examples
REFERENCE_SIZE = 50_000
# A fifth of the examples needs 1.4 times the epochs to learn, and many more only make networks memorise labels, wrong ones too.
SIZE_EXPONENT = 0.2
FEWEST, MOST = 0.5, 1.5  # times the epochs at REFERENCE_SIZE
FEWEST_STEPS = 256  # of a probe: with fewer it does not reach its optimum
SHARES = {TUNED.name: 0.2, TUNED_GRAY.name: 0.2, PROGRESSIVE.name: 0.7}  # of the epochs
TUNED_STEPS = 150  # of networks that have seen pictures: the fewest
PROGRESSIVE_FROM, PROGRESSIVE_SIDES = 10_000, range(32, 64)  # of more pictures than that, and of such sides
VECTOR_RECIPES = ("probe", "fast-vectors", "trees")
WITHOUT_NORMALISATION = ("simple", "mlp", "linear")


@dataclass(frozen=True, eq=False)
class Plan:
    """An ensemble for a data set, and what it will cost."""

    dataset: Dataset
    ensemble: Ensemble

    @cached_property
    def forward_flops(self) -> int:
        """Floating-point operations of one forward pass over the set (of trees 0); an unknown or misfit model is refused."""
        from dataprune.training.fit import forward_flops
        from dataprune.training.inputs import example_shape

        if self.ensemble.model == TREES.name:
            return 0  # comparisons
        one = forward_flops(self.ensemble.model, example_shape(self.dataset.inputs), self.ensemble.n_classes)
        return one * len(self.dataset)

    def cost(self, members: int) -> Cost:
        """Return what training so many members will cost, not timed; a training step counts as three forward passes."""
        trained, looked_at = self._shares
        epochs = members * self.ensemble.epochs
        flops = int(self.forward_flops * (3 * trained + looked_at) * members * self.work(self.ensemble.epochs))
        if self.ensemble.recipe.weight_decay is None:
            flops += members * search_flops(round(len(self.dataset) * trained), self.forward_flops // len(self.dataset))
        return Cost(math.nan, round(len(self.dataset) * trained * epochs), flops)

    def computed(self, asked: Asked, device: str, begun: Precision | None) -> tuple["Plan", Choice]:
        """Fill in the precision, and say why it is that; vectors are too little work for bfloat16."""
        flops = self.cost(self.ensemble.n_networks).flops
        chosen = choose(asked, device, flops if self.dataset.features is None else 0.0, begun)
        return Plan(self.dataset, dataclasses.replace(self.ensemble, precision=chosen.precision)), chosen

    def timed_cost(self, members: int, device: str, gain: float) -> Cost:
        """Return the cost with seconds on the clock, side by side by a `gain`, from a few steps here; short work is not timed."""
        cost = self.cost(members)
        if cost.flops < LITTLE_FLOPS:
            return cost
        trained, looked_at = self._shares
        train_seconds, look_seconds = self._batch_seconds(device)
        epoch_seconds = len(self.dataset) / self.ensemble.recipe.batch * (train_seconds * trained + look_seconds * looked_at)
        return dataclasses.replace(cost, seconds=math.ceil(members / gain) * self.work(self.ensemble.epochs) * epoch_seconds)

    def work(self, n_epochs: int) -> float:
        """Return the work of a network's first epochs, in epochs on whole pictures."""
        one = self.ensemble
        if not one.recipe.small_first or self.dataset.features is not None:
            return float(n_epochs)
        shape = self.dataset.inputs.shape[1:3]
        sides = [smaller_side(one.recipe, shape, epoch % one.epochs, 1, one.epochs) or shape for epoch in range(n_epochs)]
        return sum(map(math.prod, sides)) / math.prod(shape)

    @property
    def _shares(self) -> tuple[float, float]:
        """The shares of the set that a member trains on and looks at in each epoch, on average."""
        ensemble = self.ensemble
        trained = 1 - 1 / ensemble.folds if ensemble.folds else 1.0
        second = float("second_split" in ensemble.record)  # of what was left out, with a look at all after each epoch
        if ensemble.when != "clean":
            return trained + second * (1 - trained), 1 - trained + second
        have_mirrored = self.dataset.features is None or self.dataset.mirrored is not None
        looked_at = 1.0 + second + ensemble.sees_mirrored(len(self.dataset), have_mirrored) / ensemble.epochs
        return trained + second * (1 - trained), looked_at

    def _batch_seconds(self, device: str) -> tuple[float, float]:
        """Time a training step and a clean pass of one batch at full size, in seconds, on examples from all over the set: the first
        of a folder are of one class, which is learned at once, and gradients next to zero take a CPU twenty times as long."""
        from dataprune.training.fit import Fit, Training, one_thread
        from dataprune.training.inputs import Inputs

        dataset, one = self.dataset, self.ensemble
        at_full_size = dataclasses.replace(one.recipe, small_first=0.0)
        training = Training(one.model, at_full_size, one.epochs, one.seed, one.n_classes, device, one.precision)
        n_rows = min(len(dataset), 3 * training.recipe.batch)
        rows = np.arange(n_rows) * len(dataset) // n_rows
        assert dataset.labels is not None
        with one_thread(device):
            mirrored = None if dataset.mirrored is None else dataset.mirrored[rows]
            inputs = Inputs(np.ascontiguousarray(dataset.inputs[rows]), training.recipe.normalise, device, mirrored=mirrored)
            fit = Fit(training, inputs, dataset.labels[rows], np.ones(n_rows, bool))
            of_batch = training.recipe.batch / n_rows
            return seconds_of(fit.train_epoch) * of_batch, seconds_of(lambda: deque(fit.predict(), 0)) * of_batch


def plan(dataset: Dataset, settings: Settings) -> Plan:
    """Fill in what the settings leave open; a set without labels or of one class is refused."""
    check_trainable(dataset)
    if (settings.folds or 0) > len(dataset):
        raise invalid("folds", f"be at most the number of examples ({len(dataset)})", settings.folds)
    members, folds, repeats = _cut(settings, len(dataset))
    own = own_model(dataset) if settings.model is None and settings.recipe is None else None
    wanted = settings.recipe or (PROGRESSIVE.name if not folds and is_progressive(dataset, settings.model) else None)
    model, recipe = model_and_recipe(dataset, settings.model or own, wanted)
    n_trained = len(dataset) - (len(dataset) // folds if folds else 0)
    recipe = sized(recipe, n_trained, EFFORTS[settings.effort][2], settings.epochs, settings.batch)
    assert recipe.epochs is not None
    ensemble = Ensemble(
        model=model,
        recipe=recipe,
        members=members,
        epochs=recipe.epochs,
        n_classes=dataset.n_classes,
        folds=folds,
        repeats=repeats,
        rounds=settings.rounds,
        when=settings.when,
        seed=settings.seed,
        threshold_samples=settings.threshold_samples,
        record=settings.recorded,
    )
    return Plan(dataset, ensemble)


def check_names(model: str | None, recipe: str | None) -> None:
    if recipe:
        recipe_named(recipe)
    if model:
        from dataprune.training.models import check_name

        check_name(model)


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


def model_and_recipe(dataset: Dataset, model: str | None, recipe: str | None) -> tuple[str, Recipe]:
    """Return the model and the recipe for a set, by their names or the defaults; what does not go together is refused."""
    model = model or ("proxy" if dataset.features is None else "linear")
    if model == TREES.name and dataset.features is None:
        raise invalid("model", "be a network for pictures", repr(model), "Trees take vectors: name an encoder too.")
    found = recipe_named(recipe or default_recipe(dataset, model))
    if (found.name == TREES.name) != (model == TREES.name):
        raise invalid("recipe", "be trees for the model trees, and only for it", f"{found.name!r} for {model}")
    if model == PRETRAINED and dataset.features is not None:
        raise invalid("model", "be one for vectors", repr(model), "It is trained on pictures themselves: leave out the encoder.")
    if model == PRETRAINED and found.normalise != "half":
        raise invalid("recipe", f"normalise by half for {model}, as its weights know", f"{found.name!r} ({found.normalise})")
    if found.weight_decay is None and (model not in ("linear", TREES.name) or dataset.inputs.ndim != 2):
        raise invalid("recipe", "name a weight_decay for other models than linear on vectors", f"{found.name!r} for {model}")
    return model, found


def own_model(dataset: Dataset) -> str | None:
    """Return which of probe and trees says held-out given labels of a table's rows better; of anything else None."""
    import torch
    from threadpoolctl import threadpool_limits

    from dataprune.training.inputs import Inputs
    from dataprune.training.trees import held_out_loss

    if dataset.records is None or dataset.records.kind != "rows" or dataset.features is None:
        return None
    rows = generator(0, "model").permutation(len(dataset))[:MOST_ROWS]
    x, labels = np.asarray(dataset.features[rows], np.float32), np.asarray(dataset.labels)[rows]
    seen = Inputs(x, "ball", "cpu").batch(torch.arange(len(x))).numpy()
    with threadpool_limits(1):
        return "trees" if held_out_loss(x, labels) < search(seen, labels)[1] else "linear"


def is_progressive(dataset: Dataset, model: str | None) -> bool:
    """Return whether `progressive` suits a scoring without folds: of many small colour pictures from scratch, as were measured.
    Networks of folds judge labels, which they do better by `fast`."""
    if dataset.features is not None or model not in (None, "proxy") or len(dataset) <= PROGRESSIVE_FROM:
        return False
    height, width, n_channels = dataset.content.shape[1:]
    return n_channels == 3 and min(height, width) in PROGRESSIVE_SIDES


def default_recipe(dataset: Dataset, model: str = "proxy") -> str:
    if dataset.features is not None:
        return {"linear": "probe", "trees": "trees"}.get(model, "fast-vectors")
    recipe = "tuned" if model == PRETRAINED else "fast-plain" if model in WITHOUT_NORMALISATION else "fast"
    return f"{recipe}-gray" if dataset.content.shape[3] == 1 else recipe


def batch_for(n_examples: int, most: int) -> int:
    """Return the examples a step for a set of so many: fewer than `most` for small ones.

    Example:
        >>> [batch_for(n, 128) for n in (200, 700, 1_000, 2_000, 50_000)]
        [32, 32, 64, 128, 128]
    """
    return min(most, next((batch for batch, until in BATCHES if n_examples <= until), most))


def sized(recipe: Recipe, n_examples: int, epochs: int, asked_epochs: int | None = None, asked_batch: int | None = None) -> Recipe:
    """Return a recipe with the epochs and the batch for a set of so many examples that are trained on: what is asked for, else what
    the recipe says. One that leaves its epochs open is fitted to the size: somewhat more than `epochs`, those at REFERENCE_SIZE,
    and smaller batches for smaller sets; none takes fewer than LEAST_STEPS steps, of a probe
    FEWEST_STEPS, of a pretrained network TUNED_STEPS."""
    is_probe = recipe.weight_decay is None
    batch = asked_batch or (recipe.batch if recipe.epochs or is_probe else batch_for(n_examples, recipe.batch))
    factor = float(np.clip((REFERENCE_SIZE / n_examples) ** SIZE_EXPONENT, FEWEST, MOST))
    is_tuned = recipe.name in (TUNED.name, TUNED_GRAY.name)
    least = FEWEST_STEPS if is_probe else TUNED_STEPS if is_tuned else LEAST_STEPS
    by_size = max(1, round(epochs * factor * SHARES.get(recipe.name, 1.0)), math.ceil(least / batches_of(n_examples, batch)))
    return dataclasses.replace(recipe, batch=batch, epochs=asked_epochs or recipe.epochs or by_size)


def _cut(settings: Settings, n_examples: int) -> tuple[int, int, int]:
    """Return members, folds and repeats. Where no folds are asked for there are FOLDS, or as many as the members allow."""
    repeats, plain, _ = EFFORTS[settings.effort]
    members, rounds = settings.members, settings.rounds
    folds = settings.folds
    if folds is None:
        each = 0 if members is None else members // (rounds * (settings.repeats or 1))
        folds = min(FOLDS, n_examples) if each % FOLDS == 0 else 0 if members == 1 else max(2, each)
    if not folds:
        return members or plain, 0, settings.repeats or 1
    if members is not None:
        repeats = max(1, members // (folds * rounds))
    repeats = settings.repeats or repeats
    return members or folds * repeats * rounds, folds, repeats
