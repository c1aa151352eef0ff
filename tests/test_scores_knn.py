"""Scores by nearest neighbours: agreement and outliers, Shapley values, ZCore; by hand, by naive loops, with bad input."""

import tracemalloc
from itertools import combinations
from math import comb

import numpy as np
import pytest

from dataprune.errors import InputError
from dataprune.scores import FEATURE_SCORES, knn_scores, knn_shapley, neighbours, zcore

X = np.random.default_rng(0).normal(size=(60, 5))
Y = np.random.default_rng(1).integers(0, 3, 60)


class TestKnnScores:
    def test_by_hand(self):
        ways = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
        share, distance = knn_scores(ways, [0, 0, 0, 1], k=2)
        assert share.tolist() == [1.0, 1.0, 0.5, 0.0]
        assert distance.tolist() == pytest.approx([0.5] * 4)

    def test_against_a_naive_loop(self):
        unit = X / np.linalg.norm(X, axis=1, keepdims=True)
        far = 1 - unit @ unit.T
        np.fill_diagonal(far, np.inf)
        near = np.argsort(far, axis=1)[:, :7]
        share, distance = knn_scores(X, Y, 7)
        np.testing.assert_allclose(share, (Y[near] == Y[:, None]).mean(axis=1))
        np.testing.assert_allclose(distance, np.take_along_axis(far, near, axis=1).mean(axis=1), atol=1e-6)

    def test_a_wrong_label_and_an_outlier_are_hardest(self):
        around = np.r_[np.eye(4)[np.arange(40) % 2] + 0.01, [[0.0, 0.0, 1.0, 0.0]]]
        labels = np.r_[np.arange(40) % 2, 1]
        labels[6] = 1
        share, distance = knn_scores(around, labels)
        assert share[:40].argmin() == 6
        assert FEATURE_SCORES["knn_agreement"].harder == -1
        assert distance.argmax() == 40
        assert FEATURE_SCORES["outlier_distance"].harder == 1

    def test_of_few_examples_all_others_are_taken(self):
        assert knn_scores(X[:3], Y[:3])[0].shape == (3,)

    @pytest.mark.parametrize(
        ("features", "labels", "message"),
        [
            (X[:1], [0], "`k` must be from 1 to 0"),
            (X, Y[:5], "`labels` must be as many as features: 60, got 5"),
            (X * (np.arange(60) != 3)[:, None], Y, "all zero at rows 3"),
            (np.where(np.arange(60)[:, None] == 4, np.nan, X), Y, "NaN or infinite at rows 4"),
        ],
    )
    def test_refuses(self, features, labels, message):
        with pytest.raises(InputError, match=message):
            knn_scores(features, labels)


def shapley_by_definition(x, y, query, label, k):
    """Average over all orders what an example adds to the share of the k nearest that have the label."""

    def utility(rows):
        nearest = sorted(rows, key=lambda row: abs(x[row] - query))[:k]
        return sum(y[row] == label for row in nearest) / k

    n = len(x)
    found = np.zeros(n)
    for row in range(n):
        others = [one for one in range(n) if one != row]
        for size in range(n):
            for rows in combinations(others, size):
                found[row] += (utility([*rows, row]) - utility(rows)) / comb(n - 1, size) / n
    return found


