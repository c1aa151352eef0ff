"""How many clusters? The inertia over a geometric grid of k, and its elbow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from dataprune.errors import invalid
from dataprune.kmeans.blocks import Features
from dataprune.kmeans.extent import survey
from dataprune.kmeans.fit import ITERATIONS, drawn, fit, where_of
from dataprune.kmeans.passes import Map

SENSITIVITY = 1.0  # of Kneedle, as its authors recommend
MOST_CLUSTERS = 200
FEWEST_EACH = 5  # rows a cluster, on average, at the end of the grid
PER_DOUBLING = 2


@dataclass(frozen=True, eq=False)
class Curve:
    """The inertia at some numbers of clusters, and the elbow if there is one.

    Attributes:
        clusters: ascending.
        inertia: of k-means at each of them.
        elbow: the number of clusters at the elbow, or None.
    """

    clusters: Int64[np.ndarray, " ks"]
    inertia: Float64[np.ndarray, " ks"]
    elbow: int | None


def geometric_grid(rows: int, most: int = MOST_CLUSTERS) -> Int64[np.ndarray, " ks"]:
    """Return numbers of clusters to try, twice a doubling, from 2 to `most` or a fifth of the rows.

    Example:
        >>> geometric_grid(100).tolist()
        [2, 3, 4, 6, 8, 11, 16, 20]
    """
    last = max(2, min(most, rows // FEWEST_EACH))
    steps = np.arange(int(PER_DOUBLING * np.log2(last / 2)) + 1)
    grid = np.unique(np.append(np.rint(2.0 * 2 ** (steps / PER_DOUBLING)), last)).astype(np.int64)
    return grid if len(grid) == 1 or grid[-1] >= 1.2 * grid[-2] else np.delete(grid, -2)


def inertia_curve(
    features: Features,
    ks: Sequence[int] | Int64[np.ndarray, " ks"],
    *,
    seed: int = 0,
    restarts: int = 1,
    iterations: int = ITERATIONS,
    sample: int | None = None,
    workers: int | None = None,
    device: str = "cpu",
    map: Map | None = None,
) -> Curve:
    """Fit k-means with each number of clusters, and find the elbow.

    Args:
        features: as for `fit`, as are the others.
        ks: numbers of clusters, at least one.

    Raises:
        InputError: what `fit` refuses.
    """
    tried = np.unique(np.asarray(ks, np.int64))
    if not len(tried):
        raise invalid("ks", "hold at least one number of clusters", "none")
    where = where_of(workers, device, map)
    if sample is not None and sample < (rows := survey(features, where).rows):  # read once, not for each number
        features = drawn(features, rows, sample, seed, where)
    about = {"seed": seed, "restarts": restarts, "iterations": iterations, "workers": workers, "map": map}
    inertia = np.array([fit(features, k, device=device, **about).inertia for k in tried.tolist()])  # type: ignore[arg-type]
    return Curve(tried, inertia, elbow(tried, inertia))


def elbow(ks: ArrayLike, inertias: ArrayLike, sensitivity: float = SENSITIVITY) -> int | None:
    """Find where a falling curve stops to fall steeply, by Kneedle.

    Both axes are brought to 0 … 1 and the curve is turned to rise; its distance above the diagonal peaks at the elbow. A peak
    counts once the distance falls below it by `sensitivity` mean steps of k before it rises again. The first such peak is given.

    Args:
        ks: numbers of clusters, ascending.
        inertias: of each.
        sensitivity: 0 or more; smaller finds more elbows.

    Returns:
        One of `ks`, or None: fewer than three points, a straight line, a curve that never falls below its peak.

    Source: Satopää et al. 2011, "Finding a Kneedle in a Haystack", ICDCS workshops, section III. Departs: no smoothing; the end of
        the curve confirms a peak as another point would.

    Example:
        >>> elbow([1, 2, 3, 4, 5], [100, 20, 15, 10, 5])
        2
    """
    x, y = np.asarray(ks, np.float64), np.asarray(inertias, np.float64)
    if x.shape != y.shape or x.ndim != 1 or not (np.isfinite(x).all() and np.isfinite(y).all()) or (np.diff(x) <= 0).any():
        raise invalid("ks", "be finite, ascending and as many as the inertias", f"shapes {x.shape} and {y.shape}")
    if len(x) < 3 or y.max() == y.min():
        return None
    across, rise = (x - x[0]) / (x[-1] - x[0]), 1 - (y - y.min()) / (y.max() - y.min())
    above = rise - across
    peaks = np.flatnonzero((above[1:-1] >= above[:-2]) & (above[1:-1] > above[2:])) + 1
    step = sensitivity * np.diff(across).mean()
    for peak in peaks.tolist():
        following = peaks[peaks > peak]
        until = int(following[0]) if len(following) else len(x)
        if above[peak] > 0 and (above[peak + 1 : until] < above[peak] - step).any():
            return int(x[peak])
    return None
