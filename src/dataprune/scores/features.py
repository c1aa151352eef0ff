"""Scores of feature vectors: how far an example lies from centres of k-means or its class; what it alone covers of the space."""

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from dataprune.blocks import slices
from dataprune.clustering import Features, UnitRows, assign, blocks, refuse_rows, shape_of
from dataprune.errors import invalid
from dataprune.scores.neighbours import labels_of
from dataprune.streams import generator

BLOCK_VALUES = 2**23  # 64 MB of float64
POINTS_EACH, MOST_POINTS = 100, 1_000_000
PAIRS = 1000  # of coordinates, each with its share of the points: one search tree serves them
NEARBY = 100  # of weights 1/d⁴ all beyond the hundredth nearest together are about a hundredth
EXPONENT = 4


def median_distance(features: np.ndarray, labels: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure each example's Euclidean distance to the median feature vector of its class, coordinate by coordinate, in float64.

    The strategy `moderate` keeps the middle of this score. An example that is alone in its class has distance 0.

    Source:   Xia et al. 2023, "Moderate Coreset", ICLR. Departs: the class's median as in the authors' code, not its mean.
    """
    _, width = shape_of(features)
    classes = labels_of(features, labels)
    for block in slices(len(features), width, BLOCK_VALUES):
        refuse_rows(~np.isfinite(features[block]).all(axis=1), block.start, "NaN or infinite")
    distances = np.empty(len(features))
    order = np.argsort(classes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        columns = slices(width, len(rows), BLOCK_VALUES)
        median = np.concatenate([np.median(_read(features, rows, some), axis=0) for some in columns]).astype(np.float64)
        for block in slices(len(rows), width, BLOCK_VALUES):
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

    The centres are as `clustering.fit(UnitRows(features), k)` gives them; a row or a centre of zeros has no direction and is
    refused.

    Source:   Sorscher et al. 2022, arXiv:2206.14486, section 6.
    """
    ways = np.asarray(centres, np.float64)
    lengths = np.linalg.norm(ways, axis=-1, keepdims=True)
    if not lengths.all():
        raise invalid("centres", "each have a direction", "one of zeros", "Take another number of clusters.")
    # Between unit vectors the squared distance is 2 − 2 cosine.
    return assign(UnitRows(features), ways / lengths)[1] ** 2 / 2


def prototype_distance(features: Features, labels: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure each example's Euclidean distance to the mean of its class; one that is alone in its class has 0.

    Source:   Sorscher et al. 2022, arXiv:2206.14486, supervised prototypes. Departs: Euclidean distance.
    """
    _, place = np.unique(labels_of(features, labels), return_inverse=True)
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


def zcore(features: np.ndarray, *, points: int | None = None, seed: int = 0) -> Float64[np.ndarray, " examples"]:
    """Count how often an example is the nearest to a random point, less its share of the blame for lying near such a one.

    A point has two random coordinates, each of triangular distribution between the least, the median and the largest there is. The
    nearest example gets 1, and the 100 next to it share −1 by 1/d⁴, all by the city-block distance; the scores sum to 0. Of equal
    rows the first gets the credit, the others share the blame, so one of them is kept.

    Args:     points: by default 100 an example, at most a million; the time grows with them and with 1,000 · N log N.
    Raises:   InputError: fewer than two rows or points, values that are not finite (with rows).
    Source: Griffin et al. 2024, arXiv:2411.15349. Departs: several points share a pair of coordinates, 100 neighbours of 1,000, no
        random start value.
    """
    from scipy.spatial import KDTree

    n_rows, width = shape_of(features)
    refuse_rows(~np.isfinite(features).all(axis=1), 0, "NaN or infinite")
    points = min(MOST_POINTS, POINTS_EACH * n_rows) if points is None else points
    for name, value, least in (("features", n_rows, 2), ("points", points, 1)):
        if value < least:
            raise invalid(name, f"be at least {least}", value)
    draw, scores = generator(seed, "zcore"), np.zeros(n_rows)
    low, middle, high = features.min(axis=0), np.median(features, axis=0), features.max(axis=0)
    high = np.where(high > low, high, low + 1)  # any point does where a coordinate is the same for all
    _, first, copy_of = np.unique(features, axis=0, return_index=True, return_inverse=True)
    for part in np.array_split(np.arange(points), min(PAIRS, points)):
        pair = draw.choice(width, min(2, width), replace=False)
        placed = np.ascontiguousarray(features[:, pair], np.float64)
        tree = KDTree(placed)
        _, found = tree.query(draw.triangular(low[pair], middle[pair], high[pair], (len(part), len(pair))), p=1)
        nearest, times = np.unique(first[copy_of[found]], return_counts=True)
        scores[nearest] += times
        distance, near = tree.query(placed[nearest], min(NEARBY + 1, n_rows), p=1)
        distance[near == nearest[:, None]] = np.inf
        least = distance.min(axis=1, keepdims=True)  # of equal ones 0: these take all the blame
        unit = np.where(least > 0, least, 1.0)
        blame = np.where(least > 0, (np.maximum(distance, unit) / unit) ** -EXPONENT, distance == 0)
        np.subtract.at(scores, near, blame * (times / blame.sum(axis=1))[:, None])
    return scores


def _read(features: np.ndarray, rows: Int64[np.ndarray, " rows"], columns: slice) -> Float64[np.ndarray, "rows columns"]:
    return np.ascontiguousarray(features[:, columns][rows], dtype=np.float64)
