"""How is every block of features worked on once: here, on several threads, or by a map on other machines?"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from dataprune.kmeans.blocks import Features, block_rows, pieces

GROUP_BLOCKS = 4  # sums are folded to one over so many blocks before they travel
MOST_SPANS = 64  # pieces of work of one pass

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[int, np.ndarray], R]
"""What is done with the number of a block's first row, and the block."""
Fold = Callable[[Iterable[R]], Iterator[R]]
"""What joins results of neighbours; it must not matter to it whether it sees all or whole groups of `GROUP_BLOCKS`."""


@runtime_checkable
class Map(Protocol):
    """Calls a function on each item, anywhere; gives the results in the order of the items. Both must be fit to be pickled."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Where:
    """On what to compute: `workers` threads on a CPU, or a device of torch, or wherever a map takes it."""

    workers: int = 1
    device: str = "cpu"
    map: Map | None = None

    def takes(self, features: Features) -> bool:
        """Return whether the map does the work: there is one, and the features can be read in parts (`rows`, `width`, `part`)."""
        return self.map is not None and all(hasattr(features, name) for name in ("rows", "width", "part"))


def over_blocks(work: Work[R], features: Features, where: Where, fold: Fold[R] | None = None) -> Iterator[R]:
    """Return what `work` makes of each block in order, folded if asked for."""
    joined = fold if fold is not None else iter
    if where.map is not None and where.takes(features):
        spans = where.map(_Spanned(work, features, fold, where.device), _spans(features))
        return itertools.chain.from_iterable(spans)
    return joined(threaded(lambda piece: work(*piece), pieces(features), where))


def threaded(work: Callable[[T], R], items: Iterable[T], where: Where) -> Iterator[R]:
    """Yield `work` of each item in order, on as many threads as `where` says, and never more than a few items ahead."""
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


@dataclass(frozen=True)
class _Spanned:
    """The work on the blocks of one span, by whoever reads it."""

    work: Work[Any]
    features: Any
    fold: Fold[Any] | None
    device: str

    def __call__(self, span: tuple[int, int]) -> list[Any]:
        done = threaded(lambda piece: self.work(*piece), pieces(self.features.part(*span), span[0]), Where(device=self.device))
        return list(done if self.fold is None else self.fold(done))


def _spans(features: Any) -> Iterator[tuple[int, int]]:
    """Cut rows into at most `MOST_SPANS` spans of whole groups of blocks."""
    group = GROUP_BLOCKS * block_rows(features.width)
    groups = -(-features.rows // group)
    step = group * -(-groups // MOST_SPANS)
    return ((start, min(start + step, features.rows)) for start in range(0, features.rows, step))


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
