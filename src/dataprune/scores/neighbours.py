"""Nearest neighbours by scikit-learn: pairs within a distance, scores, Shapley values, and how well neighbours' labels agree."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import ArrayLike

from dataprune.blocks import slices
from dataprune.clustering import BLOCK_ROWS, Features, refuse_rows, shape_of
from dataprune.errors import invalid, unknown_choice
from dataprune.trace.member import checked_labels

SHAPLEY_VALUES = 2**23  # queries times rows at once: some 100 MB a thread; a smaller product takes half as long again
MOST_THREADS = 8
SHARPNESS = 0.07  # Wu et al. 2018, arXiv:1805.01978, section 3.4


def nearest(
    features: np.ndarray, queries: np.ndarray | None, k: int, *, metric: str = "cosine"
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    """Find the k rows of `features` that are nearest to each query, exactly, by N·Q·D multiplications: distances, ascending, and
    rows.

    Args:     queries: None are the features themselves, of which none is its own neighbour.
              metric: "cosine", 1 − cosine, 0 … 2; or "euclidean", in the features' unit.
    Raises:   InputError: another shape, values that are not finite (with rows), a row of zeros under "cosine", k out of range.
    """
    from sklearn.neighbors import NearestNeighbors

    x, asked = both_placed(features, queries, k, metric)
    distances, rows = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(asked)
    # Between unit vectors the squared distance is 2 − 2 cosine.
    distances = distances**2 / 2 if metric == "cosine" else distances
    order = np.lexsort((rows, distances))  # of equals, the first
    distances, rows = np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)
    return distances.astype(np.float32), rows.astype(np.int64)


def close_pairs(
    features: np.ndarray, queries: np.ndarray | None, limit: float, *, metric: str = "cosine", most: int = 10
) -> tuple[Float32[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Find pairs of rows that lie within a distance, each once, among the `most` nearest neighbours of either. Returns their
    distances, and the two rows, the first of them below the second; by these. `queries` are what becomes of each row (its mirror
    image); None are the rows themselves. With `most`, N equal rows do not give N² pairs."""
    distances, rows = nearest(features, queries, min(most, len(features) - 1) + (queries is not None), metric=metric)
    query, place = np.nonzero((distances <= limit) & (rows != np.arange(len(rows))[:, None]))
    row = rows[query, place]
    first, second = np.minimum(query, row), np.maximum(query, row)
    pairs, once = np.unique(np.stack([first, second]), axis=1, return_index=True)
    return distances[query, place][once], pairs[0], pairs[1]


def knn_scores(
    features: np.ndarray, labels: ArrayLike, k: int = 10
) -> tuple[Float64[np.ndarray, " examples"], Float64[np.ndarray, " examples"]]:
    """Return of each example the share of its k nearest by cosine that have its label, and its mean distance to them.

    The first is least for wrong labels (Zhu et al. 2022, arXiv:2110.06283; departs: a share, of the others only), the second, the
    mean of 1 − cosine, largest for outliers (Kuan and Mueller 2022, arXiv:2207.03061; departs: not turned by exp(−d / median)).
    Copies are each other's nearest neighbours.

    Args:     k: neighbours; of fewer examples all others are taken.
    Raises:   InputError: what `nearest` refuses, labels of another number.

    Example:
        >>> share, distance = knn_scores(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), [0, 0, 0], k=1)
        >>> share.tolist(), distance.round(3).tolist()
        ([1.0, 1.0, 1.0], [0.0, 0.0, 1.0])
    """
    classes = labels_of(features, labels)
    distances, rows = nearest(features, None, max(1, min(k, len(features) - 1)))
    return (classes[rows] == classes[:, None]).mean(axis=1), distances.mean(axis=1, dtype=np.float64)


