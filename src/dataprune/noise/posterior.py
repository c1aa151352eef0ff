"""A model of how given labels come about: the probability of each true class, from networks that did not see the label.

Such networks have learned from wrong labels too, so their probabilities are of the *given* label, and not calibrated. The model:
the true class follows a distribution that the networks' probabilities determine after sharpening, and the given label follows from
the true class by a transition matrix. Both are fitted to the given labels; nothing else is known.

Source: the transition matrix as in Patrini et al. 2017, arXiv:1609.03683, learned by expectation maximisation as in Dawid and
Skene 1979, JRSS C 28; temperature by likelihood as in Guo et al. 2017, arXiv:1706.04599. Departs: all fitted together, and how far
a matrix with an entry for each pair of classes is believed is chosen by the likelihood of held-out labels.

What given labels cannot tell: people err more on examples that look ambiguous, and in the way in which these look. A share of
labels given by looks (drawn from what the networks hold for the true class) leaves the distribution of the given labels as it is,
and changes their meaning only. So this share is a judgement and no fit, made where the noise goes between classes that look alike.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from dataprune.noise.evidence import Labels, Probabilities, Table, Values
from dataprune.streams import generator

# A row of the transition matrix starts from noise into all classes alike, as if seen on so many examples; chosen among these.
STRENGTHS = (np.inf, 300.0, 30.0, 3.0)
LOWEST = 1e-4  # half precision, in which probabilities are stored, knows little below
FIT_ROWS = 20_000
MOST_CLASSES = 256  # with more, pairs of classes are too rare to learn a rate for each
ITERATIONS = 25
SURE_PRIOR = 5.0  # examples' worth of the start, beside those that are sure
MOST_NOISE = 0.9  # of what no label would tell
# The share of labels given by looks, and the correlation of the noise with the networks' confusions from which on it begins and is
# reached. Human labels have .85, noise from each class into the next .43 or less; see docs/log.md.
LOOKS = 0.2
LOOKS_FROM, LOOKS_FULL = 0.5, 0.9
TOLERANCE = 2e-5  # nats an example
RIDGE = 1e-3  # holds the bias where nothing speaks for it: adding the same to all classes changes nothing


@dataclass(frozen=True)
class Prior:
    """What is taken for granted of networks before the labels are looked at.

    Networks that have learned the noise in full leave open whether noise or classes alike explain the labels, so one `doubts`:
    noise is meant then, and the fit begins where it shows best. Ours, which saw each label a few times, do not.
    """

    learned: float  # how much of the noise they have learned, so that it must be taken out of their probabilities; all is 1
    share: float  # of labels to begin with that tell nothing
    doubts: bool


# Measured in docs/log.md.
OURS = Prior(learned=0.6, share=0.1, doubts=False)
ELSEWHERE = Prior(learned=0.8, share=0.5, doubts=True)


@dataclass(frozen=True, eq=False)
class Noise:
    """A fitted model of how given labels come about; `transition[i, j]` is P(given = j | true = i), of all labels together."""

    sharpness: float  # what log-probabilities are multiplied by
    bias: Float64[np.ndarray, " classes"]  # what is then added
    transition: Float64[np.ndarray, "classes classes"]
    learned: float  # the share of the noise that was taken out of the probabilities first
    strength: float  # how strongly the matrix was drawn to noise into all classes alike
    by_looks: float = 0.0  # the share of labels that was given by how the example looks


def fit_noise(probabilities: Probabilities, labels: Labels, prior: Prior = ELSEWHERE, *, seed: int = 0) -> Noise:
    """Fit the model to the given labels and what networks say that did not see them; of many examples 20,000 are enough."""
    rows = generator(seed, "noise", "fit").permutation(len(labels))[:FIT_ROWS]
    log_p, y = logs(probabilities[rows]), labels[rows]
    start = Noise(1.0, np.zeros(log_p.shape[1]), _alike(prior.share, y, log_p.shape[1]), prior.learned, np.inf)
    if log_p.shape[1] > MOST_CLASSES:
        return fit_from(start, log_p, y)
    halves = (slice(None, len(rows) // 2), slice(len(rows) // 2, None))
    fits, held_out = [], []
    for strength in STRENGTHS:
        begun = [_begun(start, log_p[half], y[half]) if prior.doubts and np.isfinite(strength) else start for half in halves]
        found = [fit_from(replace(begun[i], strength=strength), log_p[half], y[half]) for i, half in enumerate(halves)]
        held_out.append(np.concatenate([log_likelihoods(found[i], log_p[halves[1 - i]], y[halves[1 - i]]) for i in (0, 1)]))
        fits.append(found[0])
    noise = fit_from(fits[_chosen(held_out, prior.doubts)], log_p, y)
    return replace(noise, by_looks=_by_looks(noise, log_p, y))


def fit_from(noise: Noise, log_p: Table, labels: Labels, iterations: int = ITERATIONS) -> Noise:
    """Improve a model by expectation maximisation."""
    before = -np.inf
    for step in range(iterations):
        evidence = _unmixed(log_p, noise)
        noise = _sharpened(noise, evidence, labels)
        joint = true_given(noise, evidence, labels)
        likelihood = float(np.log(joint.sum(axis=1)).mean())
        noise = replace(noise, transition=_transition(joint, labels, noise.strength))
        if step > 3 and likelihood - before < TOLERANCE:
            break
        before = likelihood
    return noise


def true_classes(noise: Noise, probabilities: Probabilities, labels: Labels) -> Table:
    """Return P(true class | what the networks say, the given label); rows sum to 1."""
    clean = clean_probabilities(noise, logs(probabilities))
    rows = np.arange(len(labels))
    given = noise.transition[:, labels].T + noise.by_looks * clean[rows, labels][:, None]
    given[rows, labels] -= noise.by_looks
    joint = np.maximum(clean * given, 1e-12)
    joint /= joint.sum(axis=1, keepdims=True)
    return np.asarray(joint)


def clean_probabilities(noise: Noise, log_p: Table) -> Table:
    """Return the probability of each true class before the given label is looked at."""
    return np.asarray(np.exp(_log_softmax(noise.sharpness * _unmixed(log_p, noise) + noise.bias)))


def log_likelihoods(noise: Noise, log_p: Table, labels: Labels) -> Values:
    """Return the log-probability of each given label, in nats."""
    return np.asarray(np.log(true_given(noise, _unmixed(log_p, noise), labels).sum(axis=1)))


def logs(probabilities: Probabilities) -> Table:
    """Return log-probabilities, none below that of what half precision can tell."""
    return np.asarray(np.log(np.maximum(probabilities, LOWEST, dtype=np.float64)))


def true_given(noise: Noise, evidence: Table, labels: Labels) -> Table:
    """Return P(true class and the given label), from log-probabilities out of which the noise was taken."""
    return np.asarray(np.exp(_log_softmax(noise.sharpness * evidence + noise.bias)) * noise.transition[:, labels].T)


def _by_looks(noise: Noise, log_p: Table, labels: Labels) -> float:
    """Judge from where the noise goes whether labels were given by looks.

    Networks learn noise from class i into j as a confusion of i with j, so it is compared with how they confuse j with i.
    """
    if np.isinf(noise.strength) or len(noise.bias) < 3:
        return 0.0
    clean = clean_probabilities(noise, log_p)
    true = clean * noise.transition[:, labels].T
    true /= true.sum(axis=1, keepdims=True)
    confused = true.T @ clean / np.maximum(true.sum(axis=0), 1e-9)[:, None]
    pairs = ~np.eye(len(confused), dtype=bool)
    here, there = noise.transition[pairs], confused.T[pairs]
    if here.std() == 0 or there.std() == 0:
        return 0.0
    alike = float(np.corrcoef(here, there)[0, 1])
    return LOOKS * float(np.clip((alike - LOOKS_FROM) / (LOOKS_FULL - LOOKS_FROM), 0, 1))


def _chosen(held_out: list[Values], doubts: bool) -> int:
    """Choose by held-out labels whether all pairs of classes are alike (the first) or how far each has its own rate.

    Noise learned as a confusion explains labels as well as classes do that cannot be told apart: within a standard error, and
    where it is in doubt, noise is meant.
    """
    best = 1 + int(np.argmax([values.sum() for values in held_out[1:]]))
    gain = held_out[best] - held_out[0]
    allowed = float(gain.std()) * np.sqrt(len(gain)) if doubts else 0.0
    return best if gain.sum() > -allowed else 0


def _begun(start: Noise, log_p: Table, labels: Labels) -> Noise:
    """Begin a matrix with an entry for each pair where noise shows best: at the surest third of the examples of each prediction."""
    predicted = log_p.argmax(axis=1)
    ordered = np.sort(log_p, axis=1)
    lead = ordered[:, -1] - ordered[:, -2]
    counts = np.zeros((len(start.bias), len(start.bias)))
    for k in range(len(counts)):
        rows = np.flatnonzero(predicted == k)
        surest = rows[np.argsort(-lead[rows], kind="stable")[: -(-len(rows) // 3)]]
        counts[k] = np.bincount(labels[surest], minlength=len(counts))
    drawn = counts + SURE_PRIOR * start.transition
    return replace(start, transition=drawn / drawn.sum(axis=1, keepdims=True))


def _alike(share: float, labels: Labels, n_classes: int) -> Float64[np.ndarray, "classes classes"]:
    """Return the transition matrix of noise into all classes that occur alike, with a share of what no label would tell."""
    occurs = np.bincount(labels, minlength=n_classes) > 0
    return np.asarray((1 - share) * np.eye(n_classes) + share * occurs / occurs.sum())


def _unmixed(log_p: Table, noise: Noise) -> Table:
    """Take out of the probabilities the noise that the networks have learned."""
    mixed = (1 - noise.learned) * np.eye(len(noise.bias)) + noise.learned * noise.transition
    p = np.maximum(np.exp(log_p) @ np.linalg.inv(mixed), LOWEST)
    return np.asarray(np.log(p / p.sum(axis=1, keepdims=True)))


def _sharpened(noise: Noise, evidence: Table, labels: Labels) -> Noise:
    """Fit sharpness and bias to what the model now holds for the true classes."""
    from scipy.optimize import minimize

    true = true_given(noise, evidence, labels)
    true /= true.sum(axis=1, keepdims=True)

    def misfit(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the cross-entropy of a sharpness (its logarithm comes first) and a bias, and its gradient."""
        sharpness, bias = float(np.exp(parameters[0])), parameters[1:]
        log_q = _log_softmax(sharpness * evidence + bias)
        gap = np.exp(log_q) - true
        value = -float((true * log_q).sum()) + RIDGE * float(bias @ bias)
        return value, np.append((gap * evidence).sum() * sharpness, gap.sum(axis=0) + 2 * RIDGE * bias)

    start = np.append(np.log(noise.sharpness), noise.bias)
    found = minimize(misfit, start, jac=True, method="L-BFGS-B", options={"maxiter": 6}).x
    return replace(noise, sharpness=float(np.exp(found[0])), bias=np.asarray(found[1:]))


def _transition(joint: Table, labels: Labels, strength: float) -> Float64[np.ndarray, "classes classes"]:
    """Count how often each true class came to be each given one, drawn towards noise that is alike for all."""
    true = joint / joint.sum(axis=1, keepdims=True)
    counts = np.zeros((true.shape[1], true.shape[1]))
    np.add.at(counts.T, labels, true)
    told = 1 - 1 / max(2, len(np.unique(labels)))
    share = float(np.clip((1 - np.trace(counts) / len(labels)) / told, 1e-6, MOST_NOISE))
    alike = _alike(share, labels, len(counts))
    if np.isinf(strength):
        return alike
    drawn = counts + strength * alike
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def _log_softmax(values: Table) -> Table:
    moved = values - values.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))
