"""Where do features lie and how far do they spread? And which are the rows of a sample?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dataprune.errors import invalid
from dataprune.kmeans.blocks import Features, blocks, check_finite
from dataprune.kmeans.passes import Where, over_blocks

SLICE_ROWS = 64  # float32 sums over no more rows than these
TINY, HUGE = 1e-20, 1e30  # squares between them are far from the ends of float32


@dataclass(frozen=True, eq=False)
class Extent:
    """What one pass over features tells.

    Attributes:
        rows: how many there are.
        width: how many columns.
        mean: of each column.
        spread: the sum of squared distances to the mean.
        reach: the largest distance of a value from its column's mean.
    """

    rows: int
    width: int
    mean: Float64[np.ndarray, " dimensions"]
    spread: float
    reach: float


def survey(features: Features, where: Where = Where()) -> Extent:  # noqa: B008 frozen
    """Read everything once: how many rows there are, where they lie and how far they spread.

    Raises:
        InputError: NaN or infinite values (with rows), widths that differ, no rows.
    """
    first = next(iter(blocks(features)))
    # Near the mean, so that sums and squares lose nothing where the data lie far from 0.
    shift = first.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows, sums, squares, high, low = 0, np.zeros(len(shift)), 0.0, first[0], first[0]
    for part in over_blocks(_Surveying(shift), features, where):
        rows, sums, squares = rows + part.rows, sums + part.sums, squares + part.squares
        high, low = np.maximum(high, part.high), np.minimum(low, part.low)
    mean = shift + sums / rows
    reach = np.maximum(high - mean, mean - low).max()
    if np.array_equal(high, low):  # all the same: no rounding may say otherwise
        return Extent(rows, len(mean), high.astype(np.float64), 0.0, 0.0)
    return Extent(rows, len(mean), mean, max(0.0, squares - rows * float(((mean - shift) ** 2).sum())), float(reach))


def gather(
    features: Features,
    rows: Int64[np.ndarray, " taken"],
    where: Where = Where(),  # noqa: B008 frozen
) -> Float32[np.ndarray, "taken dimensions"]:
    """Read the given rows (ascending) in one pass.

    Raises:
        InputError: there are not so many rows.
    """
    taken = np.concatenate(list(over_blocks(_Gathering(rows), features, where)))
    if len(taken) != len(rows):
        raise invalid("features", "give the same rows each time they are read", "fewer")
    return taken


@dataclass(frozen=True, eq=False)
class _Surveyed:
    rows: int
    sums: Float64[np.ndarray, " dimensions"]
    squares: float
    high: Float32[np.ndarray, " dimensions"]
    low: Float32[np.ndarray, " dimensions"]


@dataclass(frozen=True, eq=False)
class _Surveying:
    shift: Float32[np.ndarray, " dimensions"]

    def __call__(self, start: int, block: np.ndarray) -> _Surveyed:
        high, low = block.max(axis=0), block.min(axis=0)
        if not (np.isfinite(high).all() and np.isfinite(low).all()):
            check_finite(start, block)
        with np.errstate(over="ignore", invalid="ignore"):
            away = block - self.shift
            whole = len(away) // SLICE_ROWS * SLICE_ROWS
            slices = away[:whole].reshape(-1, SLICE_ROWS, away.shape[1]).sum(axis=1)
            sums = slices.sum(axis=0, dtype=np.float64) + away[whole:].sum(axis=0, dtype=np.float64)
            squares = float(np.einsum("nd,nd->n", away, away).sum(dtype=np.float64))
        if not TINY < squares < HUGE:
            wide = block.astype(np.float64) - self.shift
            sums, squares = wide.sum(axis=0), float(np.einsum("nd,nd->", wide, wide))
        return _Surveyed(len(block), sums, squares, high, low)


@dataclass(frozen=True, eq=False)
class _Gathering:
    rows: Int64[np.ndarray, " taken"]

    def __call__(self, start: int, block: np.ndarray) -> np.ndarray:
        first, last = np.searchsorted(self.rows, (start, start + len(block)))
        return np.asarray(block[self.rows[first:last] - start])
