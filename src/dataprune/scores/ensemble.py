"""Scores of how hard an example is at the end of training: functions of a `Trace` that read its last epoch only."""

import numpy as np
from jaxtyping import Float64

from dataprune.errors import InputError
from dataprune.trace import Trace


def el2n(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Measure the error of the prediction as a vector: ‖p − onehot(label)‖₂.

    The mean over members, at the last recorded epoch: neither a sum nor a mean over epochs. Its value depends on how long was
    trained: scores of different numbers of epochs cannot be compared.

    Returns:
        In [0, √2]; larger is harder.
    Source: Paul et al. 2021, arXiv:2107.07075, section 2. Departs: p comes from the pass over clean images after the epoch (with
        when="clean"), and how early that epoch lies and how many members are averaged (there ten) is the caller's choice.
    """
    return np.asarray(trace.last("el2n").mean(axis=0, dtype=np.float64))


def grand(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Measure the norm of the loss's gradient in the last layer: ‖p − onehot(label)‖₂ · √(‖h‖² + 1).

    The mean over members, at the last epoch; h is the last layer's input, the 1 its bias.

    Returns:
        0 or more; larger is harder.
    Source: Paul et al. 2021, arXiv:2107.07075, section 2. Departs: the gradient of the last layer, not of all weights.
    """
    return np.asarray(trace.last("grand").mean(axis=0, dtype=np.float64))


def entropy(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Measure how undecided the members are: −Σ p log p, the mean over members at the last epoch.

    The mean of the members' entropies, not the entropy of their mean: members that are sure of different classes count 0 here (and
    high in `std`). The label plays no part.

    Returns:
        In [0, log K] nats; larger is harder.
    Source: Coleman et al. 2020, arXiv:1906.11829.
    """
    return np.asarray(trace.last("entropy").mean(axis=0, dtype=np.float64))


def std(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Measure how much members disagree: the standard deviation of p over members, summed over classes.

    The unbiased one (divided by E − 1), at the last epoch. The label plays no part.

    Returns:
        0 or more; larger is harder.

    Raises:
        InputError: fewer than two members.
    """
    if trace.n_members < 2:
        raise InputError("std needs two members that learned, got 1. Train with more --members.")
    mean = np.zeros((trace.n_examples, trace.n_classes))
    squares = np.zeros_like(mean)
    for member in range(trace.n_members):  # one member in memory at a time (Welford 1962)
        p = trace.member_probabilities(member).astype(np.float64)
        before = p - mean
        mean += before / (member + 1)
        squares += before * (p - mean)
    return np.asarray(np.sqrt(squares / (trace.n_members - 1)).sum(axis=1))


def pred_sum(trace: Trace) -> Float64[np.ndarray, " examples"]:
    """Count the members that predict the label, at the last epoch ("true prediction sum").

    Returns:
        Whole numbers in 0 ... E; smaller is harder.
    """
    return np.asarray((trace.last("predicted") == trace.labels).sum(axis=0, dtype=np.float64))
