"""How far does an example lie from its like?

Scores from feature vectors instead of a trace. Knows distances; does not know where features come from. Features may be a memory
map: they are read in blocks.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from dataprune.errors import InputError, invalid, join_some
from dataprune.kmeans import Features, assign, unit_rows
from dataprune.kmeans.blocks import blocks
from dataprune.trace.member import checked_labels

# One block of features in float64: 64 MB.
BLOCK_VALUES = 2**23


FEATURE_SCORES = {
    "km": "Euclidean distance to the nearest centre of k-means",
    "km_cosine": "1 − cosine to the nearest centre of k-means on unit vectors",
    "prototype_distance": "Euclidean distance to the mean of the class",
}
"""The scores of feature vectors that were given, each in one line; larger is harder."""


def median_distance(features: np.ndarray, labels: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure each example's Euclidean distance to the median feature vector of its class.

    The median is taken coordinate by coordinate. The strategy `moderate` keeps the middle of this score. An example that is alone
    in its class is its own median and has distance 0.

    Args:
        features: (N, D) numbers of any type and memory order; computed in float64.
        labels: (N,) class indices.

    Returns:
        0 or more, in the features' unit; larger is farther from its class, harder.

    Raises:
        InputError: another shape, values that are not finite (with rows), labels of another number.
    Source: Xia et al. 2023, "Moderate Coreset", ICLR. Departs: the class's median as in the authors' code, not its mean.
    """
    classes = checked_labels(labels)
    if features.ndim != 2 or features.shape[1] == 0 or not np.issubdtype(features.dtype, np.number):
        raise invalid("features", "be numbers of shape (examples, dimensions)", f"{features.dtype} of shape {features.shape}")
    if len(features) != len(classes):
        raise invalid("labels", f"be as many as features: {len(features)}", len(classes))
    _check_finite(features)
    distances = np.empty(len(features))
    order = np.argsort(classes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        median = _median(features, rows)
        for block in _blocks(len(rows), features.shape[1]):
            away = _read(features, rows[block], slice(None)) - median
            distances[rows[block]] = np.sqrt(np.einsum("nd,nd->n", away, away))
    return distances


def km(features: Features, centres: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure each example's Euclidean distance to the nearest centre of k-means. Needs no labels.

    Args:
        features: (N, D), or blocks that can be read again.
        centres: (k, D), as `kmeans.fit(features, k)` gives them.

    Returns:
        0 or more, in the features' unit; larger is farther from everything common, harder.

    Raises:
        InputError: features that are not finite (with rows), or of another width than the centres.
    Source: after Sorscher et al. 2022, arXiv:2206.14486. Departs: Euclidean distance, as in the report on CIFAR and vegetables.

    Example:
        >>> km(np.array([[3.0, 4.0], [9.0, 1.0]]), [[0.0, 0.0], [9.0, 0.0]]).tolist()
        [5.0, 1.0]
    """
    return assign(features, centres)[1]


def km_cosine(features: Features, centres: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure 1 − cosine between each example and the centre of k-means that points most nearly its way. Needs no labels.

    Args:
        features: (N, D), or blocks that can be read again; their lengths do not matter.
        centres: (k, D), as `kmeans.fit(unit_rows(features), k)` gives them; their lengths do not matter.

    Returns:
        0 … 2; larger is harder.

    Raises:
        InputError: a row or a centre of zeros, which has no direction (with rows); what `km` refuses.
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
    return assign(unit_rows(features), ways / lengths)[1] ** 2 / 2


def prototype_distance(features: Features, labels: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure each example's Euclidean distance to the mean of its class.

    Args:
        features: (N, D), or blocks that can be read again.
        labels: (N,) class indices.

    Returns:
        0 or more, in the features' unit; larger is farther from its class, harder. An example alone in its class has 0.

    Raises:
        InputError: features that are not finite (with rows), labels of another number.
    Source: Sorscher et al. 2022, arXiv:2206.14486, supervised prototypes. Departs: Euclidean distance.

    Example:
        >>> prototype_distance(np.array([[0.0], [2.0], [7.0]]), [0, 0, 1]).tolist()
        [1.0, 1.0, 0.0]
    """
    classes = checked_labels(labels)
    if isinstance(features, np.ndarray) and len(features) != len(classes):
        raise invalid("labels", f"be as many as features: {len(features)}", len(classes))
    _, place = np.unique(classes, return_inverse=True)
    counts, sums, start = np.bincount(place), None, 0
    for block in blocks(features):
        own = place[start : start + len(block)]
        if len(own) < len(block):
            raise invalid("labels", "be as many as features", f"{len(classes)}, fewer")
        sums = np.zeros((len(counts), block.shape[1])) if sums is None else sums
        order = np.argsort(own, kind="stable")
        present, first = np.unique(own[order], return_index=True)
        sums[present] += np.add.reduceat(block[order], first, axis=0, dtype=np.float64)
        start += len(block)
    if start < len(classes):
        raise invalid("labels", f"be as many as features: {start}", len(classes))
    assert sums is not None, "`blocks` gives at least one"
    means, distances, start = sums / counts[:, None], np.empty(len(classes)), 0
    for block in blocks(features):
        away = block - means[place[start : start + len(block)]]
        distances[start : start + len(block)] = np.sqrt(np.einsum("nd,nd->n", away, away))
        start += len(block)
    return distances


def _median(features: np.ndarray, rows: Int64[np.ndarray, " class_examples"]) -> Float64[np.ndarray, " dimensions"]:
    parts = [np.median(_read(features, rows, columns), axis=0) for columns in _blocks(features.shape[1], len(rows))]
    return np.concatenate(parts).astype(np.float64)


def _read(features: np.ndarray, rows: Int64[np.ndarray, " rows"], columns: slice) -> Float64[np.ndarray, "rows columns"]:
    return np.ascontiguousarray(features[:, columns][rows], dtype=np.float64)


def _blocks(length: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_VALUES // max(1, width))
    return (slice(start, start + step) for start in range(0, length, step))


def _check_finite(features: np.ndarray) -> None:
    for block in _blocks(*features.shape):
        bad = np.flatnonzero(~np.isfinite(features[block]).all(axis=1)) + block.start
        if len(bad):
            raise InputError(f"`features` are NaN or infinite at rows {join_some(bad)}. Leave these examples out.")
