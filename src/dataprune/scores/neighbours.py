"""Which rows of a set of features are nearest to each query?

Knows distances. Exact, in blocks, so that memory does not grow with the square of the rows. Does not know what neighbours are for.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from dataprune.errors import must

BLOCK_VALUES = 2**24  # distances held at once


def nearest(
    features: Float32[np.ndarray, "rows columns"],
    queries: Float32[np.ndarray, "queries columns"],
    k: int,
    *,
    metric: Literal["cosine", "euclidean"] = "cosine",
    exclude_self: bool = False,
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    """Find the k nearest rows of each query.

    Args:
        features: finite.
        queries: finite; with `exclude_self` they are the features themselves.
        k: neighbours, at most the number of rows (less one with `exclude_self`).
        metric: `cosine` (1 − cosine, a row of zeros has cosine 0 with everything) or `euclidean`.
        exclude_self: a row is not its own neighbour.

    Returns:
        Distances, ascending, and the rows; of equal distances the lower row comes first.

    Raises:
        InputError: k is not in [1, rows].

    Example:
        >>> x = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
        >>> nearest(x, x[:1], 2)[1]
        array([[0, 2]])
    """
    n_rows = len(features) - exclude_self
    if not 1 <= k <= n_rows:
        raise must("k", f"be in [1, {n_rows}]", k)
    if metric == "cosine":
        features, queries = _unit(features), _unit(queries)
    squares = (features**2).sum(1)
    height = max(1, BLOCK_VALUES // len(features))
    distances, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), height):
        block = queries[start : start + height]
        away = block @ features.T
        if metric == "cosine":
            np.subtract(1, away, out=away)
        else:
            away = np.sqrt(np.maximum(0, squares - 2 * away + (block**2).sum(1)[:, None]))
        if exclude_self:
            away[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        bound = np.partition(away, k - 1, axis=1)[:, k - 1]
        for query, (line, most) in enumerate(zip(away, bound, strict=True), start):
            near = np.flatnonzero(line <= most)  # in row order, also where distances are equal
            found = near[np.argsort(line[near], kind="stable")[:k]]
            distances[query], rows[query] = line[found], found
    return distances, rows


def _unit(x: np.ndarray) -> np.ndarray:
    length = np.sqrt((x.astype(np.float64) ** 2).sum(1))
    return np.asarray(x / np.where(length > 0, length, 1)[:, None], np.float32)
