"""By which networks and recipes is a study trained, and what will that cost?"""

from collections.abc import Sequence
from dataclasses import replace

from dataprune.data import Dataset
from dataprune.errors import invalid
from dataprune.run import Run
from dataprune.study.grid import GridRow, TrainingSetup
from dataprune.study.spec import StudySpec, Variant
from dataprune.training.cost import Cost
from dataprune.training.ensemble import Ensemble
from dataprune.training.plan import Plan, default_recipe, epochs_for
from dataprune.training.recipes import RECIPES, Recipe, recipe_named
from dataprune.training.settings import Settings

EPOCHS = 6  # of a trial at REFERENCE_SIZE examples


def trained_by(spec: StudySpec, dataset: Dataset) -> tuple[TrainingSetup, ...]:
    """Fill in the model and the recipe of the trials, and those of each variant.

    Raises:
        InputError: an unknown model or recipe, or values out of range.
    """
    how = _trained("", spec.model, spec.recipe, spec, dataset)
    if not spec.variants:
        return (how,)
    return tuple(_varied(variant, spec, dataset) for variant in spec.variants)


def settings_of(run: Run) -> Settings:
    """Return the settings that made a run, to score other labels in the same way.

    Raises:
        InputError: code of somebody's own made it: a stored name is not followed.
    """
    spec = run.manifest.spec
    recipe = spec.recipe.name
    if ":" in spec.model or recipe not in RECIPES:
        what = f"model {spec.model!r}" if ":" in spec.model else f"recipe {recipe!r}"
        raise invalid(
            "run", "be made with a model and a recipe of dataprune, for a study that scores anew", what, "Leave out --run."
        )
    return Settings(
        members=spec.members,
        epochs=spec.epochs,
        model=spec.model,
        recipe=recipe,
        batch=spec.recipe.batch,
        when=spec.when,
        folds=spec.folds,
        repeats=spec.repeats,
        rounds=spec.rounds,
        seed=spec.seed,
    )


def cost_of(rows: Sequence[GridRow], examples: int, flops: int, dataset: Dataset, device: str, at_once: int) -> Cost:
    """Return what trials will cost; work of some length is timed by a few steps on this machine.

    Args:
        rows: the trials, each once, at least one.
        examples: that they take in.
        flops: of them all.
        dataset: by which a few steps are timed.
        at_once: how many are trained side by side.
    """
    first = rows[0].spec
    like = Ensemble(first.model, first.recipe, 1, max(1, round(examples / len(dataset))), dataset.n_classes, when="online")
    seconds = Plan(dataset, like).timed_cost(1, device, 1).seconds
    return Cost(seconds / max(1, min(at_once, len(rows))), examples, flops)


def _trained(name: str, model: str, recipe: str, spec: StudySpec, dataset: Dataset) -> TrainingSetup:
    model = model or ("mlp" if dataset.images is None else "proxy")
    found = recipe_named(recipe or default_recipe(dataset, model))
    epochs = spec.epochs or found.epochs or epochs_for(len(dataset), EPOCHS)
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
