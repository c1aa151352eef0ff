"""One pass of k-means over points, and the iterations that follow from it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from dataprune.errors import invalid
from dataprune.kmeans.blocks import Features
from dataprune.kmeans.extent import Extent, gather
from dataprune.kmeans.passes import GROUP_BLOCKS, Fold, Where, over_blocks, threaded

if TYPE_CHECKING:
    import torch

RESIDENT_BYTES = 2**29  # points up to this size are kept in memory between passes
SUM_ROWS = 64  # rows whose sum is float32; the sums of these are float64


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the points' zero lies and how long their unit is."""

    shift: Float32[np.ndarray, " dimensions"]
    scale: float

    @classmethod
    def of(cls, middle: Float64[np.ndarray, " dimensions"], reach: float) -> "Frame":
        """Put zero in the middle and let the farthest value be about 1; a power of two changes no digit."""
        exponent = -int(np.frexp(reach)[1]) if reach > 0 else 0
        return cls(middle.astype(np.float32), float(2.0 ** np.clip(exponent, -100, 100)))

    def points(self, block: Float32[np.ndarray, "rows dimensions"]) -> Float32[np.ndarray, "rows dimensions"]:
        moved: np.ndarray = block - self.shift
        moved *= np.float32(self.scale)
        return moved

    def back(self, centres: Float64[np.ndarray, "clusters dimensions"]) -> Float64[np.ndarray, "clusters dimensions"]:
        return np.asarray(centres / self.scale + self.shift)


@dataclass(frozen=True, eq=False)
class Points:
    """The blocks of features in a frame, each time anew or, if they are few, kept in memory."""

    features: Features
    rows: int
    frame: Frame
    where: Where
    kept: "tuple[tuple[int, torch.Tensor, torch.Tensor], ...] | None"

    @classmethod
    def of(cls, features: Features, extent: Extent, frame: Frame, where: Where) -> "Points":
        kept = None
        if not where.takes(features) and extent.rows * extent.width * 4 <= RESIDENT_BYTES:
            kept = tuple(over_blocks(_Framed(frame, where.device, _itself), features, where))
        return cls(features, extent.rows, frame, where, kept)

    def over(self, work: "PointWork", fold: Fold[Any] | None = None) -> Iterator[Any]:
        """Return what `work` makes of each block of points, in order."""
        if self.kept is None:
            return over_blocks(_Framed(self.frame, self.where.device, work), self.features, self.where, fold)
        done = threaded(lambda kept: work(*kept), self.kept, self.where)
        return done if fold is None else fold(done)

    def gather(self, rows: Int64[np.ndarray, " taken"]) -> Float32[np.ndarray, "taken dimensions"]:
        """Return the points at `rows`, in that order."""
        order = np.argsort(rows, kind="stable")
        taken = self.frame.points(gather(self.features, rows[order], self.where))
        return np.asarray(taken[np.argsort(order, kind="stable")])


PointWork = Callable[[int, "torch.Tensor", "torch.Tensor"], Any]
"""What is done with the number of a block's first row, its points, and their squared lengths."""


@dataclass(frozen=True, eq=False)
class _Framed:
    """Work on points, as work on the blocks they are made of."""

    frame: Frame
    device: str
    work: PointWork

    def __call__(self, start: int, block: np.ndarray) -> Any:
        import torch

        moved = torch.from_numpy(self.frame.points(block)).to(self.device)
        return self.work(start, moved, torch.linalg.vecdot(moved, moved))


def _itself(start: int, points: "torch.Tensor", lengths: "torch.Tensor") -> "tuple[int, torch.Tensor, torch.Tensor]":
    return start, points, lengths


@dataclass(frozen=True, eq=False)
class Pass:
    """What a pass tells: of each cluster the sum and the number of its points, of each point its cluster and squared distance."""

    sums: Float64[np.ndarray, "clusters dimensions"]
    counts: Int64[np.ndarray, " clusters"]
    nearest: Int32[np.ndarray, " rows"]
    squares: Float32[np.ndarray, " rows"]


@dataclass(frozen=True, eq=False)
class Stage:
    """Where the iterations stand, so that they can be gone on with.

    Attributes:
        number: of iterations done.
        centres: after them, in the frame of the points.
    """

    number: int
    centres: Float64[np.ndarray, "clusters dimensions"]


def iterate(
    points: Points, stage: Stage, iterations: int, enough: float, note: Callable[[Stage], None] | None = None
) -> tuple[Float64[np.ndarray, "clusters dimensions"], int, bool]:
    """Move centres to the mean of their points until they move less than `enough` (the sum of squares) or `iterations` are done.

    Args:
        note: told where the iterations stand after each that is not the last.

    Returns:
        The centres, how many iterations were done, and whether they stood still.
    """
    for number in range(stage.number + 1, iterations + 1):
        done = one_pass(points, stage.centres)
        sums, counts = _reseeded(points, done)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], stage.centres)
        shift = float(((moved - stage.centres) ** 2).sum())
        if shift <= enough:  # the same clusters as before have the same centres to the bit, and a shift of 0
            return moved, number, True
        stage = Stage(number, moved)
        if note is not None:
            note(stage)
    return stage.centres, stage.number, False


