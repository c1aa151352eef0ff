"""The linear probe on vectors: its strength, its optimum by scikit-learn, its way there, and vectors of mirror images."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import dataprune as dp
from dataprune.errors import InputError
from dataprune.report.page.data import gather
from dataprune.training import probe
from dataprune.training.fit import Fit, Training
from dataprune.training.inputs import Inputs
from dataprune.training.plan import plan, sized
from dataprune.training.recipes import PROBE
from dataprune.training.regression import FoldedRegression
from dataprune.training.settings import Hardware, Settings

SERIAL = Hardware(executor="serial")


def clouds(n, n_classes, width=12, wrong=0.1, seed=0):
    """Return vectors around a centre for each class, on columns of very different scales, and labels of which some are wrong."""
    draw = np.random.default_rng(seed)
    truth = np.arange(n) % n_classes
    vectors = draw.normal(size=(n_classes, width))[truth] + draw.normal(size=(n, width))
    labels = np.where(draw.random(n) < wrong, (truth + draw.integers(1, n_classes, n)) % n_classes, truth)
    return ((vectors + 3) * 10.0 ** draw.integers(-4, 4, width)).astype(np.float32), labels


def fit_of(vectors, labels, epochs=15, trained_on=None, mirrored=None, seed=3):
    trained_on = np.ones(len(labels), bool) if trained_on is None else trained_on
    inputs = Inputs(vectors, "ball", "cpu", mirrored=mirrored)
    return Fit(Training("linear", PROBE, epochs, seed, int(labels.max()) + 1), inputs, labels, trained_on)


def probabilities(fit):
    return np.concatenate([logits.softmax(1).numpy() for _, logits, _ in fit.predict()])


def seen(vectors):
    """Standardise, divide by the usual length and bring longer rows to length one, in NumPy."""
    wide = (vectors - vectors.mean(0, dtype=np.float64)) / vectors.std(0, dtype=np.float64) / np.sqrt(vectors.shape[1])
    return wide / np.maximum(1, np.linalg.norm(wide, axis=1, keepdims=True))


@pytest.mark.parametrize(("n", "n_classes"), [(600, 2), (600, 5), (2500, 3)])
def test_the_end_is_scikit_learns_optimum(n, n_classes):
    vectors, labels = clouds(n, n_classes)
    epochs = sized(PROBE, n, 10).epochs
    fit = fit_of(vectors, labels, epochs)
    for _ in range(epochs):
        fit.train_epoch()
    assert fit.strength is not None
    x = seen(vectors)  # scikit-learn has one weight vector for two classes, where softmax has two of half its length
    oracle = LogisticRegression(C=fit.strength * (2 if n_classes == 2 else 1), tol=1e-8, max_iter=10_000).fit(x, labels)
    off = np.abs(probabilities(fit) - oracle.predict_proba(x))
    assert off.mean() < 0.005  # the last steps are small, but steps on batches
    assert off.max() < 0.04
    untrained = np.abs(1 / n_classes - oracle.predict_proba(x))
    assert untrained.mean() > 0.1


def test_the_way_there_begins_at_no_opinion_and_takes_epochs():
    vectors, labels = clouds(900, 3)
    fit, given = fit_of(vectors, labels), []
    given.append(probabilities(fit)[np.arange(900), labels].mean())
    for _ in range(15):
        fit.train_epoch()
        given.append(probabilities(fit)[np.arange(900), labels].mean())
    assert abs(given[0] - 1 / 3) < 0.02
    assert given[1] < given[-1] - 0.02


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.4])
def test_the_strength_is_where_held_out_labels_are_foreseen_best(wrong):
    vectors, labels = clouds(700, 4, wrong=wrong)
    x = seen(vectors)
    found = probe.choose_strength(x, labels)
    loss = [
        -cross_val_score(LogisticRegression(C=c, max_iter=5000), x, labels, scoring="neg_log_loss", cv=5).mean()
        for c in probe.STRENGTHS
    ]
    assert loss[probe.STRENGTHS.index(found)] < min(loss) + 0.01
    assert loss[0] > min(loss) + 0.1


@pytest.mark.parametrize("n_classes", [2, 4])
def test_held_out_loss_is_that_of_scikit_learns_optimum(n_classes):
    vectors, labels = clouds(500, n_classes, wrong=0.2)
    labels[:2] = n_classes  # in one fold only, if that
    x = seen(vectors)
    folds = probe.held_out(labels)
    regression = FoldedRegression(x, labels, folds)
    for strength in (0.03, 1.0, 30.0):
        loss, n_asked = 0.0, 0
        for kept, asked in folds:
            binary = len(np.unique(labels[kept])) == 2  # of two classes scikit-learn penalises half of what softmax does
            model = LogisticRegression(C=strength * (1 + binary), tol=1e-6, max_iter=5000).fit(x[kept], labels[kept])
            given = np.searchsorted(model.classes_, labels[asked])
            loss -= np.log(model.predict_proba(x[asked])[np.arange(asked.sum()), given]).sum()
            n_asked += asked.sum()
        assert regression.held_out_loss(strength) / n_asked == pytest.approx(loss / n_asked, abs=5e-3)


def test_a_sample_chooses_somewhat_more_for_more_rows():
    vectors, labels = clouds(300, 3)
    x = seen(vectors)
    assert probe.choose_strength(x, labels, 1200) == pytest.approx(probe.choose_strength(x, labels) / 2)


def test_more_wrong_labels_take_more_regularisation():
    strengths = [probe.choose_strength(seen(vectors), labels) for vectors, labels in (clouds(600, 4, wrong=w) for w in (0.0, 0.5))]
    assert strengths[1] < strengths[0]


def test_the_strength_of_hardly_any_rows():
    x = np.eye(4, dtype=np.float32)
    assert probe.choose_strength(x, np.array([0, 1, 2, 3])) == 1.0  # no label comes twice
    assert probe.choose_strength(x[:2], np.array([0, 1])) == 1.0
    vectors, labels = clouds(60, 3)
    labels[0] = 7  # a class of its own
    assert probe.choose_strength(seen(vectors), labels) in probe.STRENGTHS


def test_a_member_knows_nothing_of_labels_that_it_is_not_trained_on():
    vectors, labels = clouds(300, 3)
    kept = np.arange(300) % 5 != 0
    others = np.where(kept, labels, (labels + 1) % 3)
    one, two = fit_of(vectors, labels, 2, kept), fit_of(vectors, others, 2, kept)
    for fit in (one, two):
        fit.train_epoch()
    np.testing.assert_array_equal(probabilities(one), probabilities(two))


def test_taken_up_it_goes_on_bit_for_bit_with_the_strength_it_had(monkeypatch):
    vectors, labels = clouds(200, 3)
    whole, first = fit_of(vectors, labels, 3), fit_of(vectors, labels, 3)
    for _ in range(3):
        whole.train_epoch()
    first.train_epoch()
    arrays, info = {name: value.copy() for name, value in first.arrays().items()}, first.info()
    monkeypatch.setattr(probe, "choose_strength", None)
    second = fit_of(vectors, labels, 3)
    second.restore(arrays, info)
    second.train_epoch()
    second.train_epoch()
    assert second.strength == whole.strength
    np.testing.assert_array_equal(probabilities(second), probabilities(whole))


def test_vectors_lie_in_the_unit_ball_whatever_their_columns():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(50, 6)) * [1e-9, 1e9, 1, 1, 1, 1]
    vectors[:, 3], vectors[:, 4], vectors[7, 5] = 0.1, 0.0, 1e6
    batch = Inputs(vectors.astype(np.float32), "ball", "cpu").batch(torch.arange(50)).numpy()
    length = np.linalg.norm(batch, axis=1)
    assert np.isfinite(batch).all()
    assert length.max() == pytest.approx(1)
    assert not batch[:, 3:5].any(), "constant columns say nothing"
    assert batch[:, :2].std(0).min() > 0.1, "columns of any scale say something"


def test_mirrored_vectors_take_the_place_of_every_other_row():
    vectors, labels = clouds(400, 3)
    mirrored = vectors.copy()
    mirrored[:, 0] *= -1
    plain, both = fit_of(vectors, labels, 2), fit_of(vectors, labels, 2, mirrored=mirrored)
    given = next(rows for rows, _, _ in both.predict())
    shown = both.inputs.batch(given, mirrored=True)[:, 0]
    as_it_is = both.inputs.batch(given)[:, 0]
    assert (shown != as_it_is).all()
    for fit in (plain, both):
        fit.train_epoch()
    assert not np.array_equal(probabilities(plain), probabilities(both))


def test_it_is_the_default_for_vectors_and_for_nothing_else():
    vectors, labels = clouds(40, 2)
    dataset = dp.from_arrays(vectors, labels)
    asked = plan(dataset, Settings()).ensemble
    assert (asked.model, asked.recipe.name, asked.recipe.weight_decay) == ("linear", "probe", None)
    assert asked.epochs * 2 >= 256, "few examples take more epochs"
    assert plan(dataset, Settings(model="mlp")).ensemble.recipe.name == "fast-vectors"
    pictures = dp.from_arrays(np.zeros((8, 6, 6, 3), np.uint8), np.arange(8) % 2)
    for data, settings in ((dataset, Settings(model="mlp", recipe="probe")), (pictures, Settings(model="linear", recipe="probe"))):
        with pytest.raises(InputError, match="probe"):
            plan(data, settings)
    with pytest.raises(InputError, match="sgd"):
        dataclasses.replace(PROBE, optimiser="adam")


def test_a_run_has_every_score_and_says_its_strengths(tmp_path):
    vectors, labels = clouds(90, 3)
    dataset = dp.from_arrays(vectors, labels)
    dataset = dataclasses.replace(dataset, mirrored=vectors * np.float32(1.01))
    run = dp.score(dataset, tmp_path / "run", Settings(folds=3, epochs=4), SERIAL)
    assert not run.scores.absent
    assert all(member.strength in probe.STRENGTHS for member in run.manifest.learned)
    assert run.trace.has_mirrored
    searched = probe.search_flops(60, 2 * 12 * 3)
    assert run.manifest.training.flops == 3 * searched + 4 * 3 * int(90 * 72 * (3 * 2 / 3 + 1 + 1 / 4))
    missing = gather(run).missing["features"]
    assert "vectors" in missing
    assert "pictures" not in missing


@pytest.mark.long
def test_two_classes_with_many_wrong_labels_are_counted(tmp_path):
    vectors, labels = clouds(500, 2, wrong=0.3)
    n_wrong = int((labels != np.arange(500) % 2).sum())
    run = dp.score(dp.from_arrays(vectors, labels), tmp_path / "run", Settings(folds=5), SERIAL)
    found = dp.find_suspects(run)
    assert found.n_wrong is not None
    assert abs(found.n_wrong - n_wrong) < 0.3 * n_wrong
