"""Labels made wrong on purpose: exact counts, the right targets, by seed and id."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.noise import KINDS, inject_noise
from dataprune.noise.inject import LOOK_ALIKES

TRUTH = np.repeat(np.arange(10), [30, 5, 12, 40, 1, 9, 20, 33, 7, 43])
RATED = [kind for kind in KINDS if kind != "matrix"]
MATRIX = np.array([[0.75, 0.25, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])


def moved(truth, wrong):
    """Count pairs (true, given) that differ."""
    changed = truth != wrong
    pairs, counts = np.unique(np.stack([truth[changed], wrong[changed]]), axis=1, return_counts=True)
    return {tuple(pair): int(count) for pair, count in zip(pairs.T.tolist(), counts, strict=True)}


@pytest.mark.parametrize(("rate", "count"), [(0.1, 20), (0.2, 40), (0.123, 25), (0.9, 180)])
@pytest.mark.parametrize("kind", ["uniform", "pairwise"])
def test_of_all_an_exact_number_is_wrong(kind, rate, count):
    assert int((inject_noise(TRUTH, rate, kind, n_classes=10) != TRUTH).sum()) == count


def test_per_class_takes_the_same_share_of_each():
    wrong = inject_noise(TRUTH, 0.3, "per-class", n_classes=10)
    sizes = np.bincount(TRUTH)
    assert np.bincount(TRUTH[wrong != TRUTH], minlength=10).tolist() == [int(0.3 * size + 0.5) for size in sizes]


def test_pairwise_moves_each_class_into_the_next_and_the_last_into_the_first():
    assert set(moved(TRUTH, inject_noise(TRUTH, 0.5, "pairwise", n_classes=10))) <= {(k, (k + 1) % 10) for k in range(10)}


def test_look_alike_moves_only_the_pairs_that_people_confuse():
    wrong = inject_noise(TRUTH, 0.4, "look-alike", n_classes=10)
    counts = np.bincount(TRUTH)
    expected = {pair: int(0.4 * counts[pair[0]] + 0.5) for pair in LOOK_ALIKES}
    assert moved(TRUTH, wrong) == {pair: count for pair, count in expected.items() if count}


def test_uniform_reaches_every_other_class_about_alike():
    truth = np.repeat(np.arange(5), 4000)
    pairs = moved(truth, inject_noise(truth, 0.5, "uniform", n_classes=5))
    assert len(pairs) == 20
    # 10,000 fall into 20 pairs: 500 each, with a standard deviation of 22.
    assert max(abs(count - 500) for count in pairs.values()) < 5 * 22


def test_a_matrix_gives_exact_counts():
    truth = np.repeat([0, 1, 2], [8, 3, 6])
    wrong = inject_noise(truth, kind="matrix", n_classes=3, matrix=MATRIX)
    assert moved(truth, wrong) == {(0, 1): 2, (2, 0): 3}


def test_a_matrix_rounds_by_largest_remainders():
    wrong = inject_noise(np.zeros(10, int), kind="matrix", n_classes=3, matrix=[[0.55, 0.24, 0.21], [0, 1, 0], [0, 0, 1]])
    assert np.bincount(wrong).tolist() == [6, 2, 2]


@pytest.mark.parametrize("kind", RATED)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), rate=st.floats(0.01, 0.6))
def test_order_of_rows_plays_no_part(kind, seed, rate):
    order = np.random.default_rng(seed).permutation(len(TRUTH))
    ids = np.array([f"picture {row}" for row in range(len(TRUTH))])
    straight = inject_noise(TRUTH, rate, kind, n_classes=10, ids=ids, seed=seed)
    shuffled = inject_noise(TRUTH[order], rate, kind, n_classes=10, ids=ids[order], seed=seed)
    assert shuffled.tolist() == straight[order].tolist()


@pytest.mark.parametrize("kind", RATED)
def test_a_higher_rate_leaves_what_a_lower_one_made_wrong(kind):
    low, high = (inject_noise(TRUTH, rate, kind, n_classes=10) for rate in (0.2, 0.5))
    changed = low != TRUTH
    assert changed.any()
    assert low[changed].tolist() == high[changed].tolist()


def test_seeds_differ_and_the_labels_given_stay():
    before = TRUTH.copy()
    assert inject_noise(TRUTH, 0.2, n_classes=10, seed=1).tolist() != inject_noise(TRUTH, 0.2, n_classes=10, seed=2).tolist()
    assert before.tolist() == TRUTH.tolist()


BAD = [
    (
        {"kind": "unifrom"},
        "`kind` must be one of look-alike, matrix, pairwise, per-class, uniform, got 'unifrom'. Did you mean 'uniform'?",
    ),
    ({"rate": None}, "`rate` must be in (0, 1), got None. 0.1 makes one label in ten wrong."),
    ({"rate": 10}, "`rate` must be in (0, 1), got 10. 0.1 makes one label in ten wrong."),
    ({"rate": float("nan")}, "`rate` must be in (0, 1), got nan. 0.1 makes one label in ten wrong."),
    ({"n_classes": 3}, "`n_classes` must be at least 2 and above every label, got 3."),
    ({"matrix": MATRIX}, "`matrix` must be given with kind 'matrix', and only with it, got one, and kind 'uniform'."),
    ({"kind": "matrix"}, "`matrix` must be given with kind 'matrix', and only with it, got none."),
    ({"kind": "matrix", "matrix": MATRIX}, "`rate` must be left out with kind 'matrix', which holds the rates, got 0.1."),
    (
        {"kind": "matrix", "rate": None, "matrix": MATRIX},
        "`matrix` must have 10 rows and columns, one for each class, got a shape of (3, 3).",
    ),
    ({"ids": ["a", "b"]}, "`ids` must have one entry for each of the 200 labels, got 2."),
    ({"ids": ["a"] * 200}, "`ids` must be unique, got 'a' more than once."),
    (
        {"kind": "look-alike", "n_classes": 11},
        "kind 'look-alike' knows CIFAR-10's classes, and these are 11. Give a matrix instead.",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_what_is_refused(call, message):
    with pytest.raises(InputError) as refused:
        inject_noise(TRUTH, **({"rate": 0.1, "n_classes": 10} | call))
    assert str(refused.value) == message


def test_a_bad_matrix_is_refused_with_its_row():
    for row in ([0.5, 0.4, 0.0], [1.5, -0.5, 0.0], [np.nan, 1.0, 0.0]):
        with pytest.raises(
            InputError, match=r"`matrix` must hold shares of at least 0 that sum to 1 in each row, got .* in row 2\."
        ):
            inject_noise([0, 1, 2], kind="matrix", n_classes=3, matrix=[[1, 0, 0], row, [0, 0, 1]])
