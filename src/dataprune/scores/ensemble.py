"""Scores of how hard an example is after the last recorded epoch; means over members."""

import numpy as np

from dataprune.errors import InputError
from dataprune.scores.dynamics import Values
from dataprune.trace import Trace


def el2n(trace: Trace) -> Values:
    """Measure the error of the prediction as a vector: ‖p − onehot(label)‖₂, in [0, √2], the mean over members, and over a picture
    and its mirror image where the members answered both (see `Recorder.finish`).

    Neither a sum nor a mean over epochs. Its value depends on how long was trained: scores of different numbers of epochs cannot
    be compared.

    Source: section 2. Departs: p comes from the pass over clean images after the epoch (with when="clean"), the mirror images, and
        how early that epoch lies and how many members are averaged (there ten) is the caller's choice.
    """
    found = trace.last("el2n").mean(axis=0, dtype=np.float64)
    answers = [one for member in range(trace.n_members) if (one := trace.mirrored(member)) is not None]
    if len(answers) < trace.n_members:
        return np.asarray(found)
    truth = np.eye(trace.n_classes, dtype=np.float32)[trace.labels]
    return np.asarray((found + np.mean([np.linalg.norm(p - truth, axis=1) for p in answers], axis=0, dtype=np.float64)) / 2)


def grand(trace: Trace) -> Values:
    """Measure the norm of the loss's gradient in the last layer: ‖p − onehot(label)‖₂ · √(‖h‖² + 1), the mean over members. h is
    the last layer's input, the 1 its bias. Source: section 2. Departs: the gradient of the last layer, not of all weights."""
    return np.asarray(trace.last("grand").mean(axis=0, dtype=np.float64))


def entropy(trace: Trace) -> Values:
    """Measure how undecided the members are: −Σ p log p in nats, in [0, log K], the mean over members. The mean of the members'
    entropies, not the entropy of their mean: members that are sure of different classes count 0 here (and high in `std`). The label
    plays no part."""
    return np.asarray(trace.last("entropy").mean(axis=0, dtype=np.float64))


def std(trace: Trace) -> Values:
    """Measure how much members disagree: the unbiased standard deviation of p over members, summed over classes. The label plays no
    part."""
    if trace.n_members < 2:
        raise InputError("std needs two members that learned, got 1. Train with more --members or --repeats.")
    mean = np.zeros((trace.n_examples, trace.n_classes))
    squares = np.zeros_like(mean)
    for member in range(trace.n_members):  # one member in memory at a time (Welford 1962)
        p = trace.member_probabilities(member).astype(np.float64)
        before = p - mean
        mean += before / (member + 1)
        squares += before * (p - mean)
    return np.asarray(np.sqrt(squares / (trace.n_members - 1)).sum(axis=1))


def pred_sum(trace: Trace) -> Values:
    """Count the members that predict the label ("true prediction sum"): 0 ... E."""
    return np.asarray((trace.last("predicted") == trace.labels).sum(axis=0, dtype=np.float64))


def second_split(trace: Trace) -> Values:
    """Return the epoch of a second training from which on the label is never named again: 1 ... T + 1; wrong labels go first.

    The second training goes on, with a schedule of its own, on what the member had not seen. The mean over members that were
    trained on the example at first.

    Source: section 3. Departs: T + 1 in place of infinity; the second split is the fold that was left out, half of the set with
        `--folds 2` only, as published; an example that was not learned at first counts too.
    """
    forgotten, seen = trace.second_split, trace.trained_on
    if len(lacking := np.flatnonzero(~seen.any(axis=0))):
        raise InputError(f"second_split needs a member that was trained on an example, and {len(lacking)} have none.")
    return np.asarray((forgotten * seen).sum(axis=0) / seen.sum(axis=0))


def least_confidence(trace: Trace) -> Values:
    """Measure 1 − the largest probability, in [0, 1 − 1/K], the mean over members. The label plays no part."""
    return _top_two(trace)[0]


def top_two_margin(trace: Trace) -> Values:
    """Measure the largest probability minus the second, in [0, 1], the mean over members. The label plays no part."""
    return _top_two(trace)[1]


def memorization(trace: Trace) -> Values:
    """Measure p(label) by the members trained on an example minus that by the others, each the mean over members, in [-1, 1].

    Needs, for each example, members of both kinds; the more, the less it is chance.

    Departs: the label's probability, which says more of few members than the share of them that predict it.
    """
    seen, p = trace.trained_on, trace.last("p_label").astype(np.float64)
    lacking = np.flatnonzero(seen.all(axis=0) | ~seen.any(axis=0))
    if len(lacking):
        raise InputError(
            f"memorization needs members that were trained on an example and others; {len(lacking)} lack one. Score with --folds."
        )
    return np.asarray((p * seen).sum(axis=0) / seen.sum(axis=0) - (p * ~seen).sum(axis=0) / (~seen).sum(axis=0))


def _top_two(trace: Trace) -> tuple[Values, Values]:
    """Return the sum of all probabilities but the largest, and the largest minus the second."""
    rest, margin = np.zeros((2, trace.n_examples))
    for member in range(trace.n_members):
        largest, second, others = np.zeros((3, trace.n_examples), np.float32)
        for p in np.ascontiguousarray(trace.member_probabilities(member).T):  # by class: faster than along short rows
            smaller = np.minimum(largest, p)
            others += smaller
            np.maximum(second, smaller, out=second)
            np.maximum(largest, p, out=largest)
        rest, margin = rest + others, margin + (largest - second)
    return rest / trace.n_members, margin / trace.n_members
