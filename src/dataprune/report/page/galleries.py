"""Which examples are the easiest and the hardest by each score, and which lie nearest to one another?"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int64

from dataprune.scores import Score

SHOWN = 24
SHOWN_OF_A_CLASS = 12
NEAREST = 5
MOST_PRODUCTS = 2e11  # multiplications spent on nearest examples, some seconds on one core


@dataclass(frozen=True, eq=False)
class Ends:
    """The two ends of a score, the extreme first."""

    hardest: Int64[np.ndarray, " shown"]
    easiest: Int64[np.ndarray, " shown"]


def ends(score: Score, ties: np.ndarray, count: int = SHOWN) -> Ends:
    """Return the hardest and the easiest examples by a score; ties are broken by a hash of the id.

    Example:
        >>> found = ends(Score("aum", np.array([0.5, -1.0, 2.0]), -1), np.array([2, 0, 1]), 2)
        >>> found.hardest.tolist(), found.easiest.tolist()
        ([1, 0], [2, 0])
    """
    difficulty = score.difficulty
    return Ends(_first(-difficulty, ties, count), _first(difficulty, ties, count))


def class_ends(
    score: Score, labels: Int64[np.ndarray, " examples"], n_classes: int, ties: np.ndarray, count: int = SHOWN_OF_A_CLASS
) -> list[Ends]:
    """Return the same of each class."""
    order = np.lexsort((ties, -score.difficulty, labels))
    backwards = np.lexsort((ties, score.difficulty, labels))
    starts = np.searchsorted(labels[order], np.arange(n_classes + 1))
    return [
        Ends(order[start : min(stop, start + count)], backwards[start : min(stop, start + count)])
        for start, stop in pairwise(starts.tolist())
    ]


def nearest(
    features: Float32[np.ndarray, "examples features"], rows: Int64[np.ndarray, " asked"], count: int = NEAREST
) -> Int64[np.ndarray, "answered nearest"]:
    """Find the examples nearest to each of some rows, by Euclidean distance, the nearest first and none itself.

    Where that would take long, only the first rows are answered.
    """
    n, width = features.shape
    count = min(count, n - 1)
    rows = rows[: max(1, int(MOST_PRODUCTS / (n * width)))]
    squares = np.einsum("nd,nd->n", features, features, dtype=np.float64).astype(np.float32)
    found = np.empty((len(rows), count), np.int64)
    step = max(1, 2**24 // n)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        distance = squares - 2 * (features[part] @ features.T)
        distance[np.arange(len(part)), part] = np.inf
        near = np.argpartition(distance, count - 1, axis=1)[:, :count] if count else np.empty((len(part), 0), np.int64)
        order = np.argsort(np.take_along_axis(distance, near, axis=1), axis=1, kind="stable")
        found[start : start + step] = np.take_along_axis(near, order, axis=1)
    return found


def _first(values: np.ndarray, ties: np.ndarray, count: int) -> Int64[np.ndarray, " first"]:
    """Return the places of the smallest values in order, without sorting all of them."""
    if len(values) > count:
        edge = np.partition(values, count - 1)[count - 1]
        inside = np.flatnonzero(values <= edge)
    else:
        inside = np.arange(len(values))
    return inside[np.lexsort((ties[inside], values[inside]))][:count].astype(np.int64)
