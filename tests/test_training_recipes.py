"""Rates at each step, the plateau, and the report's recipes as the report states them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.training.recipes import RECIPES, Plateau, Recipe, rate_at, recipe_named


def test_steps_schedule_of_the_report():
    recipe = recipe_named("report-cifar100")
    rates = [rate_at(recipe, 0, 1, epoch) for epoch in (0, 39, 40, 44, 45, 50)]
    assert rates == pytest.approx([1e-3, 1e-3, 3e-4, 3e-4, 9e-5, 2.7e-5])


def test_plateau_halves_at_the_third_bad_epoch():
    recipe = recipe_named("report-cifar10")
    state, factors = Plateau(), []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.91, 0.9, 0.8):
        state = state.after(loss, recipe)
        factors.append(state.factor)
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.5]


def test_plateau_agrees_with_torch():
    import torch

    recipe = Recipe("r", schedule="plateau", factor=0.3, patience=2, learning_rate=1.0)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.3, patience=2)
    state = Plateau()
    losses = [3, 2, 2.5, 2.4, 2.3, 2.2, 1.9, 1.95, 1.91, 1.9, 1.8999, 1.2, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3]
    for loss in losses:
        reference.step(loss)
        state = state.after(loss, recipe)
        assert state.factor == pytest.approx(optimiser.param_groups[0]["lr"])


@given(st.integers(1, 300), st.floats(0, 0.99), st.sampled_from(["triangle", "cosine"]))
def test_rates_rise_then_fall_and_never_leave_zero_to_peak(n_steps, warmup, schedule):
    recipe = Recipe("r", learning_rate=0.5, warmup=warmup, schedule=schedule)
    rates = [rate_at(recipe, step, n_steps, 0) for step in range(n_steps)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= 0.5 + 1e-12 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_report_recipes_as_stated():
    first, second, photos = (RECIPES[f"report-{name}"] for name in ("cifar10", "cifar100", "photos"))
    assert (first.optimiser, first.learning_rate, first.epochs, first.batch, first.normalise) == ("adam", 1e-3, 60, 25, "half")
    assert (second.optimiser, second.momentum, second.nesterov, second.normalise) == ("sgd", 0.9, False, "own")
    assert (photos.learning_rate, photos.factor, photos.epochs, photos.normalise) == (1e-4, 0.25, 25, "none")
    for recipe, side in ((first, 32), (second, 32), (photos, 224)):
        assert round(recipe.crop * side) == 4
        assert (recipe.flip, recipe.rotation) == (True, 15.0)


def test_what_is_refused():
    with pytest.raises(InputError, match="Did you mean 'fast'"):
        recipe_named("fasst")
    with pytest.raises(InputError, match="returns a Recipe"):
        recipe_named("builtins:dict")
    rates = [{"learning_rate": math.nan}, {"learning_rate": -1.0}]
    for wrong in [*rates, {"batch": 0}, {"epochs": 0}, {"warmup": 1.0}, {"crop": 0.7}]:
        with pytest.raises(InputError, match=next(iter(wrong))):
            Recipe("r", **wrong)
