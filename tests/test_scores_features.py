"""Distances to the class's median and mean, and to the centres of k-means."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.scores import features as feature_scores
from dataprune.scores import km, km_cosine, median_distance, prototype_distance

FEATURES = np.array([[0.0, 0.0], [3.0, 4.0], [100.0, 0.0], [7.0, 7.0], [3.0, 0.0]])
LABELS = np.array([0, 0, 0, 1, 0])


def test_by_hand():
    # Class 0: coordinates 0, 3, 3, 100 and 0, 0, 0, 4; medians 3 and 0. Class 1 is alone.
    assert median_distance(FEATURES, LABELS).tolist() == [3.0, 4.0, 97.0, 0.0, 0.0]


def test_against_a_naive_loop_in_small_blocks(monkeypatch):
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(60, 7)), draw.choice([0, 2, 5], 60)
    expected = []
    for row, label in zip(features, labels, strict=True):
        like = features[labels == label]
        expected.append(np.linalg.norm(row - [np.median(like[:, d]) for d in range(7)]))
    whole = median_distance(features, labels)
    np.testing.assert_allclose(whole, expected, rtol=1e-12)
    monkeypatch.setattr(feature_scores, "BLOCK_VALUES", 50)
    assert np.array_equal(median_distance(features, labels), whole)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_permuting_examples_permutes_distances_and_renaming_classes_changes_nothing(seed):
    draw = np.random.default_rng(seed)
    features, labels, order = draw.normal(size=(15, 3)), draw.integers(0, 3, 15), draw.permutation(15)
    distances = median_distance(features, labels)
    assert np.array_equal(median_distance(features[order], labels[order]), distances[order])
    assert np.array_equal(median_distance(features, 7 - labels), distances)


def test_layout_and_memory_maps_do_not_matter(tmp_path):
    features = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    labels = np.arange(20) % 3
    np.save(tmp_path / "f.npy", features)
    expected = median_distance(features, labels)
    for same in (np.asfortranarray(features), np.load(tmp_path / "f.npy", mmap_mode="r"), features.astype(np.float64)):
        assert np.array_equal(median_distance(same, labels), expected)
    half, whole = (features * 4).astype(np.float16), (features * 4).astype(np.int8)
    assert np.array_equal(median_distance(half, labels), median_distance(half.astype(np.float64), labels))
    assert np.array_equal(median_distance(whole, labels), median_distance(whole.astype(np.float64), labels))


def test_memory_is_bounded_by_the_block(monkeypatch):
    """Published: an N × N matrix."""
    monkeypatch.setattr(feature_scores, "BLOCK_VALUES", 2**14)
    features, labels = np.zeros((20_000, 16), np.float32), np.zeros(20_000, np.int64)
    tracemalloc.start()
    median_distance(features, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 8 * 8


def test_bad_rows_are_named_beyond_the_first_block(monkeypatch):
    monkeypatch.setattr(feature_scores, "BLOCK_VALUES", 4)
    with pytest.raises(InputError, match=r"at rows 3\. Leave"):
        median_distance(np.where(FEATURES == 7, np.nan, FEATURES), LABELS)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.where(FEATURES == 7, np.nan, FEATURES), LABELS, "`features` are NaN or infinite at rows 3. Leave these examples out."),
        (FEATURES, LABELS[:3], "`labels` must be as many as features: 5, got 3."),
        (FEATURES, LABELS - 1, r"`labels` must be 0 or more, got -1 \(rows 0, 1, 2, 4\)."),
        (FEATURES[:, 0], LABELS, r"`features` must be numbers of shape \(examples, dimensions\), got float64 of shape \(5,\)."),
        (
            FEATURES.astype(str),
            LABELS,
            r"`features` must be numbers of shape \(examples, dimensions\), got <U32 of shape \(5, 2\).",
        ),
    ],
)
def test_names_what_is_wrong(features, labels, message):
    with pytest.raises(InputError, match=message):
        median_distance(features, labels)


class TestKm:
    def test_by_hand(self):
        centres = [[0.0, 0.0], [100.0, 0.0]]
        assert km(FEATURES, centres).tolist() == [0.0, 5.0, 0.0, pytest.approx(98**0.5), 3.0]

    def test_cosine_by_hand(self):
        rows = np.array([[2.0, 0.0], [3.0, 3.0], [0.0, -1.0], [-5.0, 0.0]])
        expected = [0.0, 1 - 0.5**0.5, 1.0, 1.0]
        assert np.allclose(km_cosine(rows, [[7.0, 0.0], [0.0, 0.5]]), expected, atol=1e-7)

    def test_prototypes_by_hand(self):
        # Class 0 has the mean (26.5, 1); class 1 is alone.
        away = np.hypot(FEATURES[:, 0] - 26.5, FEATURES[:, 1] - 1)
        assert np.allclose(prototype_distance(FEATURES, LABELS), np.where(LABELS == 1, 0, away))

    def test_against_naive_loops_in_small_blocks(self, monkeypatch):
        monkeypatch.setattr("dataprune.clustering.BLOCK_ROWS", 7)
        draw = np.random.default_rng(0)
        x, labels = draw.normal(size=(60, 5)).astype(np.float32), draw.choice([0, 2, 5], 60)
        centres = draw.normal(size=(4, 5))
        cosines = [max(row @ c / np.linalg.norm(row) / np.linalg.norm(c) for c in centres) for row in x.astype(float)]
        assert np.allclose(km(x, centres), [min(np.linalg.norm(row - c) for c in centres) for row in x], rtol=1e-6)
        assert np.allclose(km_cosine(x, centres), 1 - np.array(cosines), atol=1e-6)
        own = [np.linalg.norm(r - x[labels == y].astype(float).mean(axis=0)) for r, y in zip(x, labels, strict=True)]
        assert np.allclose(prototype_distance(x, labels), own, rtol=1e-6)

    @given(st.integers(0, 1000))
    @settings(max_examples=20, deadline=None)
    def test_permuting_examples_permutes_scores(self, seed):
        draw = np.random.default_rng(seed)
        x, labels, order = draw.normal(size=(30, 3)), draw.integers(0, 3, 30), draw.permutation(30)
        for score in (km, km_cosine):
            assert np.allclose(score(x[order], x[:4]), score(x, x[:4])[order], atol=1e-12)
        assert np.allclose(prototype_distance(x[order], labels[order]), prototype_distance(x, labels)[order], atol=1e-12)

    @pytest.mark.parametrize("kind", [np.float16, np.float32, ">f8", np.int8])
    def test_layout_and_type_do_not_matter(self, kind):
        x = np.random.default_rng(0).integers(1, 9, (20, 4)).astype(np.float64)
        for score, about in ((km, x[:3]), (km_cosine, x[:3]), (prototype_distance, np.arange(20) % 3)):
            assert np.array_equal(score(np.asfortranarray(x.astype(kind)), about), score(x, about))

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: km(np.where(FEATURES == 7, np.nan, FEATURES), FEATURES), r"NaN or infinite at rows 3\."),
            (lambda: km_cosine(FEATURES, FEATURES[1:]), r"`features` are all zero at rows 0, which have no direction\."),
            (lambda: km_cosine(FEATURES[1:], FEATURES), r"`centres` must each have a direction, got one of zeros\."),
            (lambda: prototype_distance(FEATURES, LABELS[:3]), r"`labels` must be as many as features: 5, got 3\."),
            (lambda: prototype_distance(FEATURES[:2], LABELS), r"`labels` must be as many as features: 2, got 5\."),
        ],
    )
    def test_names_what_is_wrong(self, call, message):
        with pytest.raises(InputError, match=message):
            call()
