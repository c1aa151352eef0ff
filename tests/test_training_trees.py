"""Boosted trees as members: their trace is scikit-learn's staged answers, and they are the default where they judge rows better."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

import dataprune as dp
from dataprune.errors import InputError
from dataprune.training.ensemble import training_mask
from dataprune.training.models import build
from dataprune.training.plan import model_and_recipe, own_model, plan
from dataprune.training.recipes import TREES
from dataprune.training.settings import Hardware, Settings
from dataprune.training.trees import L2, LEAVES, grown, staged_logits

SERIAL = Hardware(executor="serial")


def table(path, name_of, n=240):
    """Write rows of two numbers whose class a function of them names; read them."""
    x = np.random.default_rng(0).normal(size=(n, 2))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "target"], *([*row, name_of(*row)] for row in x.tolist())])
    return dp.read(path)


def crossed(a, b):
    return "same" if a * b > 0 else "other"


def test_a_trace_is_scikit_learns_staged_answers(tmp_path):
    data = table(tmp_path / "rows.csv", crossed)
    settings = Settings(model="trees", folds=2, epochs=4)
    run = dp.score(data, tmp_path / "run", settings, SERIAL)
    rows = training_mask(plan(data, settings).ensemble, data.labels, 0)
    oracle = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=4, max_leaf_nodes=LEAVES, l2_regularization=L2, early_stopping=False, random_state=1
    ).fit(data.features[rows], data.labels[rows])
    staged = np.stack([p[np.arange(len(data)), data.labels] for p in oracle.staged_predict_proba(data.features)])
    np.testing.assert_allclose(run.trace.channel("p_label")[0], staged, atol=1e-5)
    assert {"median_distance", "grand"} <= set(run.scores.absent)
    assert dp.find_suspects(run).sampling == "both"


def test_what_judges_held_out_rows_better_is_the_default(tmp_path):
    assert own_model(table(tmp_path / "crossed.csv", crossed)) == "trees"
    assert own_model(table(tmp_path / "line.csv", lambda a, b: "up" if a + b > 0 else "down")) == "linear"
    assert own_model(dp.read(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))) is None


def test_a_class_of_which_the_rows_have_nothing_is_possible():
    x = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    staged = list(staged_logits(grown(replace(TREES, epochs=3), x, 2 * (x[:, 0] > 0).astype(np.int64), seed=0), x, 3))
    assert [one.shape for one in staged] == [(80, 3)] * 3
    assert all((one[:, 1] == one.min()).all() and np.isfinite(one).all() for one in staged)


@pytest.mark.parametrize(("model", "recipe"), [("trees", "probe"), ("linear", "trees")])
def test_trees_have_their_own_recipe(tmp_path, model, recipe):
    with pytest.raises(InputError, match="trees"):
        model_and_recipe(table(tmp_path / "rows.csv", crossed), model, recipe)


def test_networks_alone_are_studied_and_see_pictures():
    with pytest.raises(InputError, match="network"):
        build("trees", (2,), 2)
    with pytest.raises(InputError, match="vectors"):
        model_and_recipe(dp.read(np.zeros((8, 8, 8, 3), np.uint8)), "trees", None)
