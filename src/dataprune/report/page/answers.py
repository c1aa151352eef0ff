"""What did the ensemble answer, example by example and epoch by epoch?

Reads a trace once, in chunks. Knows whom an answer may be taken from (networks that did not see the example, where there are
such); does not know how it is shown.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from dataprune.trace import Trace

TOP = 3  # classes kept for each example


@dataclass(frozen=True, eq=False)
class EnsemblePredictions:
    """The mean probabilities of the last epoch, in short, and what happened before.

    Attributes:
        which: whose answers: "out" of members that did not train on the example, "in" of those that did, "all" of both.
        top_classes: the most probable classes of each example, best first.
        top_probabilities: theirs.
        p_label: the probability of the given label.
        vote: by epoch, the share of examples whose label most members name (a tie goes to the lower class).
        seen: by epoch, how often a member is right on an example it trained on.
        held_out: the same on examples it did not train on; NaN where there are none.
        changed: by epoch, how often a member's answer differs from the epoch before; NaN at the first.
    """

    which: Literal["out", "in", "all"]
    top_classes: Int32[np.ndarray, "examples top"]
    top_probabilities: Float32[np.ndarray, "examples top"]
    p_label: Float32[np.ndarray, " examples"]
    vote: Float64[np.ndarray, " epochs"]
    seen: Float64[np.ndarray, " epochs"]
    held_out: Float64[np.ndarray, " epochs"]
    changed: Float64[np.ndarray, " epochs"]

    @property
    def predicted(self) -> Int32[np.ndarray, " examples"]:
        """The most probable class of each example."""
        return self.top_classes[:, 0]


def answers(trace: Trace) -> EnsemblePredictions:
    """Read from a trace what the page says about answers.

    Returns:
        Answers of members that did not see the example where every example has such; where all members saw all, theirs; else the
        mean of all members.
    """
    seen_by = trace.trained_on
    which: Literal["out", "in", "all"] = "out" if (~seen_by).any(axis=0).all() else "in" if seen_by.all() else "all"
    top = min(TOP, trace.n_classes)
    classes = np.empty((trace.n_examples, top), np.int32)
    probabilities = np.empty((trace.n_examples, top), np.float32)
    p_label = np.empty(trace.n_examples, np.float32)
    counts = np.zeros((4, trace.n_epochs))
    at = 0
    for chunk in trace.chunks():
        rows = slice(at, at + chunk.n_examples)
        p = chunk.probabilities(which)
        classes[rows], probabilities[rows] = _largest(p, top)
        p_label[rows] = p[np.arange(len(p)), chunk.labels]
        counts += _counted(chunk)
        at = rows.stop
    n_seen, n_held = int(seen_by.sum()), int((~seen_by).sum())
    vote, seen, held, changed = counts
    changed = changed / (trace.n_members * trace.n_examples)
    changed[0] = np.nan
    none = np.full(trace.n_epochs, np.nan)
    return EnsemblePredictions(
        which,
        classes,
        probabilities,
        p_label,
        vote / trace.n_examples,
        seen / n_seen if n_seen else none,
        held / n_held if n_held else none,
        changed,
    )


def confusion(
    labels: Int64[np.ndarray, " examples"], predicted: Int32[np.ndarray, " examples"], n_classes: int
) -> Int64[np.ndarray, "given predicted"]:
    """Count how often each given label (row) met each answer (column).

    Example:
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1], np.int32), 2).tolist()
        [[1, 1], [0, 1]]
    """
    flat = np.bincount(labels * n_classes + predicted, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes).astype(np.int64)


def _largest(p: Float32[np.ndarray, "examples classes"], top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `top` largest of each row, largest first; of equals the lower class."""
    if p.shape[1] > 4 * top:  # a full sort of a thousand classes takes too long
        found = np.sort(np.argpartition(-p, top - 1, axis=1)[:, :top], axis=1)
    else:
        found = np.broadcast_to(np.arange(p.shape[1]), p.shape)
    values = np.take_along_axis(p, found, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(found, order, axis=1).astype(np.int32), np.take_along_axis(values, order, axis=1)


def _counted(chunk: Trace) -> Float64[np.ndarray, "kinds epochs"]:
    """Count by epoch: examples whose label the vote names, right answers of members on seen and on held-out examples, changes."""
    predicted, labels, n_classes = chunk.channel("predicted"), chunk.labels, chunk.n_classes
    seen_by = chunk.trained_on[:, None, :]
    right = predicted == labels
    counts = np.zeros((4, chunk.n_epochs))
    offset = np.arange(chunk.n_examples) * n_classes
    for epoch in range(chunk.n_epochs):
        votes = np.bincount((predicted[:, epoch] + offset).ravel(), minlength=chunk.n_examples * n_classes)
        counts[0, epoch] = (votes.reshape(-1, n_classes).argmax(axis=1) == labels).sum()
    counts[1] = (right & seen_by).sum(axis=(0, 2))
    counts[2] = (right & ~seen_by).sum(axis=(0, 2))
    counts[3, 1:] = (predicted[:, 1:] != predicted[:, :-1]).sum(axis=(0, 2))
    return counts
