"""Distance to the class's median feature vector."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.scores import geometry, median_distance

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
    monkeypatch.setattr(geometry, "BLOCK_VALUES", 50)
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
    monkeypatch.setattr(geometry, "BLOCK_VALUES", 2**14)
    features, labels = np.zeros((20_000, 16), np.float32), np.zeros(20_000, np.int64)
    tracemalloc.start()
    median_distance(features, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 8 * 8


def test_bad_rows_are_named_beyond_the_first_block(monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK_VALUES", 4)
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
