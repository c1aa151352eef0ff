"""Where do the centres of k groups lie, and how far is each example from its own?"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import ArrayLike

from dataprune.errors import InputError, invalid
from dataprune.kmeans.blocks import Features, check_finite
from dataprune.kmeans.extent import Extent, gather, survey
from dataprune.kmeans.lloyd import Frame, Points, Stage, iterate, nearest_of
from dataprune.kmeans.passes import Map, Where, over_blocks
from dataprune.streams import generator

ITERATIONS = 100
TOLERANCE = 1e-4
START_ROWS = 4096  # k-means++ sees at least so many rows, and 100 for each cluster
START_ROWS_EACH = 100
NOTHING = 1e-10  # of the whole spread: rounding
NARROW_ROWS = 128  # rows turned into float64 together: they stay in the cache


@dataclass(frozen=True, eq=False)
class Clusters:
    """The centres of k-means.

    Attributes:
        centres: (k, D), in the features' unit.
        inertia: sum of squared distances of the fitted rows to their nearest centre.
        sizes: (k,) how many of the fitted rows are nearest to each centre.
        rows: how many rows were fitted: all, or the sample.
        iterations: how many were done in the best restart.
        converged: whether the centres stood still before the last iteration.
    """

    centres: Float64[np.ndarray, "clusters dimensions"]
    inertia: float
    sizes: Int64[np.ndarray, " clusters"]
    rows: int
    iterations: int
    converged: bool


def fit(
    features: Features,
    clusters: int,
    *,
    seed: int = 0,
    restarts: int = 1,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
    start: ArrayLike | None = None,
    sample: int | None = None,
    workers: int | None = None,
    device: str = "cpu",
    map: Map | None = None,
    keeper: "Keeper | None" = None,
) -> Clusters:
    """Find k centres by k-means++ and Lloyd's iterations.

    Distances are float32 products of blocks that were moved to their mean; sums are float64. A cluster that loses all its points
    starts again at the point farthest from its centre. On a CPU neither `workers` nor `map` nor the blocks in which features come
    change a bit of the result, nor does an interruption.

    Args:
        features: (N, D) numbers of any type and layout, also a memory map; or blocks (n, D) that can be read again, of which no
            more than 0.5 GB is held at once.
        clusters: k, at most the number of rows.
        seed: of the start and the sample.
        restarts: how many starts are tried; the one of the least inertia is given.
        iterations: at most so many.
        tolerance: stop when the squared moves of all centres sum up to this share of the variance of a row's columns (their mean).
        start: (k, D) centres to start from, in place of k-means++.
        sample: fit so many rows, drawn by the seed, in place of all.
        workers: threads; None is one for each core.
        device: of torch.
        map: does the passes in place of threads, over features that can be read in parts (`rows`, `width` and `part(start, stop)`).
        keeper: keeps how far the iterations are, and is asked for it at the start.

    Returns:
        Centres, inertia (in the features' unit, squared) and how it went.

    Raises:
        InputError: NaN or infinite values (with rows), fewer rows or fewer different rows than clusters, rows that are all the same
            (for more than one cluster), blocks of different width.
    Source: Lloyd 1982; Arthur and Vassilvitskii 2007, with greedy candidates as their section 6 names; empty clusters as in
        scikit-learn. Departs: the start sees a sample of at least 4,096 rows and 100 for each cluster.

    Example:
        >>> fit(np.array([[0.0], [1.0], [10.0], [11.0]]), 2).inertia
        1.0
    """
    where = where_of(workers, device, map)
    for name, value, least in (("restarts", restarts, 1), ("iterations", iterations, 1), ("clusters", clusters, 1)):
        if value < least:
            raise invalid(name, f"be at least {least}", value)
    if not tolerance >= 0:
        raise invalid("tolerance", "be 0 or more", tolerance)
    extent = survey(features, where)
    if sample is not None and sample < extent.rows:
        if sample < clusters:
            raise invalid("sample", f"be at least as many rows as clusters: {clusters}", sample)
        features = drawn(features, extent.rows, sample, seed, where)
        extent = survey(features, where)
    _check(extent, clusters)
    frame = Frame.of(extent.mean, extent.reach)
    points = Points.of(features, extent, frame, where)
    given = None if start is None else _given(start, clusters, extent.width, frame)

    def begin(restart: int) -> Float64[np.ndarray, "clusters dimensions"]:
        return _plus_plus(points, clusters, generator(seed, "kmeans", "start", restart)) if given is None else given

    enough = tolerance * extent.spread * frame.scale**2 / (extent.rows * extent.width)
    best = _best(points, begin, restarts if given is None else 1, (iterations, enough), keeper)
    n_used = int((best.sizes > 0).sum())
    if n_used < clusters and best.inertia <= NOTHING * extent.spread:
        raise invalid("clusters", f"be at most the number of different rows, {n_used}", clusters)
    return best


def _best(
    points: Points,
    begin: Callable[[int], Float64[np.ndarray, "clusters dimensions"]],
    restarts: int,
    limits: tuple[int, float],
    keeper: "Keeper | None",
) -> Clusters:
    """Iterate from each start, go on where the keeper says, and give the clusters of the least inertia."""
    kept = None if keeper is None else keeper.load()
    best = None if kept is None else kept.best
    for restart in range(0 if kept is None else kept.restart, restarts):
        stage = Stage(0, begin(restart)) if kept is None or restart > kept.restart else kept.stage
        note = None if keeper is None else partial(_keep, keeper, restart, best)
        centres, number, converged = iterate(points, stage, *limits, note)
        found = _measured(points, points.frame.back(centres), number, converged)
        best = found if best is None or found.inertia < best.inertia else best
    assert best is not None
    return best


def _keep(keeper: "Keeper", restart: int, best: Clusters | None, stage: Stage) -> None:
    keeper.save(Progress(restart, stage, best))


def assign(
    features: Features, centres: ArrayLike, *, workers: int | None = None, device: str = "cpu", map: Map | None = None
) -> tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Find each row's nearest centre, and how far it is.

    Args:
        features: as for `fit`; read once, block by block.
        centres: (k, D), as `fit` gives them.
        workers: threads; None is one for each core.
        device: of torch.
        map: as for `fit`.

    Returns:
        The index of the nearest centre, the first of equals (found in float32), and the Euclidean distance to it (float64).

    Raises:
        InputError: values that are not finite (with rows), another width than that of the centres.

    Example:
        >>> [one.tolist() for one in assign(np.array([[0.0, 3.0], [9.0, 0.0]]), [[0.0, 0.0], [9.0, 0.0]])]
        [[0, 1], [3.0, 0.0]]
    """
    where = where_of(workers, device, map)
    found = list(over_blocks(_Assigning.to(_centres(centres), where.device), features, where))
    return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])


