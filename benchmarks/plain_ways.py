"""How do the plain ways of finding wrong labels judge the same evidence?

The scores, flags and counts that others use, for comparison: `find` has to beat them. Knows formulas only.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dataprune.noise.evidence import Evidence

Probabilities = Float32[np.ndarray, "examples classes"]


def plain_scores(evidence: Evidence) -> dict[str, Float64[np.ndarray, " examples"]]:
    """Return every plain score that the evidence allows, higher is more suspect.

    Returns:
        By name. `self_confidence`, `normalized_margin` and `el2n` of networks that did not see the example end in `_out`, of those
        that did in `_in`; `aum` is of the latter, `pred_sum` of all.
    """
    found: dict[str, np.ndarray] = {}
    for ending, p in (("_out", evidence.out_of_sample), ("_in", evidence.in_sample)):
        if p is not None:
            found |= {name + ending: function(p, evidence.labels) for name, function in PLAIN.items()}
    if evidence.margin is not None:
        found["aum_in"] = -np.asarray(evidence.margin, np.float64)
    if evidence.votes is not None:
        found["pred_sum"] = -evidence.votes[np.arange(len(evidence)), evidence.labels].astype(np.float64)
    return found


def self_confidence(p: Probabilities, labels: Int64[np.ndarray, " examples"]) -> Float64[np.ndarray, " examples"]:
    """Return one minus the label's probability."""
    return 1.0 - p[np.arange(len(p)), labels].astype(np.float64)


def normalized_margin(p: Probabilities, labels: Int64[np.ndarray, " examples"]) -> Float64[np.ndarray, " examples"]:
    """Return the largest other probability minus the label's."""
    rows, others = np.arange(len(p)), p.astype(np.float64)
    others[rows, labels] = -1.0
    return np.asarray(others.max(axis=1) - p[rows, labels])


def error_norm(p: Probabilities, labels: Int64[np.ndarray, " examples"]) -> Float64[np.ndarray, " examples"]:
    """Return ‖p − onehot(label)‖₂ of the joint prediction (the score `el2n` is the mean of the members' own)."""
    gap = p.astype(np.float64)
    gap[np.arange(len(p)), labels] -= 1.0
    return np.asarray(np.linalg.norm(gap, axis=1))


PLAIN: dict[str, Callable[[Probabilities, Int64[np.ndarray, " examples"]], Float64[np.ndarray, " examples"]]] = {
    "self_confidence": self_confidence,
    "normalized_margin": normalized_margin,
    "el2n": error_norm,
}


def prediction_differs(p: Probabilities, labels: Int64[np.ndarray, " examples"]) -> Bool[np.ndarray, " examples"]:
    """Flag where another class is the most probable."""
    return np.asarray(p.argmax(axis=1) != labels)


def confident_joint(p: Probabilities, labels: Int64[np.ndarray, " examples"]) -> Float64[np.ndarray, "classes classes"]:
    """Estimate how many examples of each true class carry each label.

    Returns:
        (K, K): [i, j] labelled i and truly j. Rows add up to how many are labelled so; the sum off the diagonal is the number of
        wrong labels.
    Source: Northcutt et al. 2021, arXiv:1911.00068, equations 1 and 2.
    """
    n_classes = p.shape[1]
    counts = np.bincount(labels, minlength=n_classes)
    of_label = p[np.arange(len(p)), labels].astype(np.float64)
    sums = np.bincount(labels, weights=of_label, minlength=n_classes)
    thresholds = np.divide(sums, counts, out=np.full(n_classes, np.inf), where=counts > 0)
    confident = np.where(p >= thresholds - 1e-6, p, -1.0)
    sure = confident.max(axis=1) >= 0
    joint = np.zeros((n_classes, n_classes))
    np.add.at(joint, (labels[sure], confident.argmax(axis=1)[sure]), 1.0)
    empty = (joint.sum(axis=1) == 0) & (counts > 0)
    joint[empty, empty] = 1.0
    totals = joint.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(joint, totals, out=np.zeros_like(joint), where=totals > 0) * counts[:, None])


def mixture(score: Float64[np.ndarray, " examples"]) -> Float64[np.ndarray, " examples"]:
    """Return the probability of belonging to the higher of two normal components.

    Source: as for losses in Arazo et al. 2019, arXiv:1904.11238. Departs: normal, not beta components.
    """
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(2, random_state=0).fit(score[:, None])
    return np.asarray(fitted.predict_proba(score[:, None])[:, int(fitted.means_[:, 0].argmax())])
