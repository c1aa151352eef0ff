"""What strategies look at: views beside the score, and the group of examples that a strategy chooses from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from dataprune.errors import InputError, invalid, join_some

Rows = Int64[np.ndarray, " rows"]
Values = Float64[np.ndarray, " examples"]


@dataclass(frozen=True, eq=False)
class Views:
    """What a strategy may look at beside the score, in the order of the score's examples; what is None is not there.

    Attributes:
        features: (N, D) finite numbers.
        probabilities: (N, K) class probabilities at the end of training.
        p_label: (T, N) probability of the given label after each epoch.
        cut_by: (N,) the difficulty by which `stratified` leaves out its `cut`, where it is not the score itself.
    """

    features: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    p_label: np.ndarray | None = None
    cut_by: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, array in self.given().items():
            dims = 1 if name == "cut_by" else 2
            if array.ndim != dims or array.dtype.kind not in "fiu":
                raise invalid(name, f"be numbers in {dims} dimension{'s' * (dims > 1)}", f"{array.dtype} of shape {array.shape}")
            bad = ~np.isfinite(array)
            if bad.any():
                examples = np.flatnonzero(bad.any(axis=0) if name == "p_label" else bad.reshape(len(array), -1).any(axis=1))
                raise invalid(name, "be finite", f"NaN or infinity (examples {join_some(examples)})")

    def given(self) -> dict[str, np.ndarray]:
        """Return the views that are there by name."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: np.asarray(array) for name, array in named.items() if array is not None}

    def take(self, rows: Rows) -> "Views":
        """Return the views of some examples."""
        return Views(**{name: array[:, rows] if name == "p_label" else array[rows] for name, array in self.given().items()})

    def check(self, n_examples: int) -> None:
        """Refuse views of another number of examples."""
        for name, array in self.given().items():
            length = array.shape[1] if name == "p_label" else len(array)
            if length != n_examples:
                raise invalid(name, f"be of the {n_examples:,} examples of the score", f"{length:,}")


@dataclass(frozen=True, eq=False)
class Group:
    """Examples to choose from, all or those of one class.

    Attributes:
        difficulty: (n,) higher is harder; zeros where no score was given.
        hashes: (n,) all different; break ties.
        labels: (n,) class indices, or None.
        views: what else there is.
        options: of the strategy, by name.
    """

    difficulty: Values
    hashes: UInt64[np.ndarray, " examples"]
    labels: Int64[np.ndarray, " examples"] | None = None
    views: Views = field(default_factory=Views)
    options: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def order(self) -> Rows:
        """From easiest to hardest."""
        return np.lexsort((self.hashes, self.difficulty)).astype(np.int64)

    @property
    def by_hash(self) -> Rows:
        """In the order of the hashes: of equals the first is taken, wherever it lies."""
        return np.argsort(self.hashes).astype(np.int64)

    @property
    def features(self) -> np.ndarray:
        """The features, which a strategy that needs them finds there."""
        assert self.views.features is not None, "checked before"
        return np.asarray(self.views.features)

    def take(self, rows: Rows) -> "Group":
        """Return some of the group."""
        labels = None if self.labels is None else self.labels[rows]
        return Group(self.difficulty[rows], self.hashes[rows], labels, self.views.take(rows), self.options)


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a strategy kept of a group: rows of it, and how much each counts in training, for strategies that say so."""

    rows: Rows
    weights: Values | None = None


@dataclass(frozen=True)
class Strategy:
    """A rule that turns a score, and what else it looks at, into a kept set.

    Attributes:
        choose: of a `Group` and a count; gives as many rows of it, or `Chosen` with weights.
        needs: of "score", "labels" and the names of `Views`.
        options: their names and defaults.
        nested: whether the kept set grows with the budget.
        source: where it comes from.
        size: the count that the options ask for where none is given, or None.
    """

    choose: Callable[[Group, int], Any]
    needs: tuple[str, ...] = ("score",)
    options: Mapping[str, float] = field(default_factory=dict)
    nested: bool = True
    source: str = ""
    size: Callable[[Group], int | None] | None = None


HOW = {
    "score": "Give a score.",
    "labels": "Give `labels` (class indices).",
    "features": "Give --features FILE (`dataprune embed` makes one), or score with --encoder; in Python views=Views(features=...).",
    "probabilities": "Give the networks' probabilities: a run has them; in Python views=Views(probabilities=...).",
    "p_label": "Give what networks said of the label after each epoch: a run has it; in Python views=Views(p_label=...).",
}
"""How to give what a strategy needs."""


def check_needs(name: str, needs: tuple[str, ...], group: Group, has_score: bool) -> None:
    """Refuse a strategy that lacks what it looks at, with what to give."""
    there = {"score": has_score, "labels": group.labels is not None} | dict.fromkeys(group.views.given(), True)
    for need in needs:
        if not there.get(need):
            raise InputError(f"strategy '{name}' needs `{need}`, and there is none. {HOW[need]}")
