"""Which of the given labels are wrong, and how many?

Joins two views of every label. The first are networks that never saw it: `posterior` turns what they say into a probability. The
second are networks that were trained on it: they resist a wrong label for a while, and there are more of them, but how much their
resistance means differs from set to set. So its meaning is learned from the first view. Knows arrays; true labels play no part.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dataprune.noise.evidence import Evidence
from dataprune.noise.posterior import FIT_ROWS, Noise, fit_from, fit_noise, logs, true_classes
from dataprune.noise.suspects import Suspects
from dataprune.noise.words import method_in_words, reasons
from dataprune.streams import generator

# The two views err on the same hard examples, so their log-odds must not be added as if they were independent. The weights are
# those that fit the sets of docs/log.md; they hardly differ between kinds of noise.
UNSEEN_WEIGHT = 0.35
SEEN_WEIGHT = 0.8
LOWEST_FLAGGED = 0.3  # a label that is right with more than 70 % is not flagged, however few others there are
MOST_ODDS = 13.0  # log-odds: a probability nearer to 0 or 1 than two in a million is not claimed
RESAMPLES = 12
RESAMPLED_STEPS = 8
LEARNED_RANGE = (0.3, 0.9)  # of the share of noise that networks have learned; it cannot be told from the labels alone
MODEL_ERROR = (
    0.08  # relative: what remains between estimate and truth over the sets of docs/log.md, beside the rest of the interval
)
CERTAIN = 1.96  # standard errors on either side: 95 %


@dataclass(frozen=True)
class Count:
    """How many labels are wrong, with the ends of a 95 % interval."""

    estimate: float
    low: float
    high: float


def find(evidence: Evidence, *, seed: int = 0) -> Suspects:
    """Judge every label.

    Args:
        evidence: what networks say. Without `unseen`, those that were trained on the labels have to do: they know wrong labels by
            heart in part, so fewer are found, and a note says so.
        seed: of samples.

    Returns:
        The finding, with a probability for each label and an estimate of how many are wrong that does not need to know it.
    """
    noise = fit_noise(evidence.probabilities, evidence.labels, seed=seed)
    true = true_classes(noise, evidence.probabilities, evidence.labels)
    rows = np.arange(len(evidence))
    first = 1.0 - true[rows, evidence.labels]
    count = _count(evidence, noise, first, seed)
    odds = _log_odds(first)
    if evidence.seen is not None and evidence.margin is not None:
        second = _second_view(evidence, first)
        odds = _to_sum(UNSEEN_WEIGHT * odds + SEEN_WEIGHT * second, count.estimate)
    odds = np.clip(odds, -MOST_ODDS, MOST_ODDS)
    probability = _sigmoid(odds)
    suggested, share = _suggested(evidence, true)
    return Suspects(
        ids=np.asarray(evidence.ids),
        labels=evidence.labels,
        suggested_label=suggested,
        probability=probability,
        score=odds,
        is_suspect=_flagged(probability),
        reason=reasons(evidence, suggested, probability, probability * share),
        n_wrong=count.estimate,
        n_wrong_low=count.low,
        n_wrong_high=count.high,
        classes=evidence.classes,
        sampling=evidence.sampling,
        method=method_in_words(evidence),
        notes=_notes(evidence),
        suggested_probability=probability * share,
    )


def _count(evidence: Evidence, noise: Noise, first: Float64[np.ndarray, " examples"], seed: int) -> Count:
    """Estimate how many labels are wrong; the interval is of resampled examples and of what the model cannot know."""
    n_examples = len(evidence)
    estimate = float(first.sum())
    rows = generator(seed, "noise", "resample").permutation(n_examples)[: FIT_ROWS // 2]
    log_p, labels = logs(evidence.probabilities[rows]), evidence.labels[rows]
    draw = generator(seed, "noise", "bootstrap")
    shares = []
    for _ in range(RESAMPLES):
        drawn = draw.integers(0, len(rows), len(rows))
        found = fit_from(noise, log_p[drawn], labels[drawn], RESAMPLED_STEPS)
        shares.append(_share_wrong(found, log_p[drawn], labels[drawn]))
    sampled = float(np.std(shares)) * np.sqrt(len(rows) / n_examples)
    ends = [_share_wrong(fit_from(replace(noise, learned=learned), log_p, labels), log_p, labels) for learned in LEARNED_RANGE]
    modelled = (max(ends) - min(ends)) / 2
    error = n_examples * float(np.sqrt(sampled**2 + modelled**2 + (MODEL_ERROR * estimate / n_examples) ** 2))
    return Count(estimate, max(0.0, estimate - CERTAIN * error), min(float(n_examples), estimate + CERTAIN * error))


def _share_wrong(noise: Noise, log_p: Float64[np.ndarray, "rows classes"], labels: Int64[np.ndarray, " rows"]) -> float:
    return float(1.0 - true_classes(noise, np.exp(log_p), labels)[np.arange(len(labels)), labels].mean())


def _second_view(evidence: Evidence, first: Float64[np.ndarray, " examples"]) -> Float64[np.ndarray, " examples"]:
    """Give the log-odds that the label is wrong by the networks that were trained on it.

    `first` serves as labels that are wrong at known rates: were the label wrong, it would be μ1 on average, were it right, μ0, and
    both follow from `first` being calibrated. A logistic regression through that channel learns what resistance means here.

    Source: the forward correction of Patrini et al. 2017, arXiv:1609.03683, with soft labels.
    """
    from scipy.optimize import minimize

    assert evidence.seen is not None
    assert evidence.margin is not None
    features = np.stack([_against(evidence.seen, evidence.labels), -np.asarray(evidence.margin, np.float64)], axis=1)
    spread = features.std(axis=0)
    design = np.column_stack([np.ones(len(features)), (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)])
    mean = float(np.clip(first.mean(), 1e-6, 1 - 1e-6))
    if_wrong = float((first**2).mean()) / mean
    if_right = float((first * (1 - first)).mean()) / (1 - mean)

    def loss(weights: Float64[np.ndarray, " weights"]) -> tuple[float, Float64[np.ndarray, " weights"]]:
        wrong = _sigmoid(design @ weights)
        expected = np.clip(if_right + (if_wrong - if_right) * wrong, 1e-6, 1 - 1e-6)
        value = -float((first * np.log(expected) + (1 - first) * np.log(1 - expected)).mean()) + RIDGE * float(
            weights[1:] @ weights[1:]
        )
        slope = (expected - first) / (expected * (1 - expected)) * (if_wrong - if_right) * wrong * (1 - wrong)
        return value, design.T @ slope / len(first) + 2 * RIDGE * np.append(0.0, weights[1:])

    start = np.array([np.log(mean / (1 - mean)), 1.0, 1.0])
    return np.asarray(design @ minimize(loss, start, jac=True, method="L-BFGS-B").x)


RIDGE = 1e-3


def _against(
    probabilities: Float64[np.ndarray, "examples classes"], labels: Int64[np.ndarray, " examples"]
) -> Float64[np.ndarray, " examples"]:
    """Give the log-odds of any other class against the label."""
    p = np.maximum(probabilities, 1e-4, dtype=np.float64)
    label = p[np.arange(len(p)), labels]
    return np.asarray(np.log(p.sum(axis=1) - label) - np.log(label))


def _suggested(
    evidence: Evidence, true: Float64[np.ndarray, "examples classes"]
) -> tuple[Int64[np.ndarray, " examples"], Float64[np.ndarray, " examples"]]:
    """Give the most probable other class, and its share of the probability that the label is wrong."""
    rows, others = np.arange(len(evidence)), np.log(np.maximum(true, 1e-12))
    others[rows, evidence.labels] = -np.inf
    others = np.exp(others - others.max(axis=1, keepdims=True))
    suggested = others.argmax(axis=1)
    return suggested, np.asarray(others[rows, suggested] / others.sum(axis=1))


def _flagged(probability: Float64[np.ndarray, " examples"]) -> Bool[np.ndarray, " examples"]:
    """Flag down to the threshold of the highest expected F1: half of it (Lipton et al. 2014, arXiv:1402.1892)."""
    falling = np.sort(probability)[::-1]
    found = np.cumsum(falling)
    best = float((2 * found / (np.arange(1, len(falling) + 1) + found[-1])).max())
    return np.asarray(probability >= max(best / 2, LOWEST_FLAGGED))


def _to_sum(odds: Float64[np.ndarray, " examples"], total: float) -> Float64[np.ndarray, " examples"]:
    """Move log-odds by a constant so that the probabilities add up to `total`."""
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _sigmoid(odds + middle).sum() > total else (middle, high)
    return odds + (low + high) / 2


def _log_odds(probability: Float64[np.ndarray, " examples"]) -> Float64[np.ndarray, " examples"]:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p) - np.log1p(-p))


def _sigmoid(odds: Float64[np.ndarray, " examples"]) -> Float64[np.ndarray, " examples"]:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -60.0, 60.0))))


def _notes(evidence: Evidence) -> tuple[str, ...]:
    notes = []
    counts = np.bincount(evidence.labels, minlength=evidence.n_classes)
    never = [evidence.classes[index] for index in np.flatnonzero(counts == 0)]
    if never:
        notes.append(f"no example is labelled {_several_names(never)}")
    if evidence.sampling == "in":
        notes.append(
            "every network was trained on every label, wrong ones too, so some are known by heart and the estimates are too low; "
            "score with --folds 5 for networks that did not see them"
        )
    return tuple(notes)


def _several_names(names: list[str]) -> str:
    from dataprune.errors import listed

    return listed(map(repr, names), most=3)
