"""Find wrong labels: join what networks say that did not see a label with what networks say that did.

The first view gives a probability through the model of `posterior`. Networks that were trained on the label resist a wrong one
for a while, and there are more of them, but what that means differs from set to set: it is learned from the first view.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64

from dataprune.noise.evidence import Evidence, Labels, Probabilities, Table, Values
from dataprune.noise.ground import agreement, why_no_count
from dataprune.noise.posterior import ELSEWHERE, FIT_ROWS, OURS, Noise, fit_from, fit_noise, logs, true_classes
from dataprune.noise.suspects import Suspects
from dataprune.noise.words import WORTH_WORDS, method_of, notes_of, reasons
from dataprune.streams import generator

# The two views err on the same hard examples, so their log-odds must not be added as if they were independent. The weights are
# those that fit the sets of docs/log.md; they hardly differ between kinds of noise.
OUT_WEIGHT = 0.35
IN_WEIGHT = 0.8
# Where networks were trained again without suspects, what they say of a label that is surely wrong lies below what noise leaves,
# and the model does not tell the surest apart. So the bare margin counts too: log-odds for each standard deviation.
AGAIN_WEIGHT = 0.6
# Which other class it is: the posterior's log-odds by this, those of the networks that saw the example by one.
OUT_OTHERS_WEIGHT = 0.5
# Where all networks saw every label: log-odds for each standard deviation of the margin, and nothing to learn them from.
MARGIN_ODDS = 3.0
LOWEST_FLAGGED = 0.3  # a label that is right with more than 70 % is not flagged, however few others there are
MOST_ODDS = 13.0  # log-odds: a probability nearer to 0 or 1 than two in a million is not claimed
RESAMPLES = 12
RESAMPLED_STEPS = 8
LOOKS_ERROR = 0.08  # of the share of labels given by looks, which the given labels cannot tell either
LEARNED_ERROR = 0.3  # of the share of the noise that networks have learned; it cannot be told from the labels alone
MODEL_ERROR = 0.08  # relative: what remains between estimate and truth over the sets of docs/log.md, beside the rest
LEAST_ERROR = 0.005  # of all labels: a set cannot be told from one with a few more or fewer wrong labels
RIDGE = 1e-3  # holds the slope of `_read_by`
WORTH_LOOKING = 50  # but of as many there is always
CERTAIN = 1.96  # standard errors on either side: 95 %


def find(evidence: Evidence, *, seed: int = 0) -> Suspects:
    """Judge every label, and estimate how many are wrong.

    Without `out_of_sample` evidence, networks that were trained on the labels have to do: they have memorised wrong ones in part,
    so fewer are found, and a note says so. The seed is that of samples.
    """
    judges = evidence.probabilities
    noise = _noise_of(evidence, seed)
    true = true_classes(noise, judges, evidence.labels)
    first = 1.0 - true[np.arange(len(evidence)), evidence.labels]
    count_from = evidence if evidence.count_from is None else evidence.count_from
    first_noise = noise if count_from is evidence else _noise_of(count_from, seed)
    n_wrong, low, high = _count(count_from, first_noise, seed)
    odds = _to_sum(_joined(evidence, noise, first), n_wrong)
    probability = _sigmoid(np.clip(odds, -MOST_ODDS, MOST_ODDS))
    suggested, share = _suggested(evidence, true)
    why = why_no_count(evidence, n_wrong)
    is_counted = why == ""
    rated = np.maximum(probability, WORTH_WORDS * (odds >= np.sort(odds)[-min(len(odds), WORTH_LOOKING)]))
    return Suspects(
        ids=np.asarray(evidence.ids),
        labels=evidence.labels,
        suggested_label=suggested,
        probability=probability,
        score=odds,
        is_suspect=_flagged(probability) & is_counted,
        reason=reasons(evidence, suggested, rated, probability * share),
        n_wrong=n_wrong if is_counted else None,
        n_wrong_low=low if is_counted else None,
        n_wrong_high=high if is_counted else None,
        classes=evidence.classes,
        sampling=evidence.sampling,
        method=method_of(evidence),
        notes=notes_of(evidence, why),
        suggested_probability=probability * share,
        why_no_count=why,
        accuracy=None if evidence.sampling == "in" else agreement(evidence),
    )


def _noise_of(evidence: Evidence, seed: int) -> Noise:
    """Fit the noise. Networks have learned as much of it as they reproduce of the labels that they were trained on."""
    prior = ELSEWHERE if evidence.sampling == "out" else OURS
    if evidence.sampling == "both":
        assert evidence.in_sample is not None
        known = float((evidence.in_sample.argmax(axis=1) == evidence.labels).mean())
        prior = replace(prior, learned=max(prior.learned, known))
    return fit_noise(evidence.probabilities, evidence.labels, prior, seed=seed)


def _joined(evidence: Evidence, noise: Noise, first: Values) -> Values:
    """Join the views to log-odds that are right but for a constant."""
    if evidence.in_sample is None or evidence.margin is None:
        return _log_odds(first)
    if evidence.out_of_sample is None:
        return -MARGIN_ODDS * _standardised(evidence.margin)
    joined = OUT_WEIGHT * _log_odds(first) + IN_WEIGHT * _second_view(evidence, noise, first)
    return joined - AGAIN_WEIGHT * _standardised(evidence.margin) if evidence.retrained else joined


def _standardised(values: Values) -> Values:
    spread = float(values.std())
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1.0))


def _count(evidence: Evidence, noise: Noise, seed: int) -> tuple[float, float, float]:
    """Estimate how many labels are wrong, with a 95 % interval: of resampled examples, and of what the model cannot know."""
    n_examples, judges = len(evidence), evidence.probabilities
    estimate = n_examples * _share_wrong(noise, judges, evidence.labels)
    rows = generator(seed, "noise", "resample").permutation(n_examples)[: FIT_ROWS // 2]
    log_p, labels = logs(judges[rows]), evidence.labels[rows]
    draw = generator(seed, "noise", "bootstrap")
    shares = []
    for _ in range(RESAMPLES):
        drawn = draw.integers(0, len(rows), len(rows))
        found = fit_from(noise, log_p[drawn], labels[drawn], RESAMPLED_STEPS)
        shares.append(_share_wrong(found, np.exp(log_p[drawn]), labels[drawn]))
    sampled = float(np.std(shares)) * np.sqrt(len(rows) / n_examples)
    ends = [float(np.clip(noise.learned + step, 0, 1)) for step in (-LEARNED_ERROR, LEARNED_ERROR)]
    others = [fit_from(replace(noise, learned=end), log_p, labels) for end in ends]
    learned = np.ptp([_share_wrong(other, judges[rows], labels) for other in others]) / 2
    looks = [max(0.0, noise.by_looks + step) for step in (-LOOKS_ERROR, LOOKS_ERROR)] if np.isfinite(noise.strength) else [0.0]
    looked = np.ptp([_share_wrong(replace(noise, by_looks=share), judges[rows], labels) for share in looks]) / 2
    parts = (sampled, learned, looked, MODEL_ERROR * estimate / n_examples, LEAST_ERROR)
    error = n_examples * float(np.linalg.norm(parts))
    return estimate, max(0.0, estimate - CERTAIN * error), min(float(n_examples), estimate + CERTAIN * error)


def _share_wrong(noise: Noise, probabilities: Probabilities, labels: Labels) -> float:
    return float(1.0 - true_classes(noise, probabilities, labels)[np.arange(len(labels)), labels].mean())


def _second_view(evidence: Evidence, noise: Noise, first: Values) -> Values:
    """Return the log-odds that the label is wrong by the networks that were trained on it.

    They are read through the same model of the noise, at the end of training and with the label as it stood on average over the
    epochs: where networks have memorised their labels, only the latter tells anything. Whichever agrees better with the first view
    is taken, and from the first view it is learned what it means.
    """
    assert evidence.in_sample is not None
    rows, judges = np.arange(len(evidence)), (evidence.in_sample, evidence.resisting)
    wrong = [1.0 - true_classes(noise, one, evidence.labels)[rows, evidence.labels] for one in judges]
    return min((_read_by(first, _log_odds(one)) for one in wrong), key=lambda view: view[0])[1]


def _read_by(first: Values, odds: Values) -> tuple[float, Values]:
    """Scale and move log-odds until they agree with the first view; give the disagreement that is left, and the result.

    The first view serves as labels that are wrong at known rates: were the given label wrong, it would be μ1 on average, were it
    right, μ0, and both follow from its being calibrated. A logistic regression is fitted through that channel.

    Source: the forward correction of Patrini et al. 2017, arXiv:1609.03683, with soft labels.
    """
    from scipy.optimize import minimize

    design = np.column_stack([np.ones(len(odds)), _standardised(odds)])
    mean = float(np.clip(first.mean(), 1e-6, 1 - 1e-6))
    if_wrong = float((first**2).mean()) / mean
    if_right = float((first * (1 - first)).mean()) / (1 - mean)

    def loss(weights: Float64[np.ndarray, " weights"]) -> tuple[float, Float64[np.ndarray, " weights"]]:
        wrong = _sigmoid(design @ weights)
        expected = np.clip(if_right + (if_wrong - if_right) * wrong, 1e-6, 1 - 1e-6)
        value = -float((first * np.log(expected) + (1 - first) * np.log(1 - expected)).mean()) + RIDGE * float(weights[1] ** 2)
        slope = (expected - first) / (expected * (1 - expected)) * (if_wrong - if_right) * wrong * (1 - wrong)
        return value, design.T @ slope / len(first) + 2 * RIDGE * np.array([0.0, weights[1]])

    found = minimize(loss, np.array([np.log(mean / (1 - mean)), 1.0]), jac=True, method="L-BFGS-B")
    return float(found.fun), np.asarray(design @ found.x)


def _suggested(evidence: Evidence, true: Table) -> tuple[Labels, Values]:
    """Return the most probable other class, and its share of the probability that the label is wrong."""
    rows, others = np.arange(len(evidence)), np.log(np.maximum(true, 1e-12))
    if evidence.sampling == "both":
        assert evidence.in_sample is not None
        others = OUT_OTHERS_WEIGHT * others + logs(evidence.in_sample)
    others[rows, evidence.labels] = -np.inf
    others = np.exp(others - others.max(axis=1, keepdims=True))
    suggested = others.argmax(axis=1)
    return suggested, np.asarray(others[rows, suggested] / others.sum(axis=1))


def _flagged(probability: Values) -> Bool[np.ndarray, " examples"]:
    """Flag down to the threshold of the highest expected F1: half of it (Lipton et al. 2014, arXiv:1402.1892)."""
    falling = np.sort(probability)[::-1]
    found = np.cumsum(falling)
    best = float((2 * found / (np.arange(1, len(falling) + 1) + found[-1])).max())
    return np.asarray(probability >= max(best / 2, LOWEST_FLAGGED))


def _to_sum(odds: Values, total: float) -> Values:
    """Move log-odds by a constant so that the probabilities add up to `total`."""
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _sigmoid(odds + middle).sum() > total else (middle, high)
    return odds + (low + high) / 2


def _log_odds(probability: Values) -> Values:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p) - np.log1p(-p))


def _sigmoid(odds: Values) -> Values:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -60.0, 60.0))))
