"""What the ensemble predicts: example by example, and how often it is right epoch by epoch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from dataprune.trace import Trace

TOP = 3  # classes kept for each example


@dataclass(frozen=True, eq=False)
class EnsemblePredictions:
    """The mean probabilities of the last epoch, in short, and what happened before.

    Attributes:
        which: whose predictions: "out" of members that did not train on the example, "in" of those that did, "all" of both.
        top_classes, top_probabilities: the most probable classes of each example, best first.
        p_label: the probability of the given label.
        vote: the share of examples whose label most members name (a tie goes to the lower class).
        trained, held_out: how often a member is right on an example it did or did not train on; NaN where there are none. What a
            later round left out as a suspect is neither.
        changed: how often a member's prediction differs from the epoch before; NaN at the first.
    """

    which: Literal["out", "in", "all"]
    top_classes: Int32[np.ndarray, "examples top"]
    top_probabilities: Float32[np.ndarray, "examples top"]
    p_label: Float32[np.ndarray, " examples"]
    vote: Float64[np.ndarray, " epochs"]
    trained: Float64[np.ndarray, " epochs"]
    held_out: Float64[np.ndarray, " epochs"]
    changed: Float64[np.ndarray, " epochs"]

    @property
    def predicted(self) -> Int32[np.ndarray, " examples"]:
        """The most probable class of each example."""
        return self.top_classes[:, 0]


def predictions_of(trace: Trace, dealt: Bool[np.ndarray, "members examples"] | None = None) -> EnsemblePredictions:
    """Read a trace once, in chunks; `dealt` says which examples each member was dealt, if not what it was trained on.

    Members that did not see the example speak where every example has such; where all members saw all, they do; else all.
    """
    seen_by, n = trace.trained_on, trace.n_examples
    unseen_by = ~(seen_by if dealt is None else dealt)
    which: Literal["out", "in", "all"] = "out" if (~seen_by).any(axis=0).all() else "in" if seen_by.all() else "all"
    top = min(TOP, trace.n_classes)
    classes, probabilities = np.empty((n, top), np.int32), np.empty((n, top), np.float32)
    p_label, counts, at = np.empty(n, np.float32), np.zeros((4, trace.n_epochs)), 0
    for chunk in trace.chunks():
        rows = slice(at, at + chunk.n_examples)
        p = chunk.probabilities(which)
        classes[rows], probabilities[rows] = _largest(p, top)
        p_label[rows] = p[np.arange(len(p)), chunk.labels]
        counts += _counts(chunk, unseen_by[:, rows])
        at = rows.stop
    of = np.array([n, seen_by.sum() or np.nan, unseen_by.sum() or np.nan, trace.n_members * n])
    vote, trained, held_out, changed = counts / of[:, None]
    changed[0] = np.nan
    return EnsemblePredictions(which, classes, probabilities, p_label, vote, trained, held_out, changed)


def _largest(p: Float32[np.ndarray, "examples classes"], top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `top` largest of each row, largest first; of equals the lower class."""
    if p.shape[1] > 4 * top:  # a full sort of a thousand classes takes too long
        found = np.sort(np.argpartition(-p, top - 1, axis=1)[:, :top], axis=1)
    else:
        found = np.broadcast_to(np.arange(p.shape[1]), p.shape)
    values = np.take_along_axis(p, found, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(found, order, axis=1).astype(np.int32), np.take_along_axis(values, order, axis=1)


def _counts(chunk: Trace, unseen_by: Bool[np.ndarray, "members some"]) -> Float64[np.ndarray, "kinds epochs"]:
    """Count by epoch: examples whose label the vote names, right predictions on trained and on held-out examples, changes."""
    predicted, labels, n_classes = chunk.channel("predicted"), chunk.labels, chunk.n_classes
    seen_by, right = chunk.trained_on[:, None, :], predicted == labels
    counts = np.zeros((4, chunk.n_epochs))
    offset = np.arange(chunk.n_examples) * n_classes
    for epoch in range(chunk.n_epochs):
        votes = np.bincount((predicted[:, epoch] + offset).ravel(), minlength=chunk.n_examples * n_classes)
        counts[0, epoch] = (votes.reshape(-1, n_classes).argmax(axis=1) == labels).sum()
    counts[1] = (right & seen_by).sum(axis=(0, 2))
    counts[2] = (right & unseen_by[:, None, :]).sum(axis=(0, 2))
    counts[3, 1:] = (predicted[:, 1:] != predicted[:, :-1]).sum(axis=(0, 2))
    return counts