class TestShapley:
    @pytest.mark.parametrize("k", [1, 2, 3])
    def test_is_the_definition(self, k):
        x, y = np.array([0.0, 1.0, 2.5, 4.0, 7.0, 7.5]), np.array([0, 1, 0, 0, 1, 1])
        expected = np.mean([shapley_by_definition(x, y, q, label, k) for q, label in ((0.4, 0), (5.1, 1))], axis=0)
        found = knn_shapley(x[:, None], y, queries=np.array([[0.4], [5.1]]), query_labels=[0, 1], k=k, metric="euclidean")
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_without_queries_all_others_classify_an_example(self):
        x, y = np.array([0.0, 1.0, 2.5, 4.0, 7.0]), np.array([0, 1, 0, 0, 1])
        expected = np.zeros(5)
        for one in range(5):
            others = np.delete(np.arange(5), one)
            expected[others] += shapley_by_definition(x[others], y[others], x[one], y[one], 2) / 5
        np.testing.assert_allclose(knn_shapley(x[:, None], y, k=2, metric="euclidean"), expected, atol=1e-12)

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_adds_up_to_the_share_of_right_neighbours_in_any_blocks(self, metric, monkeypatch):
        whole = knn_shapley(X, Y, k=4, metric=metric)
        unit = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
        far = np.linalg.norm(unit[:, None] - unit, axis=2)
        np.fill_diagonal(far, np.inf)
        assert whole.sum() == pytest.approx((Y[np.argsort(far, axis=1)[:, :4]] == Y[:, None]).mean())
        monkeypatch.setattr(neighbours, "SHAPLEY_VALUES", 500)
        np.testing.assert_allclose(knn_shapley(X, Y, k=4, metric=metric), whole, atol=1e-12)
        assert np.array_equal(knn_shapley(X, Y, k=4, metric=metric), knn_shapley(X, Y, k=4, metric=metric))

    def test_no_matrix_of_all_pairs(self, monkeypatch):
        monkeypatch.setattr(neighbours, "SHAPLEY_VALUES", 2**15)
        monkeypatch.setattr(neighbours, "MOST_THREADS", 2)
        x = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
        tracemalloc.start()
        knn_shapley(x, np.arange(3000) % 3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3000 * 3000 * 4 / 2

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"k": 60}, "`k` must be from 1 to 59, got 60"),
            ({"k": 0}, "`k` must be from 1 to 59, got 0"),
            ({"labels": Y[:4]}, "`labels` must be one for each row: 60, got 4"),
            ({"queries": X[:2], "query_labels": [0]}, "`query_labels` must be one for each row: 2, got 1"),
            ({"queries": X[:2]}, "`query_labels` must be given with queries"),
            ({"queries": X[:2, :3], "query_labels": [0, 1]}, "`queries` must have 5 columns"),
            ({"metric": "manhattan"}, "`metric` must be one of cosine, euclidean, got 'manhattan'"),
            ({"features": np.where(np.arange(60)[:, None] == 4, np.inf, X)}, "NaN or infinite at rows 4"),
        ],
    )
    def test_refuses(self, change, message):
        with np.errstate(invalid="ignore"), pytest.raises(InputError, match=message):
            knn_shapley(**({"features": X, "labels": Y} | change))


class TestZCore:
    def test_credit_and_blame_sum_to_nothing_and_follow_the_seed(self):
        found = zcore(X, points=500)
        assert found.sum() == pytest.approx(0, abs=1e-9)
        assert np.array_equal(found, zcore(X, points=500))
        assert not np.array_equal(found, zcore(X, points=500, seed=1))

    def test_two_examples_by_hand(self):
        """Each point is nearer to one of the two, and blames the other."""
        one, other = zcore(np.array([[0.0, 0.0], [1.0, 1.0]]), points=100)
        assert one == -other
        assert abs(one) <= 100

    def test_what_lies_alone_counts_more_than_what_is_crowded(self):
        crowd = np.random.default_rng(0).normal(size=(80, 2)) * 0.01
        found = zcore(np.r_[crowd, [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]]], points=2000)
        assert found[80:].min() > np.quantile(found[:80], 0.9)

    def test_of_copies_the_first_is_kept(self):
        found = zcore(np.repeat(X[:10], 3, axis=0), points=2000).reshape(10, 3)
        assert (found[:, :1] > found[:, 1:]).all()
        np.testing.assert_allclose(found[:, 1], found[:, 2])

    def test_columns_that_are_the_same_for_all(self):
        assert np.isfinite(zcore(np.c_[X[:, :1], np.ones(60)], points=200)).all()
        assert np.isfinite(zcore(X[:, :1], points=200)).all()
        assert np.isfinite(zcore(np.ones((200, 3)), points=50)).all()

    @pytest.mark.parametrize(
        ("features", "options", "message"),
        [
            (X[:1], {}, "`features` must be at least 2, got 1"),
            (X, {"points": 0}, "`points` must be at least 1, got 0"),
            (np.where(np.arange(60)[:, None] == 4, np.nan, X), {}, "NaN or infinite at rows 4"),
        ],
    )
    def test_refuses(self, features, options, message):
        with pytest.raises(InputError, match=message):
            zcore(features, **options)