def labels_of(features: Features, labels: ArrayLike) -> Int64[np.ndarray, " examples"]:
    """Return class indices, one for each row of features; what does not fit is refused."""
    classes, (n_rows, _) = checked_labels(labels), shape_of(features)
    if n_rows != len(classes):
        raise invalid("labels", f"be as many as features: {n_rows}", len(classes))
    return classes


def knn_accuracy(
    train_features: Float32[np.ndarray, "rows columns"],
    train_labels: Int64[np.ndarray, " rows"],
    test_features: Float32[np.ndarray, "queries columns"] | None,
    test_labels: Int64[np.ndarray, " queries"],
    k: int = 20,
) -> float:
    """Measure how often the k nearest rows by cosine name a query's label, each vote weighted by exp(cosine / 0.07).

    Without queries each row is asked about among the others; of fewer rows than k all are taken; of equal votes the lower class
    wins.

    Source:   Wu et al. 2018, arXiv:1805.01978, section 3.4 (there with k = 200).
    """
    from sklearn.neighbors import KNeighborsClassifier

    n_rows = len(train_features) - (test_features is None)
    votes = KNeighborsClassifier(min(k, n_rows), weights=lambda d: np.exp((1 - d) / SHARPNESS), algorithm="brute", metric="cosine")
    found = votes.fit(np.asarray(train_features, np.float64), train_labels).predict(test_features)
    return float((found == test_labels).mean())


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

    with threadpool_limits(1), ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        return np.asarray(sum(pool.map(values_of, slices(len(q), len(x), SHAPLEY_VALUES)), np.zeros(len(x))) / len(q))


def _order(distances: np.ndarray) -> Int64[np.ndarray, " rows"]:
    """Return the places of ascending float32 distances, none below 0; of equal ones the first is first. Their bits ascend with
    them: sorted by the lower 16 and then by the upper ones, which NumPy does by counting, they take a quarter of the time of an
    argsort."""
    bits = distances.view(np.uint32)
    by_low = bits.astype(np.uint16).argsort(kind="stable")
    return np.asarray(by_low[(bits >> 16).astype(np.uint16)[by_low].argsort(kind="stable")])


def both_placed(
    features: np.ndarray, queries: np.ndarray | None, k: int, metric: str
) -> tuple[Float32[np.ndarray, "rows columns"], Float32[np.ndarray, "queries columns"] | None]:
    """Check what a search is asked, and bring features and queries to where Euclidean distances tell what `metric` does."""
    if metric not in ("cosine", "euclidean"):
        raise unknown_choice("metric", metric, ("cosine", "euclidean"))
    n_rows, width = shape_of(features)
    if queries is not None and shape_of(queries)[1] != width:
        raise invalid("queries", f"have {width} columns like the features", queries.shape[1])
    most = n_rows - (queries is None)
    if not 1 <= k <= most:
        raise invalid("k", f"be from 1 to {most}", k)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        middle = features.mean(axis=0, dtype=np.float64) if metric == "euclidean" else None
    return _placed(features, middle, "features"), None if queries is None else _placed(queries, middle, "queries")


def _placed(features: np.ndarray, middle: Float64[np.ndarray, " columns"] | None, name: str) -> Float32[np.ndarray, "rows columns"]:
    """Move rows to lie around 0, where single precision loses least, or without a middle bring them to length 1."""
    out = np.empty(features.shape, np.float32)
    for start in range(0, len(features), BLOCK_ROWS):
        block = np.asarray(features[start : start + BLOCK_ROWS], np.float64)
        refuse_rows(np.asarray(~np.isfinite(block).all(axis=1)), start, "NaN or infinite", name=name)
        if middle is None:
            largest = np.abs(block).max(axis=1, keepdims=True)
            refuse_rows(largest[:, 0] == 0, start, "all zero", "which have no direction. ", name)
            block = block / largest  # so that squares neither overflow nor vanish
            block /= np.linalg.norm(block, axis=1, keepdims=True)
        else:
            block = block - middle
        out[start : start + len(block)] = block
    return out
