"""Nearest neighbours and close pairs, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from dataprune.errors import InputError
from dataprune.scores import neighbours
from dataprune.scores.neighbours import close_pairs, nearest

LINE = np.array([[0.0], [3.0], [3.5], [10.0]])


@pytest.fixture
def small_blocks(monkeypatch):
    """Make blocks so small that a few hundred rows take many of them."""
    monkeypatch.setattr(neighbours, "QUERY_ROWS", 37)
    monkeypatch.setattr(neighbours, "FIRST_ROWS", 29)
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", 64)
    monkeypatch.setattr(neighbours, "PAIR_VALUES", 100)


def test_on_a_line():
    distances, rows = nearest(LINE, LINE, 2, metric="euclidean", exclude_self=True)
    assert rows.tolist() == [[1, 2], [2, 0], [1, 0], [2, 1]]
    assert distances.tolist() == [[3, 3.5], [0.5, 3], [0.5, 3.5], [6.5, 7]]
    assert (distances.dtype, rows.dtype) == (np.float32, np.int64)


def test_close_pairs_on_a_line():
    distances, one, other = close_pairs(LINE, LINE, 3.0, metric="euclidean")
    assert list(zip(distances.tolist(), one.tolist(), other.tolist(), strict=True)) == [(3.0, 0, 1), (0.5, 1, 2)]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8])
def test_equals_scikit_learn(small_blocks, metric, dtype):
    draw = np.random.default_rng(0)
    x, q = ((draw.normal(size=(n, 5)) * 20).astype(dtype) for n in (500, 90))
    distances, rows = nearest(x, q, 7, metric=metric)
    theirs = NearestNeighbors(n_neighbors=7, metric=metric, algorithm="brute").fit(x.astype(float))
    there, _ = theirs.kneighbors(q.astype(float))
    assert distances == pytest.approx(there, rel=1e-5, abs=1e-6)
    # With whole numbers many are equally far, so not the rows but their distances are compared.
    away = 1 - _cosine(x, q) if metric == "cosine" else np.linalg.norm(q.astype(float)[:, None] - x.astype(float), axis=2)
    assert np.take_along_axis(away, rows, axis=1) == pytest.approx(there, rel=1e-5, abs=1e-6)


def _cosine(x, q):
    x, q = (a.astype(float) / np.linalg.norm(a.astype(float), axis=1, keepdims=True) for a in (x, q))
    return q @ x.T


@pytest.mark.parametrize(("metric", "limit"), [("cosine", 0.02), ("euclidean", 0.8)])
def test_close_pairs_equal_scikit_learn(small_blocks, metric, limit):
    x = np.random.default_rng(1).normal(size=(400, 4))
    _, found = NearestNeighbors(radius=limit, metric=metric, algorithm="brute").fit(x).radius_neighbors(x)
    wanted = {(i, j) for i, row in enumerate(found) for j in row.tolist() if j > i}
    assert len(wanted) > 50
    distances, one, other = close_pairs(x, x, limit, metric=metric, most=400)
    assert set(zip(one.tolist(), other.tolist(), strict=True)) == wanted
    assert len(one) == len(wanted)
    assert (distances <= limit).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_far_from_zero_nothing_is_lost(metric):
    x = np.random.default_rng(2).normal(size=(200, 3)) + (1e6 if metric == "euclidean" else 0)
    x = x if metric == "euclidean" else x * 1e-200
    distances, rows = nearest(x, x, 1, metric=metric, exclude_self=True)
    scaled = x - 1e6 if metric == "euclidean" else x * 1e200
    there, names = NearestNeighbors(n_neighbors=2, metric=metric, algorithm="brute").fit(scaled).kneighbors(scaled)
    assert rows[:, 0].tolist() == names[:, 1].tolist()
    assert distances[:, 0] == pytest.approx(there[:, 1], rel=1e-4, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=3, max_size=60), st.integers(0, 3))
def test_ties_go_by_row(values, seed):
    x = np.random.default_rng(seed).normal(size=(3, 4))[values]
    k = min(5, len(x) - 1)
    distances, rows = nearest(x, x, k, metric="euclidean", exclude_self=True)
    for query in range(len(x)):
        away = np.linalg.norm(x - x[query], axis=1).astype(np.float32)
        order = [row for row in np.lexsort((np.arange(len(x)), away)).tolist() if row != query]
        assert rows[query].tolist() == order[:k]
        assert distances[query] == pytest.approx(away[order[:k]], abs=1e-6)


def test_equal_rows_give_a_bounded_number_of_pairs():
    x = np.ones((3000, 4))
    distances, one, other = close_pairs(x, x, 0.1, most=3)
    assert distances.max() == 0
    assert np.bincount(one).tolist()[:2997] == [3] * 2997
    assert other[:3].tolist() == [1, 2, 3]


def test_memory_stays_bounded():
    import tracemalloc

    x = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    tracemalloc.start()
    nearest(x, x[:4096], 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6, peak  # all distances at once would be 330 MB in single precision


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "manhattan"}, "`metric` must be one of cosine, euclidean, got 'manhattan'."),
        ({"features": np.ones(3)}, "`features` must be numbers of shape (examples, dimensions), got float64 of shape (3,)."),
        ({"queries": np.ones((2, 3))}, "`queries` must have 1 columns like the features, got 3."),
        ({"k": 5}, "`k` must be from 1 to 4, got 5."),
        ({"k": 4, "exclude_self": True}, "`k` must be from 1 to 3, got 4."),
        ({"exclude_self": True, "queries": LINE[:2]}, "`queries` must be the 4 features themselves with exclude_self, got 2 rows."),
        ({"queries": np.array([[np.nan]])}, "`queries` are NaN or infinite at rows 0. Leave these examples out."),
        ({"features": LINE * np.array([[1], [1], [np.inf], [1]])}, "`features` are NaN or infinite at rows 2."),
        ({"metric": "cosine"}, "`features` are all zero at rows 0, which have no direction. Leave"),
    ],
)
def test_refuses(change, message):
    asked = {"features": LINE, "queries": LINE, "k": 1, "metric": "euclidean", "exclude_self": False} | change
    features, queries, k = (asked.pop(name) for name in ("features", "queries", "k"))
    with np.errstate(invalid="ignore"), pytest.raises(InputError) as refused:
        nearest(features, queries, k, **asked)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LINE, LINE[:2], 1.0), "`queries` must be as many as features: 4, got 2."),
        ((LINE, LINE, float("nan")), "`limit` must be at least 0, got nan."),
    ],
)
def test_close_pairs_refuse(arguments, message):
    with pytest.raises(InputError) as refused:
        close_pairs(*arguments, metric="euclidean")
    assert str(refused.value) == message


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_some_rows_are_as_if_there_were_no_others(small_blocks, metric):
    draw = np.random.default_rng(2)
    x = draw.normal(size=(200, 3))
    rows = np.sort(draw.choice(200, 70, replace=False))
    x[np.setdiff1d(np.arange(200), rows)] = np.nan
    distances, found = nearest(x, x, 4, metric=metric, exclude_self=True, rows=rows)
    wanted, among = nearest(x[rows], x[rows], 4, metric=metric, exclude_self=True)
    assert np.array_equal(found, rows[among])
    assert np.array_equal(distances, wanted)
    with pytest.raises(InputError, match="`rows` must go with exclude_self"):
        nearest(x, x, 4, rows=rows)