def drawn(
    features: Features,
    rows: int,
    sample: int,
    seed: int,
    where: Where = Where(),  # noqa: B008 frozen
) -> Float32[np.ndarray, "sample dimensions"]:
    """Read a sample of `rows` rows, drawn by the seed, in the order of the rows."""
    return gather(features, np.sort(generator(seed, "kmeans", "sample").choice(rows, sample, replace=False)), where)


@dataclass(frozen=True, eq=False)
class Progress:
    """How far `fit` is: the restart it is at, the iteration, and the best of the restarts before."""

    restart: int
    stage: Stage
    best: Clusters | None


@runtime_checkable
class Keeper(Protocol):
    """Keeps the progress of one `fit`."""

    def load(self) -> Progress | None:
        """Return what was saved last, of this very fit; None at the first time."""

    def save(self, progress: Progress) -> None:
        """Keep this in place of what was kept."""


@dataclass(frozen=True, eq=False)
class _Assigning:
    """Assigns one block after the other to the same centres, in a frame that depends on these alone."""

    centres: Float64[np.ndarray, "clusters dimensions"]
    near: Float32[np.ndarray, "clusters dimensions"]
    frame: Frame
    device: str

    @classmethod
    def to(cls, centres: Float64[np.ndarray, "clusters dimensions"], device: str) -> "_Assigning":
        middle = centres.mean(axis=0)
        frame = Frame.of(middle, float(np.abs(centres - middle).max()))
        near = ((centres - frame.shift) * frame.scale).astype(np.float32)
        return cls(centres, near, frame, device)

    def __call__(self, start: int, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        check_finite(start, block)
        if block.shape[1] != self.centres.shape[1]:
            raise invalid("features", f"be as wide as the centres: {self.centres.shape[1]} columns", block.shape[1])
        points = torch.from_numpy(self.frame.points(block)).to(self.device)
        nearest = nearest_of(points, self.near)[1].cpu().numpy()
        return nearest, np.sqrt(_squared_distances(block, self.centres, nearest))


@dataclass(frozen=True, eq=False)
class _Measuring:
    """Measures blocks with the distances that `assign` gives: their sum of squares, and the size of each cluster."""

    assigning: _Assigning

    def __call__(self, start: int, block: np.ndarray) -> tuple[float, np.ndarray]:
        nearest, distance = self.assigning(start, block)
        return float((distance**2).sum()), np.bincount(nearest, minlength=len(self.assigning.centres))


def _squared_distances(
    block: np.ndarray, centres: Float64[np.ndarray, "clusters dimensions"], nearest: Int64[np.ndarray, " rows"]
) -> Float64[np.ndarray, " rows"]:
    """Return the squared distance of each row to its centre, in float64, a few rows at a time so that they stay in the cache."""
    squares = np.empty(len(block))
    for start in range(0, len(block), NARROW_ROWS):
        some = slice(start, start + NARROW_ROWS)
        away = block[some].astype(np.float64)
        away -= centres[nearest[some]]
        squares[some] = np.einsum("nd,nd->n", away, away)
    return squares


def _measured(points: Points, centres: Float64[np.ndarray, "clusters dimensions"], iterations: int, converged: bool) -> Clusters:
    inertia, sizes = 0.0, np.zeros(len(centres), np.int64)
    work = _Measuring(_Assigning.to(centres, points.where.device))
    for squares, counts in over_blocks(work, points.features, points.where):
        inertia += squares
        sizes += counts
    return Clusters(centres, inertia, sizes, points.rows, iterations, converged)


def _plus_plus(points: Points, clusters: int, draw: np.random.Generator) -> Float64[np.ndarray, "clusters dimensions"]:
    """Choose points far from each other: each by chance in proportion to its squared distance, the best of a few candidates."""
    n_rows = min(points.rows, max(START_ROWS, START_ROWS_EACH * clusters))
    seen = points.gather(np.sort(draw.choice(points.rows, n_rows, replace=False)))
    lengths = np.einsum("nd,nd->n", seen, seen)
    candidates = 2 + int(np.log(clusters))
    chosen = [int(draw.integers(n_rows))]
    nearest = _squares(seen, lengths, np.array(chosen))[0]
    for _ in range(1, clusters):
        steps = np.cumsum(nearest, dtype=np.float64)
        if steps[-1] > 0:
            tried = np.searchsorted(steps, draw.random(candidates) * steps[-1], side="right").clip(max=n_rows - 1)
        else:  # the sample holds no other point: Lloyd's iterations give the cluster the farthest point of all
            tried = draw.integers(n_rows, size=1)
        left = np.minimum(_squares(seen, lengths, tried), nearest)
        best = int(left.sum(axis=1, dtype=np.float64).argmin())
        nearest = left[best]
        chosen.append(int(tried[best]))
    return seen[chosen].astype(np.float64)


def _squares(points: np.ndarray, lengths: np.ndarray, rows: Int64[np.ndarray, " tried"]) -> np.ndarray:
    """Return the squared distances of all points to some of them; a point's to itself is exactly 0."""
    away = lengths[rows][:, None] + lengths[None, :] - 2 * (points[rows] @ points.T)
    # What is left of the subtraction of equals is rounding, not distance.
    away[away < 1e-6 * (lengths[rows][:, None] + lengths[None, :])] = 0
    return np.asarray(away)


def _given(start: ArrayLike, clusters: int, width: int, frame: Frame) -> Float64[np.ndarray, "clusters dimensions"]:
    centres = _centres(start, "start")
    if centres.shape != (clusters, width):
        raise invalid("start", f"hold {clusters} centres of {width} columns", f"shape {centres.shape}")
    return np.asarray((centres - frame.shift) * frame.scale)


def _centres(given: ArrayLike, name: str = "centres") -> Float64[np.ndarray, "clusters dimensions"]:
    centres = np.asarray(given, dtype=np.float64)
    if centres.ndim != 2 or 0 in centres.shape:
        raise invalid(name, "be numbers of shape (clusters, dimensions)", f"shape {centres.shape}")
    if not np.isfinite(centres).all():
        raise invalid(name, "be finite", "NaN or infinity")
    return centres


def _check(extent: Extent, clusters: int) -> None:
    if extent.rows < clusters:
        raise invalid("clusters", f"be at most the number of rows, {extent.rows}", clusters)
    if extent.spread == 0 and clusters > 1:
        raise InputError(f"`features` are the same in all {extent.rows} rows: there are no {clusters} clusters to find.")


def where_of(workers: int | None, device: str, map: Map | None) -> Where:
    """Return where to compute.

    Raises:
        InputError: fewer than one worker.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers is not None and workers < 1:
        raise invalid("workers", "be at least 1", workers)
    return Where(cores if workers is None else workers, device, map)
