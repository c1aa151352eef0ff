"""A model of how given labels come about: the probability of each true class, from networks that did not see the label.

Such networks have learned from wrong labels too, so their probabilities are of the *given* label, and not calibrated. The model:
the true class follows a distribution that the networks' probabilities determine after sharpening, and the given label follows from
the true class by a transition matrix. Both are fitted to the given labels; nothing else is known.

Source: the transition matrix as in Patrini et al. 2017, arXiv:1609.03683, learned by expectation maximisation as in Dawid and
Skene 1979, JRSS C 28; temperature by likelihood as in Guo et al. 2017, arXiv:1706.04599, and a scale by class as in Kull et al.
2019, arXiv:1910.12656; fits averaged by held-out likelihood after Yao et al. 2018, arXiv:1704.02030. Departs: all fitted
together, and how far a matrix with an entry for each pair of classes is believed is weighed by the likelihood of held-out labels.

What given labels cannot tell: people err more on examples that look ambiguous, and in the way in which these look. A share of
labels given by looks (drawn from what the networks hold for the true class) leaves the distribution of the given labels as it is,
and changes their meaning only. So this share is a judgement and no fit, made where the noise goes between classes that look alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dataprune.blocks import slices
from dataprune.noise.evidence import CHUNK_VALUES, Labels, Probabilities, Table, Values
from dataprune.noise.fit import MIXED_FLOOR, Noise, alike, em, held_out, leaky_logs, surest
from dataprune.streams import generator

# A row of the transition matrix starts from noise into all classes alike, as if seen on so many examples; averaged over these.
STRENGTHS = (np.inf, 300.0, 30.0, 3.0)
FIT_ROWS = 20_000
FIT_NUMBERS = 1_000_000  # rows times classes
FOLDS, FEW_FOLDS = 5, 2
FEW_ROWS = 5_000  # from which on two folds tell as much as five
REPEATED_ROWS, MOST_REPEATS = 4_000, 10  # the folds of a small set are drawn again, while no more rows than so many are left out
MOST_CLASSES = 256  # with more, pairs of classes are too rare to learn a rate for each
# With fewer labels, or labels for each entry, the scale is one number: free ones would explain noise as confusions of the networks.
FEWEST_BY_CLASS, ROWS_EACH = 1_000, 10
FREE_ERRORS = 2.0  # standard errors by which free ones must explain labels left out better, to weigh as much
# A fit of less weight is left out, and one that expects more wrong labels than the heaviest already below the second: where hardly
# any label is wrong it would rank alone.
WORTH_WEIGHT, WORTH_MORE = 0.01, 0.1
CHUNK_ROWS = 65_536  # judged at once, at most
# The correlation of the noise with the networks' confusions from which on labels are held for given by looks in part, and in full.
# Human labels have .85, noise from each class into the next .43 or less; see docs/log.md.
LOOKS_FROM, LOOKS_FULL = 0.5, 0.9


@dataclass(frozen=True)
class Prior:
    """What is taken for granted of networks before the labels are looked at. Networks that have learned the noise in full leave
    open whether noise or classes alike explain the labels, so one `doubts`: noise is meant then, and the fit begins where it shows
    best. Ours, which saw each label a few times, do not."""

    learned: float  # how much of the noise they have learned, so that it must be taken out of their probabilities; all is 1
    share: float  # of labels to begin with that tell nothing
    doubts: bool
    looks: float  # the share of labels given by looks, where the noise goes between classes that look alike


# Measured in docs/log.md.
OURS = Prior(learned=0.6, share=0.1, doubts=False, looks=0.2)
ELSEWHERE = Prior(learned=0.8, share=0.5, doubts=True, looks=0.0)
OURS_UNSEEN = replace(ELSEWHERE, looks=OURS.looks)  # of a run's networks, those alone that did not see the label


@dataclass(frozen=True, eq=False)
class Average:
    """Models that explain the labels, by weight; `folds` are the shares of wrong labels by models fitted without a fold."""

    noises: tuple[Noise, ...]
    weights: Values
    folds: Float64[np.ndarray, "repeats folds"]

    @property
    def best(self) -> Noise:
        return self.noises[int(self.weights.argmax())]


def fit_noise(probabilities: Probabilities, labels: Labels, prior: Prior = ELSEWHERE, *, seed: int = 0) -> Average:
    """Fit models to the given labels and what networks say that did not see them, and weigh them by labels left out of the fit. Of
    many examples a sample is enough."""
    p, y = sample(probabilities, labels, seed)
    n, n_classes = p.shape
    strengths = STRENGTHS if n_classes <= MOST_CLASSES else STRENGTHS[:1]
    kinds = [
        (strength, by_class)
        for by_class in (False, True)[: 1 + (n >= max(FEWEST_BY_CLASS, ROWS_EACH * n_classes**2))]
        for strength in strengths
    ]
    everything = np.arange(n)[None]
    fits = [fit(p, y, prior, *kind, everything)[0] for kind in kinds]
    if len(fits) == 1:
        return Average(tuple(fits), np.ones(1), np.full((1, 1), share_wrong(fits[0], p, y)))
    n_folds = min(n, FOLDS if n < FEW_ROWS else FEW_FOLDS)
    repeats = int(np.clip(REPEATED_ROWS // n, 1, MOST_REPEATS))
    draw = generator(seed, "noise", "folds")
    dealt = np.stack([draw.permutation(n)[: n // n_folds * n_folds].reshape(n_folds, -1) for _ in range(repeats)])
    left_out = dealt.reshape(repeats * n_folds, -1)
    kept = np.stack([np.setdiff1d(one.ravel(), part, assume_unique=True) for one in dealt for part in one])
    folded = [fit(p, y, prior, *kind, kept) for kind in kinds]
    logs = np.zeros((len(kinds), n))
    for found, told in zip(folded, logs, strict=True):
        np.add.at(told, left_out, held_out(p[left_out], y[left_out], found))
    strong, free = (np.array(one) for one in zip(*kinds, strict=True))
    weights = weigh(logs / repeats, np.isinf(strong), free, prior.doubts)
    expected = np.array([share_wrong(one, p, y) for one in fits])
    is_more = expected > expected[int(weights.argmax())]
    worth = np.flatnonzero(weights >= np.where(is_more, WORTH_MORE, WORTH_WEIGHT))
    weights = weights[worth] / weights[worth].sum()
    shares = np.array([[share_wrong(folded[place][fold], p, y) for fold in range(len(kept))] for place in worth])
    noises = tuple(replace(fits[place], by_looks=_by_looks(fits[place], p, y, prior.looks)) for place in worth)
    return Average(noises, weights, (weights @ shares).reshape(repeats, n_folds))


def sample(probabilities: Probabilities, labels: Labels, seed: int) -> tuple[Probabilities, Labels]:
    """Draw the rows that models are fitted to; all where they are few."""
    most = int(np.clip(FIT_NUMBERS // probabilities.shape[1], FIT_ROWS // 5, FIT_ROWS))
    rows = generator(seed, "noise", "fit").permutation(len(labels))[:most]
    return np.asarray(probabilities[rows], np.float32), labels[rows]


def fit(p: Probabilities, y: Labels, prior: Prior, strength: float, by_class: bool, rows: Int64[np.ndarray, "fits rows"]) -> Noise:
    """Fit a model to each of some sets of examples."""
    begun, n_classes = [], p.shape[1]
    for one in rows:
        transition = alike(prior.share, y[one], n_classes)
        begun.append(surest(p[one], y[one], transition) if prior.doubts and np.isfinite(strength) else transition)
    count = len(rows)
    scale = np.broadcast_to(np.eye(n_classes), (count, n_classes, n_classes))
    start = Noise(scale, np.zeros((count, n_classes)), np.stack(begun), prior.learned, strength, by_class)
    return em(p[rows], y[rows], start)


def weigh(
    logs: Float64[np.ndarray, "fits examples"],
    alike: Bool[np.ndarray, " fits"],
    by_class: Bool[np.ndarray, " fits"],
    doubts: bool,
) -> Float64[np.ndarray, " fits"]:
    """Weigh fits by the log-probabilities of labels left out of them; of some all pairs of classes are `alike`, of some the scale
    is free `by_class`. Confusions of the networks explain what noise does as well. So a free scale has to win beyond chance; and
    within a standard error, where it is in doubt, noise between pairs of classes is meant."""
    from scipy.special import softmax

    weights = np.zeros(len(logs))
    free = _preferred(logs, by_class, ~by_class, -FREE_ERRORS)
    for kind, share in ((by_class, free), (~by_class, 1 - free)):
        pairs = _preferred(logs, kind & ~alike, kind & alike, 1.0 if doubts else 0.0)
        for some, part in ((kind & ~alike, pairs), (kind & alike, 1 - pairs)):
            weights[some] = share * part * softmax(logs[some].sum(axis=1)) if some.any() else 0.0
    return weights


def _preferred(
    logs: Float64[np.ndarray, "fits examples"], these: Bool[np.ndarray, " fits"], others: Bool[np.ndarray, " fits"], errors: float
) -> float:
    """Return how far the best of `these` fits is believed over the best of the `others`, begun with so many standard errors."""
    from scipy.special import ndtr

    if not (these.any() and others.any()):
        return float(these.any())
    totals = logs.sum(axis=1)
    one, other = (int(np.where(some, totals, -np.inf).argmax()) for some in (these, others))
    gain = logs[one] - logs[other]
    return float(ndtr(gain.sum() / (float(gain.std()) * np.sqrt(len(gain)) + 1e-9) + errors))


def judged(average: Average, probabilities: Probabilities, labels: Labels) -> Iterator[tuple[slice, Values, Table]]:
    """Yield rows, the log-odds that each label is wrong, and P(true class | what the networks say, the given label), whose rows sum
    to 1. The log-odds are not cut off: they tell any two examples apart that the networks tell apart."""
    for some in slices(len(labels), max(probabilities.shape[1], CHUNK_VALUES // CHUNK_ROWS), CHUNK_VALUES):
        p, y = probabilities[some], labels[some]
        rows, joint = np.arange(len(y)), np.full(p.shape, -np.inf)
        for noise, weight in zip(average.noises, average.weights, strict=True):
            one = _log_joint(noise, p, y)
            np.logaddexp(joint, one - _log_sum(one)[:, None] + np.log(weight), out=joint)
        true, own = np.exp(joint), joint[rows, y]
        joint[rows, y] = -np.inf
        yield some, _log_sum(joint) - own, true


def wrong_odds(average: Average, probabilities: Probabilities, labels: Labels) -> Values:
    """Return the log-odds that each label is wrong."""
    return np.concatenate([odds for _, odds, _ in judged(average, probabilities, labels)])


def share_wrong(noise: Noise, probabilities: Probabilities, labels: Labels) -> float:
    joint = _log_joint(noise, probabilities, labels)
    own = joint[np.arange(len(labels)), labels]
    return float(1.0 - np.exp(own - _log_sum(joint)).mean())


def clean_log_probabilities(noise: Noise, probabilities: Probabilities) -> Table:
    """Return the log-probability of each true class before the given label is looked at."""
    p = np.maximum(probabilities, np.float32(1e-37), dtype=np.float64)
    logs = leaky_logs(np.maximum(p @ noise.unmixing, MIXED_FLOOR * p))
    values = (logs @ noise.scale.T if noise.by_class else logs * noise.scale.diagonal()) + noise.bias
    return np.asarray(values - _log_sum(values)[:, None])


def _log_joint(noise: Noise, probabilities: Probabilities, labels: Labels) -> Table:
    """Return log P(true class and the given label | what the networks say)."""
    clean, rows = clean_log_probabilities(noise, probabilities), np.arange(len(labels))
    given = noise.transition[:, labels].T
    if noise.by_looks:
        given = given + noise.by_looks * np.exp(clean[rows, labels])[:, None]
        given[rows, labels] -= noise.by_looks
    return np.asarray(clean + np.log(np.maximum(given, 1e-12)))


def _by_looks(noise: Noise, p: Probabilities, labels: Labels, share: float) -> float:
    """Judge from where the noise goes whether labels were given by looks. Networks learn noise from class i into j as a confusion
    of i with j, so it is compared with how they confuse j with i."""
    if share == 0 or np.isinf(noise.strength) or len(noise.bias) < 3:
        return 0.0
    joint = _log_joint(noise, p, labels)
    true, clean = np.exp(joint - _log_sum(joint)[:, None]), np.exp(clean_log_probabilities(noise, p))
    confused = true.T @ clean / np.maximum(true.sum(axis=0), 1e-9)[:, None]
    pairs = ~np.eye(len(confused), dtype=bool)
    here, there = noise.transition[pairs], confused.T[pairs]
    if here.std() == 0 or there.std() == 0:
        return 0.0
    correlation = float(np.corrcoef(here, there)[0, 1])
    return share * float(np.clip((correlation - LOOKS_FROM) / (LOOKS_FULL - LOOKS_FROM), 0, 1))


def _log_sum(values: Table) -> Values:
    """Return the logarithm of each row's sum of exponentials."""
    most = values.max(axis=1)
    return np.asarray(most + np.log(np.exp(values - most[:, None]).sum(axis=1)))
