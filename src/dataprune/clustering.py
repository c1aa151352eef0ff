"""Features in blocks; k-means by scikit-learn, the curve of its inertia and the elbow; each row's nearest centre."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped
from numpy.typing import ArrayLike

from dataprune.errors import InputError, invalid, join_some
from dataprune.streams import generator, torch_seed

BLOCK_ROWS, BLOCK_VALUES = 4096, 2**21
FIT_ROWS, FIT_BYTES = 1_000_000, 2**30  # centres are fitted on a sample of more; scikit-learn holds it twice
START_ROWS, START_ROWS_EACH = 10_000, 100  # k-means++ sees at least so many rows, and so many for each cluster
ITERATIONS, TOLERANCE = 100, 1e-4
NOTHING = 1e-10  # of the whole spread: rounding
MOST_CLUSTERS, FEWEST_EACH, PER_DOUBLING = 200, 5, 2  # of the grid; rows a cluster, on average, at its end


@runtime_checkable
class Blocks(Protocol):
    """Feature vectors that are read block by block (n, D), in order, each time anew."""

    @property
    def rows(self) -> int: ...

    @property
    def width(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


Features = np.ndarray | Blocks  # an array (N, D) of any numbers and layout, also a memory map, or vectors that are read in blocks


@dataclass(frozen=True, eq=False)
class Clusters:
    """The centres of k-means in the features' unit, the squared distances of the fitted `rows` (all, or a sample) to their nearest
    one added up, how many are nearest to each, and the best start's iterations."""

    centres: Float64[np.ndarray, "clusters dimensions"]
    inertia: float
    sizes: Int64[np.ndarray, " clusters"]
    rows: int
    iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class Curve:
    """The inertia at some numbers of clusters, ascending, and the elbow if there is one."""

    clusters: Int64[np.ndarray, " ks"]
    inertia: Float64[np.ndarray, " ks"]
    elbow: int | None


def fit(
    features: Features, clusters: int, *, seed: int = 0, restarts: int = 1, iterations: int = ITERATIONS, sample: int | None = None
) -> Clusters:
    """Find k centres by scikit-learn's k-means on one thread: equal seeds give equal bits.

    The best of `restarts` counts; what does not fit memory is read once, and of more than a million rows or 1 GB a `sample` is
    fitted.

    Raises:   InputError: NaN or infinite values (with rows), fewer rows or fewer different rows than clusters.
    Source:   Lloyd 1982; Arthur and Vassilvitskii 2007 (greedy k-means++). Departs: the start sees a sample of at least 10,000 rows
              and 100 for each cluster.
    """
    for name, value in (("restarts", restarts), ("iterations", iterations), ("clusters", clusters)):
        if value < 1:
            raise invalid(name, "be at least 1", value)
    if sample is not None and sample < min(clusters, shape_of(features)[0]):
        raise invalid("sample", f"be at least as many rows as clusters: {clusters}", sample)
    x = draw_rows(features, seed, sample)
    if len(x) < clusters:
        raise invalid("clusters", f"be at most the number of rows, {len(x)}", clusters)
    if clusters > 1 and (x.min(axis=0) == x.max(axis=0)).all():
        raise InputError(f"`features` are the same in all {len(x)} rows: there are no {clusters} clusters to find.")
    # Around 0 and of about unit size, where float32 loses least; a power of two changes no digit.
    scale = 2.0 ** -np.clip(np.frexp(max(x.max(), -x.min()))[1], -100, 100)
    x *= np.float32(scale)
    middle = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    x -= middle
    starts = (torch_seed(seed, "kmeans", "start", start) % 2**32 for start in range(restarts))
    found = min((_lloyd(x, clusters, start, iterations) for start in starts), key=lambda one: one.inertia)
    n_used = int((found.sizes > 0).sum())
    if n_used < clusters and found.inertia <= NOTHING * np.einsum("nd,nd->", x, x, dtype=np.float64):
        raise invalid("clusters", f"be at most the number of different rows, {n_used}", clusters)
    return replace(found, centres=(found.centres + middle) / scale, inertia=float(found.inertia / scale**2))


