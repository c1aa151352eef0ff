"""All examples of a run as columns, with what was decided about each; filtered and sorted by any of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, Int64

from dataprune.errors import invalid, unknown_choice

DECISIONS = ("", "keep", "drop", "relabel")
NONE = -1  # no label, no prediction, no group
Rows = Int64[np.ndarray, " rows"]
Decision = Literal["any", "none", "made", "keep", "drop", "relabel"]


@dataclass(frozen=True)
class Lasso:
    """A polygon in the plane of two columns."""

    x: str
    y: str
    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Query:
    """Which examples, and in which order; what is None is not asked.

    Attributes:
        split: number of the split.
        label, prediction: classes; both together are a cell of the confusion matrix.
        changed: only where the prediction is another class than the label.
        ranges: least and largest value by column of numbers, ends included, None for no end.
        lasso: what lies inside a polygon.
        group: number of a group of duplicates; −1 is any group.
        leaks: only groups that lie in several splits.
        copies: of each group all but its first.
        issue: only what has this kind of issue.
        decision: what was decided: one of the words, any, none, or made (any of the three).
        text: what the id contains, whatever its case.
        sort: column; "" is the order of the source.
        descending: the largest first; what has no value comes last either way.
    """

    split: int | None = None
    label: int | None = None
    prediction: int | None = None
    changed: bool = False
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    lasso: Lasso | None = None
    group: int | None = None
    leaks: bool = False
    copies: bool = False
    issue: str = ""
    decision: Decision = "any"
    text: str = ""
    sort: str = ""
    descending: bool = True


class ReviewTable:
    """Columns of N examples, in the order train, validation, test; decisions may change, all else stays.

    Attributes:
        ids: names, unique within a split.
        split: number of the split.
        label, prediction: class indices, −1 for none.
        group: of duplicates, −1 for none.
        values: columns of numbers by name, NaN where an example has none.
        issues: by kind, which examples have it.
        decision: place in `DECISIONS`.
        new_label: class index where relabelled.
    """

    def __init__(
        self,
        ids: np.ndarray,
        split: Int8[np.ndarray, " examples"],
        label: Int32[np.ndarray, " examples"],
        prediction: Int32[np.ndarray, " examples"],
        group: Int32[np.ndarray, " examples"],
        values: Mapping[str, Float32[np.ndarray, " examples"]],
        issues: Mapping[str, Bool[np.ndarray, " examples"]] = MappingProxyType({}),
    ) -> None:
        for name, column in {"split": split, "label": label, "prediction": prediction, "group": group, **values, **issues}.items():
            if column.shape != (len(ids),):
                raise invalid(name, f"have a value for each of {len(ids)} examples", column.shape)
        self.ids, self.split, self.label, self.prediction, self.group = ids, split, label, prediction, group
        self.values, self.issues = dict(values), issues
        self.decision: Int8[np.ndarray, " examples"] = np.zeros(len(ids), np.int8)
        self.new_label: Int32[np.ndarray, " examples"] = np.full(len(ids), NONE, np.int32)
        self._orders: dict[str, Rows] = {}
        self._names: tuple[bytes, Rows] | None = None
        grouped = group >= 0
        is_first = np.zeros(len(ids), bool)
        is_first[np.unique(group, return_index=True)[1]] = True
        self._is_copy = grouped & ~is_first
        lies_in = np.zeros((group.max(initial=NONE) + 2, split.max(initial=0) + 1), bool)  # its last row is of no group
        lies_in[group, split] = True
        self._is_leak = grouped & (lies_in.sum(axis=1) > 1)[group]

    def __len__(self) -> int:
        return len(self.ids)

    def query(self, asked: Query) -> Rows:
        """Return the rows of the examples that are asked for, in the order that is asked for; ties by row."""
        inside = self._inside(asked)
        if not asked.sort:
            return np.flatnonzero(inside)
        order = self._order(f"{'-' * asked.descending}{asked.sort}")
        return np.asarray(order[inside[order]])

    def count_decisions(self) -> dict[str, int]:
        """Return how many examples are decided so."""
        counts = np.bincount(self.decision, minlength=len(DECISIONS)).tolist()
        return dict(zip(DECISIONS[1:], counts[1:], strict=True))

    def _order(self, name: str) -> Rows:
        """Return rows sorted by a column (descending behind a minus sign); those without a value come last."""
        if name not in self._orders:
            column = self._column(name.removeprefix("-"))
            has = np.isfinite(column) if column.dtype.kind == "f" else column != NONE
            rows, rest = np.flatnonzero(has), np.flatnonzero(~has)
            # Value and row as one number: several times as fast as a stable sort.
            keys = np.sort(
                _as_sorted(column[rows], name.startswith("-")).astype(np.uint64) << np.uint64(32) | rows.astype(np.uint64)
            )
            self._orders[name] = np.concatenate([(keys & np.uint64(2**32 - 1)).astype(np.int64), rest])
        return self._orders[name]

    def _column(self, name: str) -> np.ndarray:
        whole = {"label": self.label, "prediction": self.prediction, "group": self.group} | self.values
        if name not in whole:
            raise unknown_choice("sort", name, whole)
        return np.asarray(whole[name])

    def _numbers(self, name: str) -> Float32[np.ndarray, " examples"]:
        if name not in self.values:
            raise unknown_choice("ranges", name, self.values)
        return self.values[name]

    def _inside(self, asked: Query) -> Bool[np.ndarray, " examples"]:
        inside = np.ones(len(self), bool)
        for name in ("split", "label", "prediction"):
            if (wanted := getattr(asked, name)) is not None:
                inside &= getattr(self, name) == wanted
        if asked.changed:
            inside &= (self.prediction != self.label) & (self.prediction != NONE) & (self.label != NONE)
        for name, (low, high) in asked.ranges.items():
            ends = np.array([-np.inf if low is None else low, np.inf if high is None else high], np.float32)
            column = self._numbers(name)  # whose exactness the ends have
            inside &= (column >= ends[0]) & (column <= ends[1])
        if asked.lasso is not None:
            at = np.stack([self._numbers(asked.lasso.x), self._numbers(asked.lasso.y)], axis=1)
            inside &= region(at, np.array(asked.lasso.corners, np.float32).reshape(-1, 2))
        if asked.group is not None:
            inside &= self.group >= 0 if asked.group < 0 else self.group == asked.group
        inside &= self._is_leak if asked.leaks else True
        inside &= self._is_copy if asked.copies else True
        if asked.issue:
            if asked.issue not in self.issues:
                raise unknown_choice("issue", asked.issue, self.issues)
            inside &= self.issues[asked.issue]
        if asked.decision != "any":
            inside &= self._decided(asked.decision)
        if asked.text:
            inside &= self._named(asked.text)
        return inside

    def _named(self, text: str) -> Bool[np.ndarray, " examples"]:
        """Return which ids contain a text: by one search through all of them, a hundred times as fast as one by one."""
        if self._names is None:
            names = [one.lower().encode("utf-8", "surrogatepass") for one in self.ids.tolist()]
            self._names = b"\0".join(names), np.cumsum([0, *(len(one) + 1 for one in names)])[:-1]
        whole, starts = self._names
        wanted = re.escape(text.lower().encode("utf-8", "surrogatepass"))
        found = np.fromiter((one.start() for one in re.finditer(wanted, whole)), np.int64)
        is_named = np.zeros(len(self), bool)
        is_named[np.searchsorted(starts, found, side="right") - 1] = True
        return is_named

    def _decided(self, which: Decision) -> Bool[np.ndarray, " examples"]:
        if which in ("none", "made"):
            return np.asarray((self.decision == 0) == (which == "none"))
        if which not in DECISIONS[1:]:
            raise unknown_choice("decision", which, ("any", "none", "made", *DECISIONS[1:]))
        return np.asarray(self.decision == DECISIONS.index(which))


def _as_sorted(column: np.ndarray, descending: bool) -> np.ndarray:
    """Return whole numbers without sign of 32 bits that lie in the order of a column of 32 bits."""
    if column.dtype.kind == "f":
        bits = (column.astype(np.float32) + np.float32(0.0)).view(np.uint32)  # no negative zero
        key = np.where(bits >> 31, ~bits, bits | np.uint32(2**31))
    else:
        key = (column.astype(np.int64) + 2**31).astype(np.uint32)
    return np.asarray(~key if descending else key)


def groups_of(pairs: Int64[np.ndarray, "pairs 2"], n: int) -> Int32[np.ndarray, " examples"]:
    """Number the groups of examples that pairs join, in the order of their first rows; −1 without a pair.

    Example:
        >>> groups_of(np.array([[4, 1], [0, 2], [2, 3]]), 6).tolist()
        [0, 1, 0, 0, 1, -1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    found = np.full(n, NONE, np.int32)
    if len(pairs):
        graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        parts = connected_components(graph, directed=False)[1]
        members = np.unique(pairs)
        _, first, numbers = np.unique(parts[members], return_index=True, return_inverse=True)
        found[members] = np.argsort(np.argsort(first))[numbers]
    return found


def region(at: Float32[np.ndarray, "points 2"], corners: Float32[np.ndarray, "corners 2"]) -> Bool[np.ndarray, " points"]:
    """Return which points lie inside a polygon (a lasso), by the even-odd rule; NaN lies in none.

    Example:
        >>> region(np.array([[1.0, 1.0], [3.0, 1.0]]), np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])).tolist()
        [True, False]
    """
    inside = np.zeros(len(at), bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            crosses = (at[:, 1] < y0) != (at[:, 1] < y1)
            inside ^= crosses & (at[:, 0] < x0 + (at[:, 1] - y0) / (y1 - y0) * (x1 - x0))
    return np.asarray(inside & np.isfinite(at).all(axis=1))
