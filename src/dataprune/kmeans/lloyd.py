"""One pass of k-means over points, and the iterations that follow from it.

Knows torch. Points are blocks moved to their mean and scaled by a power of two, so that float32 loses nothing to an offset or a
unit; sums over rows are float64, in the order of the blocks. A block is worked on by one thread: the number of threads changes
who does it and nothing else.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dataprune.errors import must
from dataprune.kmeans.blocks import Extent, Features, blocks

if TYPE_CHECKING:
    import torch

RESIDENT_BYTES = 2**29  # points up to this size are kept in memory between passes
SUM_ROWS = 128  # rows turned into float64 together: they stay in the cache

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Where:
    """On what to compute: `workers` threads on a CPU, or a device of torch."""

    workers: int = 1
    device: str = "cpu"


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


class Points:
    """The blocks of features in a frame, each time anew or, if they are few, kept in memory."""

    def __init__(self, features: Features, extent: Extent, frame: Frame, device: str) -> None:
        self._features, self._frame, self._device = features, frame, device
        self.rows = extent.rows
        self._kept = list(self._read()) if extent.rows * extent.width * 4 <= RESIDENT_BYTES else None

    def __iter__(self) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
        """Give each block, and the squared lengths of its points."""
        return iter(self._read() if self._kept is None else self._kept)

    def _read(self) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
        import torch

        rows = 0
        for block in blocks(self._features):
            rows += len(block)
            moved = torch.from_numpy(self._frame.points(block)).to(self._device)
            yield moved, torch.einsum("nd,nd->n", moved, moved)
        if rows != self.rows:
            raise must("features", f"give the same {self.rows} rows each time they are read", rows)

    def gather(self, rows: Int64[np.ndarray, " taken"]) -> Float32[np.ndarray, "taken dimensions"]:
        """Give the points at `rows`, in that order."""
        order = np.argsort(rows, kind="stable")
        sorted_rows, taken, start = rows[order], [], 0
        for block, _ in self:
            first, last = np.searchsorted(sorted_rows, (start, start + len(block)))
            if last > first:
                taken.append(block[sorted_rows[first:last] - start].cpu().numpy())
            start += len(block)
        found = np.concatenate(taken)
        return found[np.argsort(order, kind="stable")]


@dataclass(frozen=True, eq=False)
class Pass:
    """What one pass tells: of each cluster the sum and the number of its points, of each point its cluster and squared distance."""

    sums: Float64[np.ndarray, "clusters dimensions"]
    counts: Int64[np.ndarray, " clusters"]
    nearest: Int64[np.ndarray, " rows"]
    squares: Float32[np.ndarray, " rows"]


def iterate(
    points: Points, start: Float64[np.ndarray, "clusters dimensions"], iterations: int, enough: float, where: Where
) -> tuple[Float64[np.ndarray, "clusters dimensions"], int, bool]:
    """Move centres to the mean of their points until they move less than `enough` (the sum of squares) or `iterations` are done.

    Returns:
        The centres, how many iterations were done, and whether they stood still.
    """
    centres, before = start, None
    for number in range(1, iterations + 1):
        done = one_pass(points, centres, where)
        sums, counts = _reseeded(points, done)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        shift = float(((moved - centres) ** 2).sum())
        centres = moved
        is_same = before is not None and np.array_equal(before, done.nearest)
        if shift <= enough or is_same:
            return centres, number, True
        before = done.nearest
    return centres, iterations, False


def one_pass(points: Points, centres: Float64[np.ndarray, "clusters dimensions"], where: Where) -> Pass:
    """Find each point's nearest centre, and sum up the points of each."""
    import torch

    near = torch.from_numpy(centres.astype(np.float32)).to(where.device)
    lengths = (near * near).sum(dim=1)
    sums, counts = np.zeros(centres.shape), np.zeros(len(centres), np.int64)
    nearest, squares = [], []
    for part in over_blocks(lambda block: _part(*block, near, lengths), points, where):
        sums += part.sums
        counts += part.counts
        nearest.append(part.nearest)
        squares.append(part.squares)
    return Pass(sums, counts, np.concatenate(nearest), np.concatenate(squares))


def nearest_of(block: "torch.Tensor", centres: "torch.Tensor", lengths: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """Give ‖c‖² − 2x·c of the nearest centre c of each point x, and which it is; the first of equals."""
    import torch

    found = torch.addmm(lengths, block, centres.T, alpha=-2.0).min(dim=1)
    return found.values, found.indices


def over_blocks(work: Callable[[T], R], items: Iterable[T], where: Where) -> Iterator[R]:
    """Give `work` of each block in order, on as many threads as `where` says, and never more than a few blocks ahead."""
    if where.device != "cpu" or where.workers == 1:
        with _one_thread_each(where.device):
            yield from map(work, items)
        return
    with _one_thread_each(where.device), ThreadPoolExecutor(where.workers) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * where.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _one_thread_each(device: str) -> Iterator[None]:
    """Let torch use one thread for each operation on a CPU, and put its own number back."""
    import torch

    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _part(block: "torch.Tensor", own_lengths: "torch.Tensor", centres: "torch.Tensor", lengths: "torch.Tensor") -> Pass:
    import torch

    smallest, nearest = nearest_of(block, centres, lengths)
    squares = (smallest + own_lengths).clamp_(min=0)
    sums = torch.zeros(centres.shape, dtype=torch.float64, device=block.device)
    if block.is_cuda:  # index_add_ adds in no fixed order there
        one_hot = torch.nn.functional.one_hot(nearest, len(centres)).to(torch.float64)
        sums = one_hot.T @ block.to(torch.float64)
    else:
        for rows, place in zip(torch.split(block, SUM_ROWS), torch.split(nearest, SUM_ROWS), strict=True):
            sums.index_add_(0, place, rows.to(torch.float64))
    counts = torch.bincount(nearest, minlength=len(centres))
    return Pass(sums.cpu().numpy(), counts.cpu().numpy(), nearest.cpu().numpy(), squares.cpu().numpy())


def _reseeded(points: Points, done: Pass) -> tuple[Float64[np.ndarray, "clusters dimensions"], Int64[np.ndarray, " clusters"]]:
    """Give each empty cluster one of the points that lie farthest from their centre, and take it from its own cluster."""
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
