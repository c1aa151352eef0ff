"""Scores held against what their authors' code gives on one fixed input, where the data lie beside the project.

Where a peer departs from its paper, the test says so and whose definition is ours.
"""

import numpy as np
import pytest

from dataprune.scores import knn_scores, knn_shapley, median_distance, score_trace, zcore
from dataprune.scores.dynamics import loss_mean, tdds
from dataprune.trace import MemberTrace, Recorder, Trace

SINGLE = 1e-6  # of single precision, in which channels are stored, relative to about 1
HALF = 1e-3  # of half precision, in which the last epoch's probabilities are


OF_DATA = {"features", "labels", "probs", "copies", "epoch_probs"}
OF_PEERS = {"dual", "dynunc", "cleanlab", "pydvl", "zcore", "moderate", "paper"}


@pytest.fixture(scope="module")
def peers(shared_data):
    return np.load(shared_data / "peers" / "scores.npz")


@pytest.fixture(scope="module")
def logits(peers):
    return peers["in.logits"].astype(np.float64)


@pytest.fixture(scope="module")
def trace(peers):
    labels, logits, inputs = (peers[f"in.{name}"] for name in ("labels", "logits", "h"))
    n_members, n_epochs, n_examples, n_classes = logits.shape
    members = []
    for member in range(n_members):
        recorder = Recorder(labels, n_classes, n_epochs)
        for epoch in range(n_epochs):
            recorder.update(np.arange(n_examples), logits[member, epoch], epoch, inputs[member, epoch])
        members.append(recorder.finish())
    return Trace(members, labels)


@pytest.fixture(scope="module")
def selection(shared_data):
    """Give inputs and values; names of the two do not collide."""
    files = [np.load(shared_data / "peers" / f"selection_{name}.npz") for name in ("inputs", "values")]
    return {name: file[name] for file in files for name in file.files if name.split(".")[0] in OF_DATA | OF_PEERS}


@pytest.mark.parametrize(
    ("name", "peer", "tolerance"),
    [
        ("el2n", "el2n.data_diet", SINGLE),
        ("grand", "grand.deepcore", 2e-5),  # values up to 100
        ("forget", "forget.ccs", 0),
        ("forget_toneva", "forget_toneva.toneva", 0),
        ("aum", "aum.package", 1e-12),
        ("confidence", "confidence.cartography", SINGLE),
        ("variability", "variability.cartography", SINGLE),
        ("correctness", "correctness.cartography", SINGLE),
        ("entropy", "entropy.ccs", SINGLE),
        ("el2n_sum", "el2n_first10_sum.ccs", 4 * SINGLE),
        ("aleatoric", "aleatoric.data_iq", SINGLE),
        ("flip", "flip.plain", 0),
        ("pred_sum", "pred_sum.plain", 0),
        ("std", "std.plain64", HALF),
    ],
)
def test_equals_the_authors(trace, peers, name, peer, tolerance):
    np.testing.assert_allclose(score_trace(trace, [name])[name].values, peers[peer], atol=tolerance, rtol=0)


@pytest.mark.parametrize(("name", "peer"), [("dyn_unc", "dyn_unc_J5.dual_repo"), ("dual", "dual_J5.dual_repo")])
def test_windows_as_in_the_code_of_dual(trace, peers, name, peer):
    """It multiplies by ten, which no rank depends on; the papers do not, nor do we."""
    ours = score_trace(trace, [name], window=5)[name].values
    np.testing.assert_allclose(10 * ours, peers[peer], atol=10 * SINGLE, rtol=0)


@pytest.mark.parametrize("window", [5, 10])
def test_tdds(trace, peers, logits, window):
    """The authors add 1e-8 to a probability before its logarithm; the paper's divergence does not.

    With the same changes from epoch to epoch ours are theirs in all rows; without the addition, in those whose probabilities it
    does not reach.
    """
    p = np.exp(logits - logits.max(axis=3, keepdims=True))
    p /= p.sum(axis=3, keepdims=True)
    changes = (p[:, 1:] * np.abs(np.diff(np.log(p + 1e-8), axis=1))).sum(axis=3)
    theirs, info = peers[f"tdds_J{window}.tdds"], {"epochs": 12, "n_classes": 7, "when": "clean"}
    members = [
        MemberTrace({"kl_previous_abs": np.concatenate([np.full((1, 600), np.nan), one]), "trained_on": np.ones(600, bool)}, info)
        for one in changes
    ]
    np.testing.assert_allclose(tdds(Trace(members, trace.labels), window), theirs, atol=2e-6, rtol=1e-6)
    far = p.min(axis=(0, 1, 3)) > 1e-6
    assert far.sum() > 200
    np.testing.assert_allclose(tdds(trace, window)[far], theirs[far], rtol=1e-2, atol=1e-5)


