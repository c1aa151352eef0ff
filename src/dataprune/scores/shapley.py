"""Shapley values of examples for a nearest-neighbour classifier: how much each helps to classify the others. Exact."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from dataprune.clustering import shape_of
from dataprune.errors import invalid
from dataprune.scores.neighbours import both_placed
from dataprune.trace.member import checked_labels

BLOCK_VALUES = 2**23  # queries times rows at once: some 100 MB a thread; a smaller product takes half as long again
MOST_THREADS = 8


def knn_shapley(
    features: np.ndarray,
    labels: ArrayLike,
    *,
    queries: np.ndarray | None = None,
    query_labels: ArrayLike | None = None,
    k: int = 10,
    metric: str = "cosine",
) -> Float64[np.ndarray, " examples"]:
    """Share out among examples how well their k nearest classify queries, by Shapley values; mislabelled ones have the least.

    The mean over queries; the values sum to the mean share of a query's k nearest that have its label. Of equally far ones the
    first is nearer. Takes Q·N·D multiplications and Q sorts of N distances, in blocks.

    Args:
        queries: (Q, D), with `query_labels` (Q,); None are the examples themselves, each classified by all others.
        k: neighbours that vote, 1 ... N (N − 1 without queries).
        metric: "cosine" or "euclidean".
    Raises:   InputError: values that are not finite or, under "cosine", all zero (with rows), labels of another number, k out of
              range.
    Source: Jia et al. 2019, arXiv:1908.08619, theorem 1.

    Example:
        >>> knn_shapley(np.array([[0.0], [1.0]]), [0, 1], queries=np.array([[0.1]]), query_labels=[0], k=1, metric="euclidean")
        array([1., 0.])
    """
    from threadpoolctl import threadpool_limits

    if (queries is None) != (query_labels is None):
        raise invalid("query_labels", "be given with queries, and only with them", "one of the two")
    asked, wanted = (features, labels) if queries is None or query_labels is None else (queries, query_labels)
    classes, own = checked_labels(labels), checked_labels(wanted)
    for name, given, rows in (("labels", classes, features), ("query_labels", own, asked)):
        if len(given) != shape_of(rows)[0]:
            raise invalid(name, f"be one for each row: {len(rows)}", len(given))
    x, others = both_placed(features, queries, k, metric)
    q, most = x if others is None else others, len(classes) - (queries is None)
    lengths, voting = np.einsum("nd,nd->n", x, x), np.maximum(np.arange(1, most + 1), k)

    def values_of(block: slice) -> Float64[np.ndarray, " examples"]:
        far = lengths - 2 * (q[block] @ x.T) + np.einsum("nd,nd->n", q[block], q[block])[:, None]
        if queries is None:
            far[np.arange(len(far)), np.arange(len(x))[block]] = np.inf
        total = np.zeros(len(x))
        for row, label in zip(np.maximum(far, 0, out=far), own[block], strict=True):  # by row: all of it stays in a core's cache
            nearest = _order(row)[:most]
            # s(r) = s(r + 1) + (match(r) − match(r + 1)) / max(r, k), from the farthest on
            match = (classes[nearest] == label).astype(np.float64)
            match[:-1] -= match[1:].copy()
            match /= voting
            total[nearest] += np.cumsum(match[::-1])[::-1]
        return total

    step = max(1, BLOCK_VALUES // len(x))
    parts = [slice(start, start + step) for start in range(0, len(q), step)]
    with threadpool_limits(1), ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        return np.asarray(sum(pool.map(values_of, parts), np.zeros(len(x))) / len(q))


def _order(distances: np.ndarray) -> Int64[np.ndarray, " rows"]:
    """Return the places of ascending float32 distances, none below 0; of equal ones the first is first.

    Their bits ascend with them. Sorted by the lower 16 and then by the upper ones, which NumPy does by counting, they take a
    quarter of the time of an argsort.
    """
    bits = distances.view(np.uint32)
    by_low = bits.astype(np.uint16).argsort(kind="stable")
    return np.asarray(by_low[(bits >> 16).astype(np.uint16)[by_low].argsort(kind="stable")])
