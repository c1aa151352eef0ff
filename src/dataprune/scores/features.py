"""Scores of feature vectors: how far an example lies from the centres of k-means, or from its class."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from dataprune.clustering import Features, UnitRows, assign, blocks, refuse_rows, shape_of
from dataprune.errors import invalid
from dataprune.trace.member import checked_labels

BLOCK_VALUES = 2**23  # 64 MB of float64


def median_distance(features: np.ndarray, labels: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure each example's Euclidean distance to the median feature vector of its class, coordinate by coordinate, in float64.

    The strategy `moderate` keeps the middle of this score. An example that is alone in its class has distance 0.

    Raises:   InputError: another shape, values that are not finite (with rows), labels of another number.
    Source: Xia et al. 2023, "Moderate Coreset", ICLR. Departs: the class's median as in the authors' code, not its mean.
    """
    _, width = shape_of(features)
    classes = _labels_of(features, labels)
    for block in _slices(*features.shape):
        refuse_rows(~np.isfinite(features[block]).all(axis=1), block.start, "NaN or infinite")
    distances = np.empty(len(features))
    order = np.argsort(classes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        columns = _slices(width, len(rows))
        median = np.concatenate([np.median(_read(features, rows, some), axis=0) for some in columns]).astype(np.float64)
        for block in _slices(len(rows), width):
            away = _read(features, rows[block], slice(None)) - median
            distances[rows[block]] = np.sqrt(np.einsum("nd,nd->n", away, away))
    return distances


def km(features: Features, centres: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Return each example's Euclidean distance to the nearest centre, as `fit` gives them; `assign` says what is refused.

    Source: after Sorscher et al. 2022, arXiv:2206.14486. Departs: Euclidean distance, as in the report on CIFAR and vegetables.

    Example:
        >>> km(np.array([[3.0, 4.0], [9.0, 1.0]]), [[0.0, 0.0], [9.0, 0.0]]).tolist()
        [5.0, 1.0]
    """
    return assign(features, centres)[1]


def km_cosine(features: Features, centres: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure 1 − cosine, 0 … 2, between each example and the centre that points most nearly its way; lengths do not matter.

    Args:     centres: as `clustering.fit(UnitRows(features), k)` gives them.
    Raises:   InputError: a row or a centre of zeros, which has no direction (with rows); what `km` refuses.
    Source: Sorscher et al. 2022, arXiv:2206.14486, section 6.

    Example:
        >>> km_cosine(np.array([[2.0, 0.0], [0.0, 5.0]]), [[1.0, 0.0]]).round(6).tolist()
        [0.0, 1.0]
    """
    ways = np.asarray(centres, np.float64)
    lengths = np.linalg.norm(ways, axis=-1, keepdims=True)
    if not lengths.all():
        raise invalid("centres", "each have a direction", "one of zeros", "Take another number of clusters.")
    # Between unit vectors the squared distance is 2 − 2 cosine.
    return assign(UnitRows(features), ways / lengths)[1] ** 2 / 2


def prototype_distance(features: Features, labels: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure each example's Euclidean distance to the mean of its class; one that is alone in its class has 0.

    Raises:   InputError: features that are not finite (with rows), labels of another number.
    Source: Sorscher et al. 2022, arXiv:2206.14486, supervised prototypes. Departs: Euclidean distance.

    Example:
        >>> prototype_distance(np.array([[0.0], [2.0], [7.0]]), [0, 0, 1]).tolist()
        [1.0, 1.0, 0.0]
    """
    _, place = np.unique(_labels_of(features, labels), return_inverse=True)
    counts, distances = np.bincount(place), np.empty(len(place))
    sums = np.zeros((len(counts), shape_of(features)[1]))
    for start, block in blocks(features):
        own = place[start : start + len(block)]
        order = np.argsort(own, kind="stable")
        present, first = np.unique(own[order], return_index=True)
        sums[present] += np.add.reduceat(block[order], first, axis=0, dtype=np.float64)
    means = sums / counts[:, None]
    for start, block in blocks(features):
        away = block - means[place[start : start + len(block)]]
        distances[start : start + len(block)] = np.sqrt(np.einsum("nd,nd->n", away, away))
    return distances


def _labels_of(features: Features, labels: ArrayLike) -> Int64[np.ndarray, " examples"]:
    classes, (n_rows, _) = checked_labels(labels), shape_of(features)
    if n_rows != len(classes):
        raise invalid("labels", f"be as many as features: {n_rows}", len(classes))
    return classes


def _read(features: np.ndarray, rows: Int64[np.ndarray, " rows"], columns: slice) -> Float64[np.ndarray, "rows columns"]:
    return np.ascontiguousarray(features[:, columns][rows], dtype=np.float64)


def _slices(length: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_VALUES // max(1, width))
    return (slice(start, start + step) for start in range(0, length, step))
