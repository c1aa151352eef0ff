"""Neighbours and the accuracy by them."""

import numpy as np
import pytest

from dataprune.errors import InputError
from dataprune.scores.quality import knn_accuracy


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
        assert knn_accuracy(x, labels, x, labels, 4, exclude_self=True) == pytest.approx(right / 70)

    def test_clear_groups_are_told_apart_and_names_do_not_matter(self):
        labels = np.arange(60) % 3
        x = (10 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(60, 3))).astype(np.float32)
        assert knn_accuracy(x, labels, x, labels, exclude_self=True) == 1.0
        assert knn_accuracy(x, 2 - labels, x, 2 - labels, exclude_self=True) == 1.0

    def test_nothing_to_learn_from(self, x):
        with pytest.raises(InputError, match="rows on both sides, got 0 and 1"):
            knn_accuracy(x[:1], np.array([0]), x[:1], np.array([0]), exclude_self=True)