def one_pass(points: Points, centres: Float64[np.ndarray, "clusters dimensions"]) -> Pass:
    """Find each point's nearest centre, and sum up the points of each.

    Raises:
        InputError: the features have not as many rows as before.
    """
    sums, counts = np.zeros(centres.shape), np.zeros(len(centres), np.int64)
    nearest, squares = [], []
    for part in points.over(_Passing(centres.astype(np.float32)), _folded):
        sums += part.sums
        counts += part.counts
        nearest.append(part.nearest)
        squares.append(part.squares)
    whole = Pass(sums, counts, np.concatenate(nearest), np.concatenate(squares))
    if len(whole.nearest) != points.rows:
        raise invalid("features", f"give the same {points.rows} rows each time they are read", len(whole.nearest))
    return whole


def nearest_of(block: "torch.Tensor", centres: Float32[np.ndarray, "clusters dimensions"]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return ‖c‖² − 2x·c of the nearest centre c of each point x, and which it is; the first of equals."""
    import torch

    near = torch.from_numpy(centres).to(block.device)
    found = torch.addmm((near * near).sum(dim=1), block, near.T, alpha=-2.0)
    if block.is_cuda:
        least = found.min(dim=1)
        return least.values, least.indices
    # NumPy finds the place with vector instructions, three times as fast as torch.
    return found.amin(dim=1), torch.from_numpy(found.numpy().argmin(axis=1))


@dataclass(frozen=True, eq=False)
class _Passing:
    centres: Float32[np.ndarray, "clusters dimensions"]

    def __call__(self, start: int, block: "torch.Tensor", own_lengths: "torch.Tensor") -> Pass:
        import torch

        smallest, nearest = nearest_of(block, self.centres)
        squares = (smallest + own_lengths).clamp_(min=0)
        counts = torch.bincount(nearest, minlength=len(self.centres)).cpu().numpy()
        sums = _sums_on_device(block, nearest, len(self.centres)) if block.is_cuda else _sums(block, nearest.numpy(), counts)
        return Pass(sums, counts, nearest.cpu().numpy().astype(np.int32), squares.cpu().numpy())


def _sums(
    block: "torch.Tensor", nearest: Int64[np.ndarray, " rows"], counts: Int64[np.ndarray, " clusters"]
) -> Float64[np.ndarray, "clusters dimensions"]:
    """Sum up the rows of each cluster: up to `SUM_ROWS` of them in float32 by a gather that sums, then these in float64."""
    import torch

    # A short type is sorted by its digits, in a thirtieth of the time.
    order = np.argsort(nearest.astype(np.uint16) if len(counts) < 2**16 else nearest, kind="stable")
    bags = -(-counts // SUM_ROWS)
    owner = np.repeat(np.arange(len(counts)), bags)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(bags) - bags, bags)
    starts = np.repeat(np.cumsum(counts) - counts, bags) + SUM_ROWS * within
    part = torch.nn.functional.embedding_bag(torch.from_numpy(order), block, torch.from_numpy(starts), mode="sum")
    sums = torch.zeros((len(counts), block.shape[1]), dtype=torch.float64)
    return np.asarray(sums.index_add_(0, torch.from_numpy(owner), part.to(torch.float64)).numpy())


def _sums_on_device(block: "torch.Tensor", nearest: "torch.Tensor", clusters: int) -> Float64[np.ndarray, "clusters dimensions"]:
    """Sum up the rows of each cluster as a product: there a sum by index adds in no fixed order."""
    import torch

    one_hot = torch.nn.functional.one_hot(nearest, clusters).to(torch.float64)
    return np.asarray((one_hot.T @ block.to(torch.float64)).cpu().numpy())


def _folded(parts: Iterable[Pass]) -> Iterator[Pass]:
    """Join the passes over `GROUP_BLOCKS` neighbours to one."""
    iterator = iter(parts)
    for first in iterator:
        sums, counts, nearest, squares = first.sums, first.counts, [first.nearest], [first.squares]
        for _, part in zip(range(GROUP_BLOCKS - 1), iterator, strict=False):
            sums += part.sums
            counts += part.counts
            nearest.append(part.nearest)
            squares.append(part.squares)
        yield Pass(sums, counts, np.concatenate(nearest), np.concatenate(squares))


def _reseeded(points: Points, done: Pass) -> tuple[Float64[np.ndarray, "clusters dimensions"], Int64[np.ndarray, " clusters"]]:
    """Return each empty cluster one of the points that lie farthest from their centre, and take it from its own cluster."""
    empty = np.flatnonzero(done.counts == 0)
    if not len(empty):
        return done.sums, done.counts
    sums, counts = done.sums.copy(), done.counts.copy()
    farthest = np.argsort(-done.squares, kind="stable")
    chosen: list[int] = []
    for row in farthest[: 4 * len(empty)].tolist():
        if len(chosen) == len(empty) or done.squares[row] == 0:
            break
        if counts[done.nearest[row]] > 1:
            counts[done.nearest[row]] -= 1
            chosen.append(row)
    if chosen:
        taken = points.gather(np.array(chosen, np.int64)).astype(np.float64)
        for cluster, row, point in zip(empty, chosen, taken, strict=False):
            sums[done.nearest[row]] -= point
            sums[cluster], counts[cluster] = point, 1
    return sums, counts
