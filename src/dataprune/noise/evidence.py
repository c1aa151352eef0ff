"""What networks say about the labels that are judged: the arrays that a finding reads, checked, and the order of their columns."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped
from numpy.typing import ArrayLike

from dataprune.blocks import as_array, slices
from dataprune.errors import InputError, invalid, join_some
from dataprune.trace.member import checked_labels

Labels = Int64[np.ndarray, " examples"]
Values = Float64[np.ndarray, " examples"]
Table = Float64[np.ndarray, "examples classes"]
Singles = Float32[np.ndarray, "examples classes"]
Probabilities = Shaped[np.ndarray, "examples classes"]

CHANCE = 1e-3
"""How often a better order of columns may be told by chance, where the labels agree with no order more than with any other."""

# Half precision, as probabilities are often stored, rounds each entry by up to 2^-12 of its size or 2^-25.
SUM_TOLERANCE, ROUNDING = 1e-2, 1e-6  # refused above, scaled above
CHUNK_VALUES = 2**22  # worked on at once


@dataclass(frozen=True, eq=False)
class Evidence:
    """The arrays that a finding reads, all of the same examples; what does not fit is refused, with its rows.

    Attributes:
        labels: (N,) given class indices, or names that are in `classes`.
        out_of_sample: (N, K) probabilities of networks that did not see the example (their normalised geometric mean), or None.
        in_sample: (N, K) the same of networks that were. At least one of the two is there.
        margin: (N,) with `in_sample`: the label's logit minus the largest other, the mean over those networks and their epochs.
        votes, out_of_sample_votes: (N, K) how many networks, and of those that did not see the example, name each class, or None;
            only words are made of it.
        ids: (N,) names of the examples; row numbers if not given.
        classes: K names, in the order of the columns; numbers if not given.
        count_from: of what the number of wrong labels is estimated, if not the rest: networks that learned all noise alike, asked
            about the examples as they are.
        ours: whether a run made the networks. Then some labels are taken for given by looks, as people's were on such networks.
        retrained: whether some of the networks were trained again without suspects.
        pretrained: whether the networks had seen other pictures before. Then much of what people mistake passes for classes that
            are hard to tell: the count is held for too low, and all labels that the networks miss may be wrong (docs/log.md).
        mostly_seen: whether there are networks that did not see an example, but of too few examples to be heard.
        notes: cautions for a person.
    """

    labels: np.ndarray
    out_of_sample: np.ndarray | None = None
    in_sample: np.ndarray | None = None
    margin: np.ndarray | None = None
    votes: np.ndarray | None = None
    out_of_sample_votes: np.ndarray | None = None
    ids: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    count_from: "Evidence | None" = None
    ours: bool = False
    retrained: bool = False
    pretrained: bool = False
    mostly_seen: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given, put = [name for name in ("out_of_sample", "in_sample") if getattr(self, name) is not None], object.__setattr__
        if not given:
            raise invalid("Evidence", "hold `out_of_sample` or `in_sample` probabilities", "neither")
        for name in given:
            put(self, name, checked_probabilities(getattr(self, name), name))
        n_examples, n_classes = getattr(self, given[0]).shape
        put(self, "classes", tuple(map(str, self.classes)))
        put(self, "labels", checked_labels(self.labels, n_classes, self.classes))
        tables = ("out_of_sample", "in_sample", "votes", "out_of_sample_votes")
        for name in ("labels", "margin", "ids", *tables):
            array = getattr(self, name)
            if array is not None and len(array) != n_examples:
                raise invalid(name, f"have one row for each of the {n_examples} examples", len(array))
            if array is not None and name in tables and array.shape[1] != n_classes:
                raise invalid(name, f"have one column for each of the {n_classes} classes", array.shape[1])
        if self.classes and len(self.classes) != n_classes:
            raise invalid("classes", f"be as many as the columns of the probabilities: {n_classes}", len(self.classes))
        if len(np.unique(self.labels)) < 2:
            raise InputError("all labels are equal, so none can be judged wrong. A finding needs at least two classes.")
        if self.ids is None:
            put(self, "ids", np.array([str(row) for row in range(n_examples)], dtype=np.dtypes.StringDType()))
        put(self, "classes", self.classes or tuple(str(index) for index in range(n_classes)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def sampling(self) -> Literal["out", "in", "both"]:
        """Whether the networks that speak saw the example in training: none ("out"), all ("in"), or some."""
        return "in" if self.out_of_sample is None else "out" if self.in_sample is None else "both"

    @cached_property
    def agreement(self) -> float:
        """The share of the given labels that the networks name which judge first."""
        return float((self.probabilities.argmax(axis=1) == self.labels).mean())

    @property
    def out_of_sample_accuracy(self) -> float | None:
        """How often the networks that did not see an example name its given label; None where all saw all."""
        return None if self.out_of_sample is None else self.agreement

    @property
    def probabilities(self) -> Singles:
        """What judges the label first: the networks that did not see the example; where there are none, those that did, with the
        label's margin as it was on average over the epochs, so before they memorised it."""
        return self._resisting if self.out_of_sample is None else self.out_of_sample

    @cached_property
    def _resisting(self) -> Singles:
        assert self.in_sample is not None
        return self.in_sample if self.margin is None else resisting(self.in_sample, self.labels, self.margin)


