"""Scores of how the answer to an example changed from epoch to epoch; means over members."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64

from dataprune.errors import InputError, invalid
from dataprune.trace import Trace

Values = Float64[np.ndarray, " examples"]

WINDOW = 10  # epochs, as published for dyn_unc, dual and tdds; CCS sums el2n over as many
DECAY = 0.9  # weight of the last window in tdds, as published


def flip(trace: Trace) -> Values:
    """Count how often the predicted class changes from one epoch to the next, right or wrong: 0 ... T − 1."""
    _check_epochs(trace, "flip")
    predicted = trace.channel("predicted")
    return np.asarray((predicted[:, 1:] != predicted[:, :-1]).sum(axis=1, dtype=np.float64).mean(axis=0))


def forget(trace: Trace) -> Values:
    """Count how often an example is right after one epoch and wrong after the next: 0 ... T / 2.

    An example that was never right was never forgotten and counts 0, like one that was always right, so unlearnable or wrongly
    labelled examples are not among the hardest; `forget_toneva` puts them first.

    Departs: never learned counts 0; counted from epoch to epoch over the recorded passes, not each time an example is in a batch.
    """
    _check_epochs(trace, "forget")
    return np.asarray(_n_forgotten(_right(trace)).mean(axis=0))


def forget_toneva(trace: Trace) -> Values:
    """Count how often an example is forgotten, where one that a member never got right counts T, more than any other can: 0 ... T.

    Departs: T in place of infinity, so that a mean over members exists; counted from epoch to epoch over the recorded passes.
    """
    _check_epochs(trace, "forget_toneva")
    right = _right(trace)
    return np.asarray(np.where(right.any(axis=1), _n_forgotten(right), float(trace.n_epochs)).mean(axis=0))


def confidence(trace: Trace) -> Values:
    """Average the label's probability over epochs and members."""
    return np.asarray(trace.channel("p_label").mean(axis=(0, 1), dtype=np.float64))


def variability(trace: Trace) -> Values:
    """Measure how much the label's probability moves: its standard deviation over epochs (divided by T), in [0, 0.5]. Large are
    ambiguous examples; those that are always wrong have little."""
    _check_epochs(trace, "variability")
    return np.asarray(trace.channel("p_label").std(axis=1, dtype=np.float64).mean(axis=0))


def correctness(trace: Trace) -> Values:
    """Measure the share of epochs after which the label is predicted. Departs: a share, not a count."""
    return np.asarray(_right(trace).mean(axis=(0, 1), dtype=np.float64))


def aum(trace: Trace) -> Values:
    """Average the margin, the label's logit minus the largest other, over all epochs and members ("area under the margin"). In
    logits, negative where mostly another class led. Departs: one measurement after each epoch; no threshold samples."""
    return np.asarray(trace.channel("margin").mean(axis=(0, 1), dtype=np.float64))


def aleatoric(trace: Trace) -> Values:
    """Average p(label) · (1 − p(label)) over epochs and members: what is uncertain by nature of the data, in [0, 0.25]. Large are
    examples in the middle; those that are always wrong have little."""
    p = trace.channel("p_label")
    return np.asarray((p * (1 - p)).mean(axis=(0, 1), dtype=np.float64))


def loss_mean(trace: Trace) -> Values:
    """Average the cross-entropy of the label over epochs and members, in nats. Where p(label) rounds to 0 or 1, log(1 +
    exp(−margin)) stands for it, which the loss is never below: exact for two classes, and at most log(K − 1) too little for a
    p(label) below 1e-38."""
    p, least = trace.channel("p_label"), np.finfo(np.float32).tiny
    with np.errstate(divide="ignore"):
        loss = -np.log(p)
    edge = (p < least) | (p > 0.99)
    margin = trace.channel("margin")[edge]
    bound = np.log1p(np.exp(-np.abs(margin))) - np.minimum(margin, 0)
    loss[edge] = np.where(p[edge] < least, bound, np.maximum(loss[edge], bound))
    return np.asarray(loss.mean(axis=(0, 1), dtype=np.float64))


