"""Threshold samples: by hand, and in a run."""

import numpy as np
import pytest

import dataprune as dp
from dataprune.noise import Evidence, find
from dataprune.noise.suspects import with_threshold


def in_sample(margins, n_classes=3):
    """Return a finding of networks that were all trained on every label."""
    labels = np.arange(len(margins)) % n_classes
    p = np.full((len(margins), n_classes), 0.05)
    p[np.arange(len(margins)), labels] = 0.9
    return find(Evidence(labels, in_sample=p, margin=np.asarray(margins, np.float64)))


def test_labels_below_the_samples_are_counted_and_flagged():
    """Ten samples of each network have margins -1 to -0.1, their 99th percentile is -0.109: below it lie rows 20 to 24."""
    margins = np.full((2, 40), 3.0, np.float32)
    margins[:, 20:25] = -2.0
    margins[:, 25] = -0.05  # above the largest sample
    samples = np.zeros((2, 40), bool)
    samples[0, :10], samples[1, 10:20] = True, True
    margins[samples] = np.tile(np.linspace(-1, -0.1, 10), 2)
    before = in_sample(margins.mean(axis=0))
    assert before.n_wrong is None
    found = with_threshold(before, margins, samples)
    assert (found.n_wrong, found.n_wrong_low, found.n_wrong_high) == (5, 5, 5)
    assert np.flatnonzero(found.is_suspect).tolist() == [20, 21, 22, 23, 24]
    assert found.probability.sum() == pytest.approx(5)
    assert found.why_no_count == ""
    assert len(found.notes) == len(before.notes) - 1


def test_networks_with_samples_feed_no_score_and_count_nothing_where_they_learn_all(tmp_path):
    """A quarter of few labels made wrong is learned as the others are: a count of them would be false."""
    rng = np.random.default_rng(0)
    true = np.arange(240) % 3
    given = dp.inject_noise(true, 0.1, "uniform", n_classes=3)
    vectors = (rng.normal(size=(240, 8)) + 3 * np.eye(3, 8)[true]).astype(np.float32)
    data, serial = dp.from_arrays(vectors, given), dp.Hardware(executor="serial")
    asked = {"folds": 0, "members": 1, "epochs": 10, "model": "mlp", "recipe": "fast-vectors"}
    plain = dp.score(data, tmp_path / "plain", dp.Settings(**asked), serial)
    assert dp.find_suspects(plain).n_wrong is None
    run = dp.score(data, tmp_path / "run", dp.Settings(**asked, threshold_samples=True), serial)
    assert [one.member for one in run.manifest.threshold] == [1, 2]
    assert len(run.trace.of_members([0])) == 240
    assert run.trace.n_members == 1, "they feed no score"
    assert (run.scores["aum"].values == plain.scores["aum"].values).all()
    found = dp.find_suspects(run)
    assert found.n_wrong is None
    assert not found.is_suspect.any()
    assert any("threshold samples" in one for one in found.notes)
