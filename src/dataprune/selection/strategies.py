"""The strategies: which examples of a group are kept, given their difficulty and how many.

Each is an order or a quota and, within equal difficulty, the order of a seeded hash: never a position.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt64

STRATA = 50
"""Equal-width strata of `stratified` (Zheng et al. 2023, section 4)."""


@dataclass(frozen=True, eq=False)
class Group:
    """Examples to choose from: all, or those of one class."""

    difficulty: Float64[np.ndarray, " examples"]  # higher is harder
    hashes: UInt64[np.ndarray, " examples"]  # all different; break ties
    start: float = 0.0  # where the window begins, as a fraction of the examples from the easiest
    cut: float = 0.0  # which fraction of the hardest `stratified` leaves out

    @property
    def order(self) -> Int64[np.ndarray, " examples"]:
        """From easiest to hardest."""
        return np.lexsort((self.hashes, self.difficulty)).astype(np.int64)


def share(fraction: float, n_examples: int) -> int:
    """Return the number of examples that a fraction stands for, halves rounded up."""
    return int(np.floor(fraction * n_examples + 0.5))


def hardest(group: Group, count: int) -> Int64[np.ndarray, " kept"]:
    """Keep the hardest."""
    return group.order[len(group.hashes) - count :]


def easiest(group: Group, count: int) -> Int64[np.ndarray, " kept"]:
    """Keep the easiest."""
    return group.order[:count]


def window(group: Group, count: int) -> Int64[np.ndarray, " kept"]:
    """Keep a window of the order from easiest to hardest, beginning at `start`."""
    # Rounding start and count both up may pass the end by one.
    first = min(share(group.start, len(group.hashes)), len(group.hashes) - count)
    return group.order[first : first + count]


def random(group: Group, count: int) -> Int64[np.ndarray, " kept"]:
    """Keep a random part, whatever the difficulty: the first in the order of the hashes."""
    return np.argsort(group.hashes)[:count].astype(np.int64)


def moderate(group: Group, count: int) -> Int64[np.ndarray, " kept"]:
    """Keep the middle band: the ranks nearest to the median's, of two equally near the harder.

    By rank, as in the authors' code, not by distance to the median's value. Meant for the distance to the class's median feature
    vector (`median_distance`); any score is taken.

    Source: Xia et al. 2023, "Moderate Coreset", ICLR.
    """
    order = group.order
    from_middle = 2 * np.arange(len(order)) - (len(order) - 1)
    nearest = np.lexsort((-from_middle, np.abs(from_middle)))
    return np.asarray(order[nearest[:count]])


def stratified(group: Group, count: int) -> Int64[np.ndarray, " kept"]:
    """Cover the range of difficulty: equal-width strata share the budget, after the hardest `cut` is left out.

    There is a water level: each stratum gives its size or the level, whichever is less, and what is left over goes one each to the
    largest. So the quotas grow with the budget, and kept sets are nested. Within a stratum the hash decides.

    Source: Zheng et al. 2023, arXiv:2210.15809, algorithm 1. Departs: the cut is by the same score; draws are by hash.
    """
    # Rounding the cut and the budget both up may pass the end by one.
    left = group.order[: max(count, len(group.hashes) - share(group.cut, len(group.hashes)))]
    difficulty = group.difficulty[left]
    low, high = difficulty.min(), difficulty.max()
    scaled = (difficulty - low) / (high - low) if high > low else np.zeros(len(left))
    stratum = np.minimum((scaled * STRATA).astype(np.int64), STRATA - 1)
    quotas = water_level(np.bincount(stratum, minlength=STRATA), count)
    by_hash = np.lexsort((group.hashes[left], stratum))
    starts = np.searchsorted(stratum[by_hash], np.arange(STRATA))
    place = np.arange(len(left)) - starts[stratum[by_hash]]
    return np.asarray(left[by_hash[place < quotas[stratum[by_hash]]]])


def water_level(sizes: Int64[np.ndarray, " strata"], count: int) -> Int64[np.ndarray, " strata"]:
    """Share a budget as evenly as sizes allow; the quotas add up to `count` and never shrink when it grows.

    Example:
        >>> water_level(np.array([1, 10, 4]), 8).tolist()
        [1, 4, 3]
    """
    low, high = 0, int(sizes.max())
    while low < high:  # the highest level whose quotas fit the budget
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= count else (low, middle - 1)
    quotas = np.asarray(np.minimum(sizes, low), np.int64)
    # From the largest, as filling from the smallest does; of equal ones the hardest.
    largest_first = np.lexsort((-np.arange(len(sizes)), -sizes))
    quotas[largest_first[: count - int(quotas.sum())]] += 1
    return quotas


STRATEGIES: dict[str, Callable[[Group, int], Int64[np.ndarray, " kept"]]] = {
    keep.__name__: keep for keep in (hardest, easiest, window, random, moderate, stratified)
}