def first_learned(trace: Trace) -> Values:
    """Count the epochs up to the first after which the label is predicted: 1 ... T; T + 1 where it never is.

    Departs: T + 1 in place of infinity, so that a mean over members exists; counted over the recorded passes.
    """
    learned = np.zeros((trace.n_members, trace.n_examples), bool)
    epochs = np.ones(trace.n_examples)
    for right in _right(trace).swapaxes(0, 1):  # epoch by epoch
        learned |= right
        epochs += (~learned).mean(axis=0)
    return epochs


# Over windows of neighbouring epochs, or up to an epoch. `window` is a number of epochs: 10, or all of fewer, if not given.


def el2n_sum(trace: Trace, window: int | None = None) -> Values:
    """Add up el2n over the first `window` epochs, the mean over members: 0 ... window · √2. Departs: of clean images."""
    width = _width(trace, window, "el2n_sum", 1)
    return np.asarray(trace.channel("el2n")[:, :width].sum(axis=1, dtype=np.float64).mean(axis=0))


def dyn_unc(trace: Trace, window: int | None = None) -> Values:
    """Average over windows the unbiased standard deviation of p(label) within each ("dynamic uncertainty"). All T − J + 1 windows
    count, as in the code of DUAL's authors (which multiplies by 10)."""
    return _over_windows(trace, window, "dyn_unc", lambda mean, std: std)


def dual(trace: Trace, window: int | None = None) -> Values:
    """Average over windows the unbiased standard deviation of p(label) times 1 − its mean: both hard and undecided. Meant for early
    epochs, as of `trace.until(30)`. A label that is never believed has little of it."""
    return _over_windows(trace, window, "dual", lambda mean, std: (1 - mean) * std)


def tdds(trace: Trace, window: int | None = None) -> Values:
    """Measure how unsteady the change from epoch to epoch is within windows, of which the last weighs most.

    The change after an epoch is Σ p |log p − log p before|. Of the J − 1 changes in a window, the norm of their distances from
    their mean counts; of windows, the sum with weights 0.9 · 0.1^(windows that follow).

    Source: the authors' code. Departs: it adds 1e-8 to probabilities before their logarithm; here nothing is added.
    """
    width = _width(trace, window, "tdds", 3)
    changes = trace.channel("kl_previous_abs")[:, 1:]
    found = np.zeros(trace.n_examples)
    for start in range(trace.n_epochs - width + 1):
        spread = changes[:, start : start + width - 1].std(axis=1) * np.sqrt(width - 1)
        found = found * (1 - DECAY) + DECAY * spread.mean(axis=0, dtype=np.float64)
    return found


def _over_windows(trace: Trace, window: int | None, name: str, measure: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Values:
    width = _width(trace, window, name, 2)
    p = trace.channel("p_label")
    n_windows = trace.n_epochs - width + 1
    found = np.zeros((trace.n_members, trace.n_examples))
    for start in range(n_windows):
        part = p[:, start : start + width]
        found += measure(part.mean(axis=1), part.std(axis=1, ddof=1))
    return np.asarray(found.mean(axis=0) / n_windows)


def _width(trace: Trace, window: int | None, name: str, least: int) -> int:
    _check_epochs(trace, name, least)
    width = min(WINDOW, trace.n_epochs) if window is None else window
    if not least <= width <= trace.n_epochs:
        raise invalid("window", f"be from {least} to {trace.n_epochs} epochs for {name}", width, "More --epochs allow wider.")
    return width


def _right(trace: Trace) -> Bool[np.ndarray, "members epochs examples"]:
    return np.asarray(trace.channel("predicted") == trace.labels.astype(np.int32))


def _n_forgotten(right: Bool[np.ndarray, "members epochs examples"]) -> Float64[np.ndarray, "members examples"]:
    return np.asarray((right[:, :-1] & ~right[:, 1:]).sum(axis=1, dtype=np.float64))


def _check_epochs(trace: Trace, name: str, least: int = 2) -> None:
    if trace.n_epochs < least:
        words = ("one epoch", "two epochs", "three epochs")[least - 1]
        raise InputError(f"{name} needs {words}, got {trace.n_epochs}. Train with --epochs {least} or more.")
