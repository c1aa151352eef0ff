"""Scores of how the answer to an example changed from epoch to epoch: functions of a `Trace`, means over its members."""

import numpy as np
from jaxtyping import Bool, Float64

from dataprune.errors import InputError
from dataprune.trace import Trace


def flip(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Count how often the predicted class changes from one epoch to the next, right or wrong.

    Returns:
        In 0 ... T − 1, the mean over members; larger is harder.

    Raises:
        InputError: fewer than two epochs.
    """
    _check_epochs(trace, "flip")
    predicted = trace.channel("predicted")
    return _mean(predicted[:, 1:] != predicted[:, :-1])


def forget(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Count how often an example is right after one epoch and wrong after the next.

    An example that was never right was never forgotten and counts 0, like one that was always right, so unlearnable or wrongly
    labelled examples are not among the hardest; `forget_toneva` puts them first.

    Returns:
        In 0 ... T / 2, the mean over members; larger is harder.

    Raises:
        InputError: fewer than two epochs.
    Source: Toneva et al. 2019, arXiv:1812.05159. Departs: never learned counts 0; counted from epoch to epoch over the
        recorded passes, not each time an example is in a batch.
    """
    _check_epochs(trace, "forget")
    return _mean(_forgotten(_right(trace)))


def forget_toneva(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Count how often an example is forgotten, where one that a member never got right is the hardest.

    For such a member the count is T, more than any example can be forgotten in T epochs.

    Returns:
        In 0 ... T, the mean over members; larger is harder.

    Raises:
        InputError: fewer than two epochs.
    Source: Toneva et al. 2019, arXiv:1812.05159 (there infinite). Departs: T in place of infinity, so that a mean over members
        exists; counted from epoch to epoch over the recorded passes.
    """
    _check_epochs(trace, "forget_toneva")
    right = _right(trace)
    counts = _forgotten(right).sum(axis=1, dtype=np.float64)
    return np.asarray(np.where(right.any(axis=1), counts, float(trace.n_epochs)).mean(axis=0))


def confidence(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Average the label's probability over epochs and members.

    Returns:
        In [0, 1]; smaller is harder.
    Source: Swayamdipta et al. 2020, arXiv:2009.10795.
    """
    return np.asarray(trace.channel("p_label").mean(axis=(0, 1), dtype=np.float64))


def variability(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Measure how much the label's probability moves: its standard deviation over epochs (divided by T), the mean over members.

    Returns:
        In [0, 0.5]; larger is harder (more ambiguous: examples that are always wrong have little).

    Raises:
        InputError: fewer than two epochs.
    Source: Swayamdipta et al. 2020, arXiv:2009.10795.
    """
    _check_epochs(trace, "variability")
    return np.asarray(trace.channel("p_label").std(axis=1, dtype=np.float64).mean(axis=0))


def correctness(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Measure the share of epochs after which the label is predicted, the mean over members.

    Returns:
        In [0, 1]; smaller is harder.
    Source: Swayamdipta et al. 2020, arXiv:2009.10795. Departs: a share, not a count.
    """
    return np.asarray(_right(trace).mean(axis=(0, 1), dtype=np.float64))


def aum(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Average the margin, the label's logit minus the largest other, over all epochs and members ("area under the margin").

    Returns:
        Any real number, in logits; smaller is harder, negative where mostly another class led.
    Source: Pleiss et al. 2020, arXiv:2001.10528. Departs: one measurement after each epoch; no threshold samples.
    """
    return np.asarray(trace.channel("margin").mean(axis=(0, 1), dtype=np.float64))


def _right(trace: Trace) -> Bool[np.ndarray, "members epochs examples"]:
    return np.asarray(trace.channel("predicted") == trace.labels)


def _forgotten(right: Bool[np.ndarray, "members epochs examples"]) -> Bool[np.ndarray, "members steps examples"]:
    return np.asarray(right[:, :-1] & ~right[:, 1:])


def _mean(events: Bool[np.ndarray, "members steps examples"]) -> Float64[np.ndarray, " examples"]:
    """Count events over epochs and average the counts over members."""
    return np.asarray(events.sum(axis=1, dtype=np.float64).mean(axis=0))


def _check_epochs(trace: Trace, name: str) -> None:
    if trace.n_epochs < 2:
        raise InputError(f"{name} needs two epochs, got {trace.n_epochs}. Train with --epochs 2 or more.")