def resisting(in_sample: Singles, labels: Labels, margin: Values) -> Singles:
    """Return the label in each row of probabilities another margin: its logit minus the largest other."""
    found = np.empty(in_sample.shape, np.float32)
    for some in slices(len(found), found.shape[1], CHUNK_VALUES):
        logits, rows = np.log(np.maximum(in_sample[some], 1e-4, dtype=np.float64)), np.arange(len(found[some]))
        logits[rows, labels[some]] = -np.inf
        logits[rows, labels[some]] = logits.max(axis=1) + margin[some]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        found[some] = p / p.sum(axis=1, keepdims=True)
    return found


def checked_probabilities(values: ArrayLike, name: str = "probabilities") -> Singles:
    """Return class probabilities as float32 whose rows sum to 1 (off by a hundredth, they are scaled), refusing what are none.
    Float32 that sums to 1 is given back itself."""
    given = as_array(values, name)
    if given.ndim != 2 or given.shape[1] < 2 or not len(given):
        raise invalid(name, "have a row for each example and a column for each of two classes or more", f"shape {given.shape}")
    if given.dtype.kind not in "fiub":
        raise invalid(name, "be numbers", f"an array of {given.dtype}")
    p = given.astype(np.float32, copy=False)
    sums = p.sum(axis=1, dtype=np.float64)
    logits = "These look like logits: give their softmax."
    for requirement, bad, cure in (
        ("be finite", ~np.isfinite(sums), ""),
        ("be 0 or more", p.min(axis=1) < 0, logits),
        ("sum to 1 in each row", np.abs(sums - 1) > SUM_TOLERANCE, logits if (p.max(axis=1) > 1).any() else ""),
    ):
        rows = np.flatnonzero(bad)
        if len(rows):
            first = p[rows[0]]
            entry = {"be finite": ~np.isfinite(first), "be 0 or more": first < 0}.get(requirement)
            got = f"the sum {sums[rows[0]]:.4g}" if entry is None else f"{first[entry][0]:.4g}"
            raise invalid(name, requirement, f"{got} in row {rows[0]} (rows {join_some(rows)})", cure)
    if float(np.abs(sums - 1).max()) <= ROUNDING:
        return p
    return np.asarray(np.divide(p, sums[:, None], out=np.empty_like(p), casting="same_kind"))


@dataclass(frozen=True, eq=False)
class BetterOrder:
    """An order of the columns with which far more labels agree: which class each column is, how many agree so, and as they are."""

    order: Int64[np.ndarray, " classes"]
    n_better: int
    n_agree: int


def better_order(probabilities: Singles, labels: Labels) -> BetterOrder | None:
    """Find an order of the columns with which far more labels are the most probable class; None where there is none.

    Of all orders the one with which most agree (an assignment on the confusion matrix). It is far better if, of the examples that
    agree with one of the two orders only, at least twice as many agree with it, and a sign test on them, corrected by Bonferroni
    for the K! orders there are, says so: networks that know nothing agree with some order by chance. Both must hold without the
    column that gains most: networks that always name one class agree with the order that makes it the most frequent label.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.special import gammaln
    from scipy.stats import binom

    n_classes = probabilities.shape[1]
    confusion = np.bincount(labels * n_classes + probabilities.argmax(axis=1), minlength=n_classes**2).reshape(n_classes, n_classes)
    order = linear_sum_assignment(-confusion.T)[1]  # for each column its class
    columns = np.arange(n_classes)
    moved = columns[order != columns]
    gains, losses = confusion[order[moved], moved], confusion[moved, moved]
    others = np.argsort(-gains, kind="stable")[1:]
    gained, lost = int(gains[others].sum()), int(losses[others].sum())
    if gained < max(1, 2 * lost) or binom.logsf(gained - 1, gained + lost, 0.5) + gammaln(n_classes + 1) > np.log(CHANCE):
        return None
    return BetterOrder(order, int(confusion[order, columns].sum()), int(np.trace(confusion)))