def _lloyd(x: Float32[np.ndarray, "rows dimensions"], clusters: int, random_state: int, iterations: int) -> Clusters:
    from sklearn.cluster import KMeans, kmeans_plusplus
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    seen = x
    if len(x) > (n_seen := max(START_ROWS, START_ROWS_EACH * clusters)):
        seen = x[np.sort(np.random.default_rng(random_state).choice(len(x), n_seen, replace=False))]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters: `fit` says so
        start, _ = kmeans_plusplus(seen, clusters, random_state=random_state)
        found = KMeans(clusters, init=start, n_init=1, max_iter=iterations, tol=TOLERANCE, algorithm="lloyd").fit(x)
    centres = found.cluster_centers_.astype(np.float64)
    nearest, distance = assign(x, centres)
    sizes = np.bincount(nearest, minlength=clusters)
    return Clusters(centres, float((distance**2).sum()), sizes, len(x), int(found.n_iter_), bool(found.n_iter_ < iterations))


def assign(features: Features, centres: ArrayLike) -> tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Find each row's nearest centre, the first of equals, and the Euclidean distance to it; what is not finite is refused."""
    from sklearn.metrics import pairwise_distances_argmin
    from threadpoolctl import threadpool_limits

    near = np.asarray(centres, np.float64)
    if near.ndim != 2 or 0 in near.shape or not np.isfinite(near).all():
        raise invalid("centres", "be finite numbers of shape (clusters, dimensions)", f"shape {near.shape}")
    n_rows, width = shape_of(features)
    if width != near.shape[1]:
        raise invalid("features", f"be as wide as the centres: {near.shape[1]} columns", width)
    middle = near.mean(axis=0)
    near = near - middle
    nearest, distance = np.empty(n_rows, np.int64), np.empty(n_rows)
    with threadpool_limits(1):
        for start, block in blocks(features):
            here = slice(start, start + len(block))
            points = block - middle
            nearest[here] = pairwise_distances_argmin(points, near)
            points -= near[nearest[here]]
            distance[here] = np.sqrt(np.einsum("nd,nd->n", points, points))
    return nearest, distance


def inertia_curve(
    features: Features, ks: ArrayLike, *, seed: int = 0, iterations: int = ITERATIONS, sample: int | None = None
) -> Curve:
    """Fit k-means with each number of clusters, and find the elbow; arguments and errors are those of `fit`."""
    tried = np.unique(np.asarray(ks, np.int64))
    if not len(tried):
        raise invalid("ks", "hold at least one number of clusters", "none")
    x = draw_rows(features, seed, sample)
    inertia = np.array([fit(x, k, seed=seed, iterations=iterations).inertia for k in tried.tolist()])
    return Curve(tried, inertia, elbow(tried, inertia))


