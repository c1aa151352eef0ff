"""Find wrong labels: join what networks say that did not see a label with what networks say that did.

The first view gives a probability through the model of `posterior`. Networks that were trained on the label resist a wrong one
for a while, and there are more of them, but what that means differs from set to set: it is learned from the first view.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64

from dataprune.blocks import slices
from dataprune.noise.evidence import CHUNK_VALUES, Evidence, Labels, Table, Values, resisting
from dataprune.noise.fit import LOWEST
from dataprune.noise.ground import Estimate, why_no_count
from dataprune.noise.posterior import (
    ELSEWHERE,
    OURS,
    OURS_UNSEEN,
    Average,
    Prior,
    fit,
    fit_noise,
    judged,
    sample,
    share_wrong,
    wrong_odds,
)
from dataprune.noise.suspects import NO_INTERVAL, Suspects, shift_to_sum, sigmoid
from dataprune.noise.words import WORTH_WORDS, method_of, notes_of, reasons

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
LOOKS_ERROR = 0.08  # of the share of labels given by looks, which the given labels cannot tell either
LEARNED_ERROR = 0.3  # of the share of the noise that networks have learned; it cannot be told from the labels alone
MODEL_ERROR = 0.06  # relative: what remains between estimate and truth over the sets of docs/log.md, beside the rest
# Of the labels that networks miss and noise does not explain, and of how much surer they are than right: networks that have not
# learned a class are mostly taken for noise, so the estimate is rather too high than too low.
UNLEARNED_BELOW, UNLEARNED_ABOVE = 0.25, 0.1
LEAST_ERROR = 0.005  # of all labels: a set cannot be told from one with a few more or fewer wrong labels
RIDGE = 1e-3  # holds the slope of `_read_by`
WORTH_LOOKING = 50  # but of as many there is always
CERTAIN = 1.96  # standard errors on either side: 95 %


def find(evidence: Evidence, *, seed: int = 0) -> Suspects:
    """Judge every label, and estimate how many are wrong. Without `out_of_sample` evidence, networks that were trained on the
    labels have to do: they have memorised wrong ones in part, so fewer are found, and a note says so. The seed is that of
    samples."""
    average = _noise_of(evidence, seed)
    first, suggested, share = _first_view(evidence, average)
    if evidence.count_from is None:
        estimate = _count(evidence, average, first, seed)
    else:
        counted, fits = evidence.count_from, _noise_of(evidence.count_from, seed)
        estimate = _count(counted, fits, wrong_odds(fits, counted.probabilities, counted.labels), seed)
    joined = _joined(evidence, average, first)
    odds = joined + shift_to_sum(joined, estimate.n_wrong)
    probability = sigmoid(np.clip(odds, -MOST_ODDS, MOST_ODDS))
    why = why_no_count(evidence, estimate)
    unnamed = (1 - evidence.agreement) * len(evidence)
    is_counted, is_known = why == "", why not in NO_INTERVAL
    worth_words = np.maximum(probability, WORTH_WORDS * (odds >= np.sort(odds)[-min(len(odds), WORTH_LOOKING)]))
    return Suspects(
        ids=np.asarray(evidence.ids),
        labels=evidence.labels,
        suggested_label=suggested,
        probability=probability,
        score=odds,
        is_suspect=_flagged(probability) & is_counted,
        reason=reasons(evidence, suggested, worth_words, probability * share * is_counted),
        n_wrong=estimate.n_wrong if is_counted else None,
        n_wrong_low=(0.0 if why == "too_weak" else estimate.low) if is_known else None,
        n_wrong_high=max(estimate.high, unnamed if why == "too_weak" or evidence.pretrained else 0.0) if is_known else None,
        classes=evidence.classes,
        sampling=evidence.sampling,
        method=method_of(evidence),
        notes=notes_of(evidence, why),
        suggested_probability=probability * share,
        why_no_count=why,
        accuracy=evidence.out_of_sample_accuracy,
    )


def _noise_of(evidence: Evidence, seed: int) -> Average:
    return fit_noise(evidence.probabilities, evidence.labels, _prior_of(evidence), seed=seed)


def _prior_of(evidence: Evidence) -> Prior:
    """Return what is taken for granted. Networks have learned as much of the noise as they reproduce of the labels trained on."""
    if evidence.sampling == "out":
        return OURS_UNSEEN if evidence.ours else ELSEWHERE
    prior = OURS
    if evidence.sampling == "both":
        assert evidence.in_sample is not None
        known = float((evidence.in_sample.argmax(axis=1) == evidence.labels).mean())
        prior = replace(prior, learned=max(prior.learned, known))
    return prior


def _first_view(evidence: Evidence, average: Average) -> tuple[Values, Labels, Values]:
    """Return the log-odds that each label is wrong, the most probable other class, and its share of the probability of that."""
    odds, suggested, share = np.empty(len(evidence)), np.empty(len(evidence), np.int64), np.empty(len(evidence))
    for rows, some, true in judged(average, evidence.probabilities, evidence.labels):
        odds[rows] = some
        suggested[rows], share[rows] = _suggested(evidence, rows, true)
    return odds, suggested, share


def _joined(evidence: Evidence, average: Average, first: Values) -> Values:
    """Join the views to log-odds that are right but for a constant."""
    if evidence.in_sample is None or evidence.margin is None:
        return first
    if evidence.out_of_sample is None:
        return -MARGIN_ODDS * _standardised(evidence.margin)
    joined = OUT_WEIGHT * first + IN_WEIGHT * _second_view(evidence, average, sigmoid(first))
    return joined - AGAIN_WEIGHT * _standardised(evidence.margin) if evidence.retrained else joined


def _standardised(values: Values) -> Values:
    spread = float(values.std())
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1.0))


def _count(evidence: Evidence, average: Average, odds: Values, seed: int) -> Estimate:
    """Estimate how many labels are wrong, with a 95 % interval: of other examples, and of what the models cannot know."""
    n, wrong, noise = len(evidence), sigmoid(odds), average.best
    p, labels = sample(evidence.probabilities, evidence.labels, seed)
    shares = np.array([share_wrong(one, p, labels) for one in average.noises])
    share = float(average.weights @ shares)
    folds, prior = average.folds.shape[1], _prior_of(evidence)
    sampled = (folds - 1) * average.folds.var(axis=1).mean() * len(p) / n + (wrong * (1 - wrong)).mean() / n
    chosen = average.weights @ (shares - share) ** 2
    ends = [float(np.clip(noise.learned + step, 0, 1)) for step in (-LEARNED_ERROR, LEARNED_ERROR)]
    others = [
        fit(p, labels, replace(prior, learned=end), noise.strength, noise.by_class, np.arange(len(p))[None])[0] for end in ends
    ]
    learned = np.ptp([share_wrong(replace(one, by_looks=noise.by_looks), p, labels) for one in others]) / 2
    looks = [max(0.0, noise.by_looks + step) for step in (-LOOKS_ERROR, LOOKS_ERROR)] if np.isfinite(noise.strength) else [0.0]
    looked = np.ptp([share_wrong(replace(noise, by_looks=one), p, labels) for one in looks]) / 2
    fits = float(np.sqrt(sampled + chosen + learned**2 + looked**2))
    named = evidence.agreement
    unlearned = max(0.0, 1 - named - share)
    unlearned += max(0.0, float(evidence.probabilities.max(axis=1).mean(dtype=np.float64)) - named)
    networks = [float(np.hypot(MODEL_ERROR * share, error * unlearned)) for error in (UNLEARNED_BELOW, UNLEARNED_ABOVE)]
    below, above = (CERTAIN * float(np.linalg.norm((fits, one, LEAST_ERROR))) for one in networks)
    return Estimate(n * share, n * max(0.0, share - below), n * min(1.0, share + above), fits > networks[0])


def _second_view(evidence: Evidence, average: Average, first: Values) -> Values:
    """Return the log-odds that the label is wrong by the networks that were trained on it, read through the same model of the
    noise: at the end of training, or with the label as it stood on average over the epochs, which alone tells anything where
    networks have memorised their labels. Whichever agrees better with the first view is taken, and from the first view it is
    learned what it means.
    """
    assert evidence.in_sample is not None
    assert evidence.margin is not None
    seen, labels, margin = evidence.in_sample, evidence.labels, evidence.margin
    blocks = slices(len(seen), seen.shape[1], CHUNK_VALUES)  # never whole: of a thousand classes such a table is large
    resist = np.concatenate([wrong_odds(average, resisting(seen[b], labels[b], margin[b]), labels[b]) for b in blocks])
    views = (wrong_odds(average, seen, labels), resist)
    return min((_read_by(first, np.clip(odds, -MOST_ODDS, MOST_ODDS)) for odds in views), key=lambda view: view[0])[1]


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
        wrong = sigmoid(design @ weights)
        expected = np.clip(if_right + (if_wrong - if_right) * wrong, 1e-6, 1 - 1e-6)
        value = -float((first * np.log(expected) + (1 - first) * np.log(1 - expected)).mean()) + RIDGE * float(weights[1] ** 2)
        slope = (expected - first) / (expected * (1 - expected)) * (if_wrong - if_right) * wrong * (1 - wrong)
        return value, design.T @ slope / len(first) + 2 * RIDGE * np.array([0.0, weights[1]])

    found = minimize(loss, np.array([np.log(mean / (1 - mean)), 1.0]), jac=True, method="L-BFGS-B")
    return float(found.fun), np.asarray(design @ found.x)


def _suggested(evidence: Evidence, some: slice, true: Table) -> tuple[Labels, Values]:
    rows, labels, others = np.arange(len(true)), evidence.labels[some], np.log(np.maximum(true, 1e-12))
    if evidence.sampling == "both":
        assert evidence.in_sample is not None
        others = OUT_OTHERS_WEIGHT * others + np.log(np.maximum(evidence.in_sample[some], LOWEST, dtype=np.float64))
    others[rows, labels] = -np.inf
    others = np.exp(others - others.max(axis=1, keepdims=True))
    suggested = others.argmax(axis=1)
    return suggested, np.asarray(others[rows, suggested] / others.sum(axis=1))


def _flagged(probability: Values) -> Bool[np.ndarray, " examples"]:
    """Flag down to the threshold of the highest expected F1: half of it (Lipton et al. 2014, arXiv:1402.1892)."""
    falling = np.sort(probability)[::-1]
    found = np.cumsum(falling)
    best = float((2 * found / (np.arange(1, len(falling) + 1) + found[-1])).max())
    return np.asarray(probability >= max(best / 2, LOWEST_FLAGGED))
