"""By which networks and recipes is a study trained, and what will that cost?"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dataprune.data import Dataset
from dataprune.errors import invalid
from dataprune.run import Run
from dataprune.study.grid import GridRow, TrainingSetup
from dataprune.study.spec import StudySpec, Variant
from dataprune.training.ensemble import Ensemble
from dataprune.training.plan import REFERENCE_SIZE, SIZE_EXPONENT, default_recipe, timed_price
from dataprune.training.recipes import RECIPES, Recipe, recipe_named
from dataprune.training.settings import Settings

EPOCHS = 6  # of a trial at REFERENCE_SIZE examples
MOST = 1.5  # times that, for small sets


@dataclass(frozen=True)
class Price:
    """What is to be trained: trials, examples through the network, floating-point operations, seconds on the clock if measured."""

    trials: int
    examples: int
    flops: int
    seconds: float | None


def trained_by(spec: StudySpec, dataset: Dataset) -> tuple[TrainingSetup, ...]:
    """Fill in the model and the recipe of the trials, and those of each variant.

    Raises:
        InputError: an unknown model or recipe, or values out of range.
    """
    how = _trained("", spec.model, spec.recipe, spec, dataset)
    if not spec.variants:
        return (how,)
    return tuple(_varied(variant, spec, dataset) for variant in spec.variants)


def trial_epochs(n_examples: int) -> int:
    """Return the epochs of a trial: somewhat more for smaller sets.

    Example:
        >>> trial_epochs(1_000), trial_epochs(50_000), trial_epochs(1_000_000)
        (9, 6, 3)
    """
    factor = float(np.clip((REFERENCE_SIZE / n_examples) ** SIZE_EXPONENT, 0.5, MOST))
    return max(1, round(EPOCHS * factor))


def settings_of(run: Run) -> Settings:
    """Return the settings that made a run, to score other labels in the same way.

    Raises:
        InputError: code of somebody's own made it: a stored name is not followed.
    """
    spec: dict[str, Any] = run.info["spec"]
    recipe = spec["recipe"]["name"]
    if ":" in spec["model"] or recipe not in RECIPES:
        what = f"model {spec['model']!r}" if ":" in spec["model"] else f"recipe {recipe!r}"
        raise invalid(
            "run", "be made with a model and a recipe of dataprune, for a study that scores anew", what, "Leave out --run."
        )
    return Settings(
        members=spec["members"],
        epochs=spec["epochs"],
        model=spec["model"],
        recipe=recipe,
        batch=spec["recipe"]["batch"],
        when=spec["when"],
        folds=spec["folds"],
        repeats=spec["repeats"],
        rounds=spec.get("rounds", 1),
        seed=spec["seed"],
    )


def price(
    rows: list[GridRow], examples: dict[str, int], flops: dict[str, int], dataset: Dataset, device: str, at_once: int
) -> Price:
    """Return what trials will cost; work of some length is timed by a few steps on this machine.

    Args:
        rows: the trials, each once.
        examples: that each takes in, by its name.
        flops: of each.
        dataset: by which a few steps are timed.
        at_once: how many are trained side by side.
    """
    total, operations = sum(examples[row.spec.trial] for row in rows), sum(flops[row.spec.trial] for row in rows)
    if not rows:
        return Price(0, 0, 0, None)
    first = rows[0].spec
    passes = max(1, round(total / len(dataset)))
    like = Ensemble(first.model, first.recipe, 1, passes, dataset.n_classes, when="online", seed=0)
    seconds = timed_price(dataset, like, device, 1).seconds
    return Price(len(rows), total, operations, None if seconds is None else seconds / max(1, min(at_once, len(rows))))


def _trained(name: str, model: str, recipe: str, spec: StudySpec, dataset: Dataset) -> TrainingSetup:
    model = model or ("mlp" if dataset.images is None else "proxy")
    found = recipe_named(recipe or default_recipe(dataset, model))
    epochs = spec.epochs or found.epochs or trial_epochs(len(dataset))
    return TrainingSetup(name or found.name, model, replace(found, batch=spec.batch or found.batch, epochs=None), epochs)


def _varied(variant: Variant, spec: StudySpec, dataset: Dataset) -> TrainingSetup:
    changes = dict(variant.changes)
    how = _trained(variant.name, changes.pop("model", spec.model), changes.pop("recipe", spec.recipe), spec, dataset)
    try:
        changes["learning_rate"] = changes.get("learning_rate", how.recipe.learning_rate) * float(changes.pop("rate_factor", 1.0))
        recipe: Recipe = replace(how.recipe, **changes)
    except TypeError as error:
        raise invalid(f"variant '{variant.name}'", "have values of the right kind", repr(variant.changes), str(error)) from None
    return replace(how, recipe=recipe)