def geometric_grid(rows: int) -> Int64[np.ndarray, " ks"]:
    """Return numbers of clusters to try, twice a doubling, from 2 to 200 or a fifth of the rows."""
    last = max(2, min(MOST_CLUSTERS, rows // FEWEST_EACH))
    steps = np.arange(int(PER_DOUBLING * np.log2(last / 2)) + 1)
    grid = np.unique(np.append(np.rint(2.0 * 2 ** (steps / PER_DOUBLING)), last)).astype(np.int64)
    return grid if len(grid) == 1 or grid[-1] >= 1.2 * grid[-2] else np.delete(grid, -2)


def elbow(ks: ArrayLike, inertias: ArrayLike) -> int | None:
    """Find where a falling curve stops to fall steeply, by Kneedle: one of `ks`, or None.

    Both axes are brought to 0 … 1 and the curve is turned to rise; its distance above the diagonal peaks at the elbow. A peak
    counts once the distance falls below it by a mean step of k before it rises again. The first such peak is given.

    Source:   Satopää et al. 2011, "Finding a Kneedle in a Haystack", ICDCS workshops, section III. Departs: no smoothing; the end
              of the curve confirms a peak as another point would.
    """
    x, y = np.asarray(ks, np.float64), np.asarray(inertias, np.float64)
    if len(x) < 3 or y.max() == y.min():
        return None
    across, rise = (x - x[0]) / (x[-1] - x[0]), 1 - (y - y.min()) / (y.max() - y.min())
    above = rise - across
    peaks = np.flatnonzero((above[1:-1] >= above[:-2]) & (above[1:-1] > above[2:])) + 1
    step = np.diff(across).mean()
    for peak, following in pairwise([*peaks.tolist(), len(x)]):
        if above[peak] > 0 and (above[peak + 1 : following] < above[peak] - step).any():
            return int(x[peak])
    return None


def blocks(features: Features) -> Iterator[tuple[int, Float32[np.ndarray, "rows dimensions"]]]:
    """Yield the number of the first row and the rows as float32, block by block; NaN and infinity are refused (with rows)."""
    n_rows, width = shape_of(features)
    height = max(1, min(BLOCK_ROWS, BLOCK_VALUES // width))
    start = 0
    for part in (features,) if isinstance(features, np.ndarray) else features:
        for first in range(0, len(part), height):
            with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is refused
                block = np.ascontiguousarray(part[first : first + height], dtype=np.float32)
            refuse_rows(np.asarray(~np.isfinite(block).all(axis=1)), start, "NaN or infinite")
            yield start, block
            start += len(block)
    if start != n_rows:
        raise invalid("features", f"give the same {n_rows} rows each time they are read", start)


def take(features: Features, rows: Int64[np.ndarray, " taken"]) -> Float32[np.ndarray, "taken dimensions"]:
    """Read some rows in the order that is given, in one pass over all."""
    order = np.argsort(rows, kind="stable")
    ascending, taken = rows[order], np.empty((len(rows), shape_of(features)[1]), np.float32)
    for start, block in blocks(features):
        low, high = np.searchsorted(ascending, (start, start + len(block)))
        taken[order[low:high]] = block[ascending[low:high] - start]
    return taken


def draw_rows(features: Features, seed: int, sample: int | None = None) -> Float32[np.ndarray, "rows dimensions"]:
    """Read all rows, or of more than `sample` (by default of more than fit memory) a sample, in their order."""
    n_rows, width = shape_of(features)
    most = min(FIT_ROWS, FIT_BYTES // (4 * width)) if sample is None else sample
    if n_rows <= most:
        return take(features, np.arange(n_rows))
    return take(features, np.sort(generator(seed, "kmeans", "sample").choice(n_rows, most, replace=False)))


@dataclass(frozen=True, eq=False)
class UnitRows:
    """Features, moved by column, with each row divided by its length; one without a direction is refused when it is read."""

    features: Features
    shift: Float64[np.ndarray, " dimensions"] | float = 0.0

    @classmethod
    def from_middle(cls, features: Features) -> "UnitRows":
        """Return the directions in which rows lie from their mean."""
        return cls(features, sum(block.sum(axis=0, dtype=np.float64) for _, block in blocks(features)) / shape_of(features)[0])

    @property
    def rows(self) -> int:
        return shape_of(self.features)[0]

    @property
    def width(self) -> int:
        return shape_of(self.features)[1]

    def __iter__(self) -> Iterator[np.ndarray]:
        for start, block in blocks(self.features):
            wide = block.astype(np.float64) - self.shift
            lengths = np.sqrt(np.einsum("nd,nd->n", wide, wide))
            refuse_rows(lengths == 0, start, "all zero", "which have no direction. ")
            yield (wide / lengths[:, None]).astype(np.float32)


def refuse_rows(is_bad: Shaped[np.ndarray, " rows"], start: int, fault: str, why: str = "", name: str = "features") -> None:
    """Refuse features with bad rows, and name these; the first is row `start`."""
    if is_bad.any():
        rows = join_some((np.flatnonzero(is_bad) + start).tolist())
        raise InputError(f"`{name}` are {fault} at rows {rows}{', ' + why if why else '. '}Leave these examples out.")


def shape_of(features: Features) -> tuple[int, int]:
    """Return how many rows and columns there are; none are refused, and what is no number."""
    if not isinstance(features, np.ndarray):
        if not hasattr(features, "width"):
            raise invalid("features", "be an array or a feature file", type(features).__name__, "Make one with np.asarray(...).")
        return features.rows, features.width
    if features.ndim != 2 or features.shape[1] == 0 or features.dtype.kind not in "iufb":
        raise invalid("features", "be numbers of shape (examples, dimensions)", f"{features.dtype} of shape {features.shape}")
    if not len(features):
        raise invalid("features", "hold at least one row", "none")
    return features.shape[0], features.shape[1]
