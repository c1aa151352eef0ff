"""Nearest neighbours by scikit-learn: pairs within a distance, two scores, and how good features are by neighbours' labels."""

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import ArrayLike

from dataprune.clustering import BLOCK_ROWS, refuse_rows, shape_of
from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.trace.member import checked_labels

SHARPNESS = 0.07  # Wu et al. 2018, arXiv:1805.01978, section 3.4


def nearest(
    features: np.ndarray, queries: np.ndarray | None, k: int, *, metric: str = "cosine"
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    """Find the k rows of `features` that are nearest to each query, exactly, by N·Q·D multiplications.

    Args:
        queries: None are the features themselves, of which none is its own neighbour.
        k: from 1 to N, or N − 1.
        metric: "cosine", 1 − cosine, 0 … 2; or "euclidean", in the features' unit.
    Returns:  Distances, ascending in each row, and the rows of `features` they belong to.
    Raises:   InputError: another shape, values that are not finite (with rows), a row of zeros under "cosine", k out of range.

    Example:
        >>> distances, rows = nearest(np.array([[0.0], [3.0], [7.0]]), np.array([[2.0]]), 2, metric="euclidean")
        >>> distances.round(3).tolist(), rows.tolist()
        ([[1.0, 2.0]], [[1, 0]])
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
    """Find pairs of rows that lie within a distance, each once, among the `most` nearest neighbours of either.

    Args:
        queries: what becomes of each row (its mirror image); None are the rows themselves.
        limit: the largest distance, in the metric's unit.
        most: so that N equal rows do not give N² pairs.
    Returns:  Distances, and the two rows, the first of them below the second; by these.

    Example:
        >>> [part.round(3).tolist() for part in close_pairs(np.array([[0.0], [3.0], [3.5]]), None, 1.0, metric="euclidean")]
        [[0.5], [1], [2]]
    """
    if queries is not None and len(queries) != len(features):
        raise invalid("queries", f"be as many as features: {len(features)}", len(queries))
    for name, value, least in (("limit", limit, 0), ("most", most, 1)):
        if not value >= least:  # nor NaN
            raise invalid(name, f"be at least {least}", value)
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
    classes = checked_labels(labels)
    if len(classes) != len(features):
        raise invalid("labels", f"be as many as features: {len(features)}", len(classes))
    distances, rows = nearest(features, None, max(1, min(k, len(features) - 1)))
    return (classes[rows] == classes[:, None]).mean(axis=1), distances.mean(axis=1, dtype=np.float64)


def knn_accuracy(
    train_features: Float32[np.ndarray, "rows columns"],
    train_labels: Int64[np.ndarray, " rows"],
    test_features: Float32[np.ndarray, "queries columns"] | None,
    test_labels: Int64[np.ndarray, " queries"],
    k: int = 20,
) -> float:
    """Measure how often the k nearest rows by cosine name a query's label, each vote weighted by exp(cosine / 0.07).

    Args:
        test_features: queries; None are the train features themselves, each among the others.
        k: neighbours; of fewer rows all are taken.
    Returns:  A share in [0, 1]; of equal votes the lower class wins.
    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4 (there with k = 200).

    Example:
        >>> x = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
        >>> knn_accuracy(x, np.array([0, 0, 1]), x[:2], np.array([0, 1]), k=1)
        0.5
    """
    from sklearn.neighbors import KNeighborsClassifier

    n_rows = len(train_features) - (test_features is None)
    if n_rows < 1 or not len(test_labels):
        raise InputError(f"a nearest-neighbour accuracy needs rows on both sides, got {n_rows} and {len(test_labels)}.")
    votes = KNeighborsClassifier(min(k, n_rows), weights=lambda d: np.exp((1 - d) / SHARPNESS), algorithm="brute", metric="cosine")
    found = votes.fit(np.asarray(train_features, np.float64), train_labels).predict(test_features)
    return float((found == test_labels).mean())


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
