"""Rates at each step, the plateau, and the report's recipes as the report states them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataprune as dp
from dataprune.errors import InputError
from dataprune.training.plan import plan
from dataprune.training.recipes import RECIPES, Plateau, Recipe, rate_at, recipe_named, smaller_side
from dataprune.training.settings import Settings


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


def test_the_side_of_pictures_in_each_epoch():
    recipe, half, more = Recipe("r", small_first=0.5), (16, 32), (24, 48)
    sides = [[smaller_side(recipe, (32, 64), epoch, 1, n) for epoch in range(n)] for n in (1, 2, 3, 5, 8)]
    assert sides == [
        [None],
        [more, None],
        [half, None, None],
        [half, more, None, None, None],
        [half, half, more, more, None, None, None, None],
    ]
    assert smaller_side(Recipe("r", small_first=0.99), (32, 32), 0, 1, 1) is None, "the last epoch has them as they are"
    assert [smaller_side(recipe, side, 0, 100, 1_000) for side in ((31, 40), (), (32, 32))] == [None, None, (16, 16)]
    assert smaller_side(Recipe("r"), (32, 32), 0, 1, 2) is None


@pytest.mark.parametrize(
    ("shape", "model", "name", "epochs"),
    [
        ((10_001, 32, 32, 3), None, "progressive", 11),
        ((10_001, 63, 40, 3), "proxy", "progressive", 11),
        ((10_000, 32, 32, 3), None, "fast", 14),
        ((10_001, 31, 40, 3), None, "fast", 14),
        ((10_001, 64, 64, 3), None, "fast", 14),
        ((10_001, 32, 32, 1), None, "fast-gray", 14),
        ((10_001, 32, 32, 3), "proxy-wide", "fast", 14),
        ((10_001, 5), None, "probe", 14),
    ],
)
def test_what_many_small_colour_pictures_are_scored_by(shape, model, name, epochs):
    x = np.broadcast_to(np.zeros((), np.uint8 if len(shape) == 4 else np.float32), shape)
    data = dp.from_arrays(x, np.arange(len(x)) % 2)
    found = plan(data, Settings(model=model, folds=0, members=1)).ensemble
    assert (found.recipe.name, found.epochs) == (name, epochs)
    judges = plan(data, Settings(model=model)).ensemble
    assert judges.recipe.name == name.replace("progressive", "fast"), "labels are judged as they were"


def test_the_price_of_small_pictures():
    x = np.zeros((20, 32, 32, 3), np.uint8)
    data = dp.from_arrays(x, np.arange(20) % 2)
    whole, small = (
        plan(data, Settings(recipe=name, folds=0, members=1, epochs=8)).cost(1).flops for name in ("fast", "progressive")
    )
    assert small / whole == pytest.approx((2 / 4 + 2 * 9 / 16 + 4) / 8, abs=0.001)
    planned = plan(data, Settings(recipe="progressive", folds=0, members=1, epochs=8))
    assert [planned.work(n) for n in (0, 1, 3, 8)] == pytest.approx([0, 1 / 4, 2 / 4 + 9 / 16, 2 / 4 + 2 * 9 / 16 + 4])


def test_what_is_refused():
    with pytest.raises(InputError, match="Did you mean 'fast'"):
        recipe_named("fasst")
    with pytest.raises(InputError, match="returns a Recipe"):
        recipe_named("builtins:dict")
    rates = [{"learning_rate": math.nan}, {"learning_rate": -1.0}]
    for wrong in [*rates, {"batch": 0}, {"epochs": 0}, {"warmup": 1.0}, {"crop": 0.7}, {"small_first": 1.0}]:
        with pytest.raises(InputError, match=next(iter(wrong))):
            Recipe("r", **wrong)
