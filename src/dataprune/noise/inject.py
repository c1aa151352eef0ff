"""Make labels wrong on purpose, in a known amount."""

from collections import Counter

import numpy as np
from jaxtyping import Float64, Int64, UInt64
from numpy.typing import ArrayLike

from dataprune.errors import InputError, invalid, join_some, unknown_choice
from dataprune.streams import tie_break, torch_seed
from dataprune.trace.member import checked_labels

KINDS = ("uniform", "per-class", "pairwise", "look-alike", "matrix")

# Pairs of CIFAR-10 that people confuse: truck to automobile, bird to airplane, deer to horse, cat to dog and dog to cat.
# Source: Patrini et al. 2017, arXiv:1609.03683, section 5.
LOOK_ALIKES = ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3))


def inject_noise(
    labels: ArrayLike,
    rate: float | None = None,
    kind: str = "uniform",
    *,
    n_classes: int,
    ids: ArrayLike | None = None,
    matrix: ArrayLike | None = None,
    seed: int = 0,
) -> Int64[np.ndarray, " examples"]:
    """Return labels, (N,) class indices, of which an exact number is wrong.

    Args:
        rate: the fraction made wrong, in (0, 1). "uniform", "pairwise": floor(rate · N + 0.5) of all examples. "per-class": that
            share of each class. "look-alike": that share of each class that has a look-alike. Not with "matrix".
        kind: "uniform", each into any other class with the same chance; "per-class", the same but as many of each class (the
            study's kind); "pairwise", class k into k + 1, the last into the first; "look-alike", CIFAR-10's confusable pairs;
            "matrix", by `matrix`.
        ids: (N,) different strings, whose hash with the seed orders the examples; row numbers if there are none.
        matrix: (K, K) with matrix[i, j] = the share of class i that is labelled j; rows sum to 1. Counts are largest remainders.

    Example:
        >>> inject_noise([0, 0, 1, 1], rate=0.5, kind="pairwise", n_classes=2).tolist().count(0)
        2
    """
    truth = checked_labels(labels)
    if kind not in KINDS:
        raise unknown_choice("kind", kind, KINDS)
    if n_classes < 2 or (len(truth) and int(truth.max()) >= n_classes):
        raise invalid("n_classes", "be at least 2 and above every label", n_classes)
    if (kind == "matrix") != (matrix is not None):
        got = "none" if matrix is None else f"one, and kind '{kind}'"
        raise invalid("matrix", "be given with kind 'matrix', and only with it", got)
    if kind == "matrix" and rate is not None:
        raise invalid("rate", "be left out with kind 'matrix', which holds the rates", rate)
    if kind != "matrix" and (rate is None or not 0 < rate < 1):
        raise invalid("rate", "be in (0, 1)", rate, "0.1 makes one label in ten wrong.")
    names = [str(name) for name in (range(len(truth)) if ids is None else np.asarray(ids).tolist())]
    if len(names) != len(truth):
        raise invalid("ids", f"have one entry for each of the {len(truth)} labels", len(names))
    twice = [repr(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise invalid("ids", "be unique", f"{join_some(twice)} more than once")
    order = np.argsort(tie_break(names, torch_seed(seed, "noise", "order")), kind="stable")
    target = tie_break(names, torch_seed(seed, "noise", "target"))
    given = truth.copy()
    for classes, shares in _plans(kind, rate, n_classes, _checked(matrix, n_classes)):
        rows = order[np.isin(truth[order], classes)]
        if isinstance(shares, float):
            chosen = rows[: int(shares * len(rows) + 0.5)]
            given[chosen] = _other(truth[chosen], target[chosen], kind, n_classes)
        else:
            counts = _largest_remainders(shares, len(rows))
            given[rows] = np.repeat(np.roll(np.arange(n_classes), -classes[0]), np.roll(counts, -classes[0]))[::-1]
    return given


def _plans(
    kind: str, rate: float | None, n_classes: int, matrix: Float64[np.ndarray, "classes classes"] | None
) -> list[tuple[list[int], "float | Float64[np.ndarray, ' classes']"]]:
    """Return which classes are corrupted together, and by what share, or by which shares into each class."""
    if matrix is not None:
        return [([k], matrix[k]) for k in range(n_classes)]
    assert rate is not None
    if kind == "look-alike":
        if n_classes != 10:
            raise InputError(f"kind 'look-alike' knows CIFAR-10's classes, and these are {n_classes}. Give a matrix instead.")
        return [([source], float(rate)) for source, _ in LOOK_ALIKES]
    if kind == "per-class":
        return [([k], float(rate)) for k in range(n_classes)]
    return [(list(range(n_classes)), float(rate))]


def _other(
    truth: Int64[np.ndarray, " some"], hashes: UInt64[np.ndarray, " some"], kind: str, n_classes: int
) -> Int64[np.ndarray, " some"]:
    if kind == "look-alike":
        return np.array([dict(LOOK_ALIKES)[label] for label in truth.tolist()], dtype=np.int64)
    steps = 1 if kind == "pairwise" else 1 + (hashes % np.uint64(n_classes - 1)).astype(np.int64)
    return np.asarray((truth + steps) % n_classes, dtype=np.int64)


def _checked(matrix: ArrayLike | None, n_classes: int) -> Float64[np.ndarray, "classes classes"] | None:
    if matrix is None:
        return None
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (n_classes, n_classes):
        raise invalid("matrix", f"have {n_classes} rows and columns, one for each class", f"a shape of {values.shape}")
    bad = np.flatnonzero(~(np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-6)))
    if len(bad):
        got = f"{values[bad[0]].tolist()} in row {bad[0] + 1}"
        raise invalid("matrix", "hold shares of at least 0 that sum to 1 in each row", got)
    return values


def _largest_remainders(shares: Float64[np.ndarray, " classes"], total: int) -> Int64[np.ndarray, " classes"]:
    exact = shares * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    counts[np.argsort(-(exact - counts), kind="stable")[: total - int(counts.sum())]] += 1
    return counts