def test_mean_loss(trace, peers):
    """Theirs is of double precision; where single precision has no probability, ours is at most log(K − 1) too little."""
    ours, theirs = loss_mean(trace), peers["mean_loss.hcat"]
    is_held = trace.channel("p_label").min(axis=(0, 1)) > 1e-30
    assert 500 < is_held.sum() < 600
    np.testing.assert_allclose(ours[is_held], theirs[is_held], atol=SINGLE, rtol=1e-5)
    assert (ours <= theirs + 1e-5).all()
    assert (ours >= theirs - np.log(6)).all()


def test_uncertainty_by_the_papers(selection):
    """DeepCore takes the most certain, and the logit for the probability; the papers' values stand beside."""
    probs, labels = selection["probs"].astype(np.float64), selection["labels"]
    recorder = Recorder(labels, 6, 1)
    recorder.update(np.arange(600), np.log(probs), 0)
    found = score_trace(Trace([recorder.finish()], labels), ["least_confidence", "top_two_margin", "entropy"])
    for name, peer in (("least_confidence", "LeastConfidence"), ("top_two_margin", "Margin"), ("entropy", "Entropy")):
        theirs = selection[f"paper.uncertainty.{peer}.score"]
        ours = {"least_confidence": 1 - found[name].values, "entropy": -found[name].values}.get(name, found[name].values)
        np.testing.assert_allclose(ours, theirs, atol=HALF)
        assert found[name].harder == (-1 if name == "top_two_margin" else 1)


@pytest.mark.parametrize("window", [5, 10])
def test_dual_and_dyn_unc_of_another_training(selection, window):
    recorder = Recorder(selection["labels"], 6, 12)
    for epoch, probs in enumerate(selection["epoch_probs"].astype(np.float64)):
        recorder.update(np.arange(600), np.log(probs), epoch)
    found = score_trace(Trace([recorder.finish()], selection["labels"]), ["dual", "dyn_unc"], window=window)
    for name, peer in (("dual", "dual"), ("dyn_unc", "dynunc")):
        np.testing.assert_allclose(10 * found[name].values, selection[f"{peer}.score.J{window}"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("k", [5, 10])
def test_outliers_as_in_cleanlab(selection, k):
    """Ours is the mean distance; cleanlab turns it by exp(−d / median) into a score that is low for outliers."""
    _, distance = knn_scores(selection["features"], selection["labels"], k)
    theirs = selection[f"cleanlab.ood.features.k{k}"]
    np.testing.assert_allclose(np.exp(-distance / np.median(distance)), theirs, atol=SINGLE)


@pytest.mark.parametrize("k", [5, 10])
def test_knn_shapley_as_in_pydvl(selection, k):
    x, labels = selection["features"], selection["labels"]
    train, test = selection["pydvl.split.train"], selection["pydvl.split.test"]
    held_out = knn_shapley(x[train], labels[train], queries=x[test], query_labels=labels[test], k=k, metric="euclidean")
    np.testing.assert_allclose(held_out, selection[f"pydvl.knn_shapley.k{k}.heldout"], atol=1e-6)
    itself = knn_shapley(x, labels, queries=x, query_labels=labels, k=k, metric="euclidean")
    theirs = selection[f"pydvl.knn_shapley.k{k}.self"]
    no_copy = np.setdiff1d(np.arange(600), selection["copies"])  # exact copies are equally far: which is nearer is anybody's choice
    np.testing.assert_allclose(itself[no_copy], theirs[no_copy], atol=2e-5)
    assert itself.sum() == pytest.approx(theirs.sum(), abs=1e-3)


def test_knn_shapley_of_cleanlab_is_an_approximation(selection):
    """Only the k neighbours of an example count there, the k-th for nothing; the paper's values, and ours, are of all."""
    ours = knn_shapley(selection["features"], selection["labels"], metric="cosine")
    theirs = selection["cleanlab.data_shapley_knn.k10.cosine"]
    assert 0.85 < np.corrcoef(ours, theirs)[0, 1] < 0.999


def test_zcore_agrees_in_distribution(selection):
    """Random points: two programs of the authors agree with each other to a correlation of .99, and so does ours with them."""
    ours = zcore(selection["features"], points=30_000)
    vectorised, loop = (selection[f"zcore.{name}"] for name in ("vectorized.seed1.n60000", "loop.seed1.n20000"))
    among = np.corrcoef(vectorised, loop)[0, 1]
    assert min(np.corrcoef(ours, one)[0, 1] for one in (vectorised, loop)) > among - 0.01
    first, second = np.sort(selection["copies"], axis=1).T
    assert (ours[first] > ours[second]).mean() == (vectorised[first] > vectorised[second]).mean() == 1


def test_median_distance_as_in_moderate(selection):
    ours = median_distance(selection["features"], selection["labels"])
    np.testing.assert_allclose(ours, selection["moderate.distance"], rtol=1e-5)
