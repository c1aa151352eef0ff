"""Nearest neighbours and close pairs against a plain loop; how good features are by the labels of neighbours."""

import numpy as np
import pytest

from dataprune.errors import InputError
from dataprune.scores.neighbours import close_pairs, knn_accuracy, nearest

LINE = np.array([[0.0], [3.0], [3.5], [10.0]])


def distances_of(x, q, metric):
    x, q = x.astype(float), q.astype(float)
    if metric == "euclidean":
        return np.linalg.norm(q[:, None] - x, axis=2)
    x, q = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, q))
    return 1 - q @ x.T


def test_on_a_line():
    distances, rows = nearest(LINE, None, 2, metric="euclidean")
    assert rows.tolist() == [[1, 2], [2, 0], [1, 0], [2, 1]]
    assert distances.tolist() == [[3, 3.5], [0.5, 3], [0.5, 3.5], [6.5, 7]]
    assert (distances.dtype, rows.dtype) == (np.float32, np.int64)


def test_close_pairs_on_a_line():
    distances, one, other = close_pairs(LINE, None, 3.0, metric="euclidean")
    assert list(zip(distances.tolist(), one.tolist(), other.tolist(), strict=True)) == [(3.0, 0, 1), (0.5, 1, 2)]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8])
def test_equals_a_plain_loop(metric, dtype):
    draw = np.random.default_rng(0)
    x, q = ((draw.normal(size=(n, 5)) * 20).astype(dtype) for n in (500, 90))
    distances, rows = nearest(x, q, 7, metric=metric)
    away = distances_of(x, q, metric)
    there = np.sort(away, axis=1)[:, :7]
    # With whole numbers many are equally far, so not the rows but their distances are compared.
    assert distances == pytest.approx(there, rel=1e-5, abs=1e-6)
    assert np.take_along_axis(away, rows, axis=1) == pytest.approx(there, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("metric", "limit"), [("cosine", 0.02), ("euclidean", 0.8)])
@pytest.mark.parametrize("is_other", [False, True])
def test_close_pairs_equal_a_plain_loop(metric, limit, is_other):
    x = np.random.default_rng(1).normal(size=(400, 4))
    mirrored = x[:, ::-1] if is_other else x
    away = distances_of(x, mirrored, metric)
    wanted = {(min(i, j), max(i, j)) for i, j in np.argwhere(away <= limit).tolist() if i != j}
    assert len(wanted) > 50
    distances, one, other = close_pairs(x, mirrored if is_other else None, limit, metric=metric, most=400)
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == sorted(wanted)
    assert distances == pytest.approx(
        away[other, one] if not is_other else np.minimum(away[other, one], away[one, other]), abs=1e-6
    )


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_far_from_zero_nothing_is_lost(metric):
    x = np.random.default_rng(2).normal(size=(200, 3))
    distances, rows = nearest(x + 1e6 if metric == "euclidean" else x * 1e-200, None, 1, metric=metric)
    away = distances_of(x, x, metric)
    np.fill_diagonal(away, np.inf)
    assert rows[:, 0].tolist() == away.argmin(axis=1).tolist()
    assert distances[:, 0] == pytest.approx(away.min(axis=1), rel=1e-3, abs=1e-9)


def test_equal_rows_give_a_bounded_number_of_pairs():
    distances, one, _ = close_pairs(np.ones((3000, 4)), None, 0.1, most=3)
    assert distances.max() < 1e-6
    assert 3000 <= len(one) <= 9000


def test_memory_stays_bounded():
    import tracemalloc

    x = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    tracemalloc.start()
    nearest(x, x[:4096], 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6, peak  # all distances at once would be 330 MB in single precision


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ({"metric": "manhattan"}, "metric", "cosine, euclidean, got 'manhattan'"),
        ({"features": np.ones(3)}, "features", r"shape \(examples, dimensions\), got float64 of shape \(3,\)"),
        ({"queries": np.ones((2, 3))}, "queries", "1 columns like the features, got 3"),
        ({"k": 5}, "k", "from 1 to 4, got 5"),
        ({"k": 4, "queries": None}, "k", "from 1 to 3, got 4"),
        ({"queries": np.array([[np.nan]])}, "queries", "NaN or infinite at rows 0. Leave these examples out"),
        ({"features": LINE * np.array([[1], [1], [np.inf], [1]])}, "features", "NaN or infinite at rows 2"),
        ({"metric": "cosine"}, "features", "all zero at rows 0, which have no direction"),
    ],
)
def test_refuses(change, name, said):
    asked = {"features": LINE, "queries": LINE, "k": 1, "metric": "euclidean"} | change
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match=rf"^`{name}` .*{said}"):
        nearest(**asked)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32)


class TestAccuracy:
    def test_by_hand(self):
        known = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
        labels = np.array([0, 0, 1])
        queries = np.array([[1, 0.05], [0.1, 1], [0.1, 1]], np.float32)
        assert knn_accuracy(known, labels, queries, np.array([0, 1, 0]), k=2) == pytest.approx(2 / 3)

    def test_agrees_with_a_plain_loop(self, x):
        labels = np.random.default_rng(1).integers(0, 3, 70)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        right = 0
        for row in range(70):
            cosine = unit @ unit[row]
            cosine[row] = -np.inf
            votes = np.zeros(3)
            for near in np.argsort(-cosine)[:4]:
                votes[labels[near]] += np.exp(cosine[near] / 0.07)
            right += votes.argmax() == labels[row]
        assert knn_accuracy(x, labels, None, labels, 4) == pytest.approx(right / 70)

    def test_clear_groups_are_told_apart_and_names_do_not_matter(self):
        labels = np.arange(60) % 3
        x = (10 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(60, 3))).astype(np.float32)
        assert knn_accuracy(x, labels, None, labels) == 1.0
        assert knn_accuracy(x, 2 - labels, None, 2 - labels) == 1.0
