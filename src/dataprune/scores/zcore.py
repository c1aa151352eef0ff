"""ZCore: how much of the space of features an example covers that no near one covers too, by random points. Needs no labels."""

import numpy as np
from jaxtyping import Float64

from dataprune.clustering import refuse_rows, shape_of
from dataprune.errors import invalid
from dataprune.streams import generator

POINTS_EACH, MOST_POINTS = 100, 1_000_000
PAIRS = 1000  # of coordinates, each with its share of the points: one search tree serves them
NEARBY = 100  # of weights 1/d⁴ all beyond the hundredth nearest together are about a hundredth
EXPONENT = 4


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
