"""How are features read, whatever their layout, type and size?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from dataprune.errors import InputError, invalid, join_some

# 4,096 rows of 512 columns are 8 MB: few enough for the cache, enough for a matrix product at full speed.
BLOCK_ROWS = 4096
BLOCK_VALUES = 2**21
FEW = 5  # bad rows that a message names

Features = np.ndarray | Iterable[np.ndarray]
"""An array (N, D), also a memory map, or something that gives its blocks (n, D) in order each time it is iterated."""


def blocks(features: Features) -> Iterator[Float32[np.ndarray, "rows dimensions"]]:
    """Yield the features in order as float32 blocks of equal height (the last may be lower).

    Raises:
        InputError: no rows or columns, no numbers, widths that differ, NaN or infinite values (with rows).
    """
    for start, block in pieces(features):
        check_finite(start, block)
        yield block


def pieces(features: Features, first: int = 0) -> Iterator[tuple[int, Float32[np.ndarray, "rows dimensions"]]]:
    """Yield the blocks as they are, each with the number of its first row; the features begin with row `first`.

    Raises:
        InputError: no rows or columns, no numbers, widths that differ.
    """
    start = first
    for block in _cut(features):
        with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is refused
            single = np.ascontiguousarray(block, dtype=np.float32)
        yield start, single
        start += len(single)
    if start == first:
        raise invalid("features", "hold at least one row", "none")


def check_finite(start: int, block: Float32[np.ndarray, "rows dimensions"]) -> None:
    """Refuse a block that is not finite, and name its rows; it begins with row `start`.

    Raises:
        InputError: NaN or infinite values.
    """
    finite = np.isfinite(block)
    if not finite.all():
        bad = np.flatnonzero(~finite.all(axis=1)) + start
        raise InputError(f"`features` are NaN or infinite at rows {_first(bad)}. Leave these examples out.")


def unit_rows(features: Features) -> "_UnitRows":
    """Return the features with each row divided by its length, block by block.

    Raises:
        InputError: (when read) a row of zeros has no direction; its number is named.
    """
    return _UnitRows(features)


@dataclass(frozen=True, eq=False)
class _UnitRows:
    features: Features
    first: int = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for start, block in pieces(self.features, self.first):
            check_finite(start, block)
            wide = block.astype(np.float64)
            lengths = np.sqrt(np.einsum("nd,nd->n", wide, wide))
            bad = np.flatnonzero(lengths == 0) + start
            if len(bad):
                raise InputError(
                    f"`features` are all zero at rows {_first(bad)}, which have no direction. Leave these examples out."
                )
            yield (wide / lengths[:, None]).astype(np.float32)

    def __getattr__(self, name: str) -> Any:
        """Return `rows` and `width` of features that have them, and `part` of features that can be read in parts."""
        if name in ("rows", "width"):
            return getattr(self.features, name)
        if name == "part" and hasattr(self.features, "part"):
            return self._part
        raise AttributeError(name)

    def _part(self, start: int, stop: int) -> "_UnitRows":
        return _UnitRows(self.features.part(start, stop), start)  # type: ignore[union-attr]


def _cut(features: Features) -> Iterator[np.ndarray]:
    """Cut or join what is given into blocks of the height that its width asks for."""
    if isinstance(features, np.ndarray):
        _check(features, None, 0)
        height = block_rows(features.shape[1])
        yield from (features[start : start + height] for start in range(0, len(features), height))
        return
    given = iter(features)
    if given is features:
        raise invalid("features", "be an array or blocks that can be read again", "an iterator, which is read once", "Give a list.")
    width, waiting, count = None, [], 0
    for number, block in enumerate(given):
        _check(block, width, number)
        width, at = block.shape[1], 0
        height = block_rows(width)
        while at < len(block):
            part = block[at : at + height - count]
            waiting.append(part)
            at, count = at + len(part), count + len(part)
            if count == height:
                yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                waiting, count = [], 0
    if waiting:
        yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)


def block_rows(width: int) -> int:
    """Return the height of a block: a constant for up to 512 columns, less for wider rows."""
    return max(1, min(BLOCK_ROWS, BLOCK_VALUES // width))


def _check(block: np.ndarray, width: int | None, number: int) -> None:
    if block.ndim != 2 or block.shape[1] == 0 or block.dtype.kind not in "iufb":
        raise invalid("features", "be numbers of shape (examples, dimensions)", f"{block.dtype} of shape {block.shape}")
    if width is not None and block.shape[1] != width:
        raise invalid("features", f"have {width} columns in every block", f"{block.shape[1]} in block {number}")


def _first(rows: Int64[np.ndarray, " rows"]) -> str:
    return join_some(rows[:FEW].tolist(), len(rows), FEW)
