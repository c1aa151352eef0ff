"""Which examples lie nearest to each other?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt64

from dataprune.errors import InputError, invalid, join_some, unknown_choice

QUERY_ROWS = 4096
BLOCK_ROWS = 4096
FIRST_ROWS = 256  # blocks grow from here: after each one the bound is sharper, and few rows of the next pass it
PAIR_VALUES = 2**22
ROUNDING = 1e-5  # of squares in single precision, of vectors of about unit length
SPARE = 16  # more candidates than asked for: single precision chooses them, double precision orders them


def nearest(
    features: np.ndarray,
    queries: np.ndarray,
    k: int,
    *,
    metric: str = "cosine",
    exclude_self: bool = False,
    rows: Int64[np.ndarray, " some"] | None = None,
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    """Find the k rows of `features` that are nearest to each query, exactly.

    Takes N·Q·D multiplications and, beside its result, about 200 MB: 50,000 × 512 against itself is a minute of one core, a million
    against itself seven hours.

    Args:
        features: (N, D) numbers of any type and memory order, also a memory map.
        queries: (Q, D).
        k: how many, from 1 to N (to N − 1 with `exclude_self`).
        metric: "cosine", 1 − cosine, 0 … 2; or "euclidean", in the features' unit.
        exclude_self: `queries` are `features`, and no row is its own neighbour.
        rows: with `exclude_self`, ascending: only these rows ask and answer, and the others are not read.

    Returns:
        Distances, ascending in each row, and the rows of `features` they belong to; equal distances are ordered by row.

    Raises:
        InputError: another shape, values that are not finite (with rows), a row of zeros under "cosine", k out of range.

    Example:
        >>> distances, rows = nearest(np.array([[0.0], [3.0], [7.0]]), np.array([[2.0]]), 2, metric="euclidean")
        >>> distances.tolist(), rows.tolist()
        ([[1.0, 2.0]], [[1, 0]])
    """
    _check(features, queries, metric)
    if exclude_self and len(queries) != len(features):
        raise invalid("queries", f"be the {len(features)} features themselves with exclude_self", f"{len(queries)} rows")
    if rows is not None and not exclude_self:
        raise invalid("rows", "go with exclude_self", "rows without it")
    most = (len(features) if rows is None else len(rows)) - exclude_self
    if not 1 <= k <= most:
        raise invalid("k", f"be from 1 to {most}", k)
    points = _Points(features, metric, rows)
    count = min(k + SPARE, most)
    n_queries = len(queries) if rows is None else len(rows)
    distances, neighbours = np.empty((n_queries, k), np.float32), np.empty((n_queries, k), np.int64)
    for start, asked in points.asked(queries):
        bound = np.full(len(asked), -np.inf, np.float32)
        found = _candidates(points, asked, bound, count, _Without(start) if exclude_self else None)
        measured = points.distances(asked, np.repeat(np.arange(len(asked)), count), found.ravel()).reshape(found.shape)
        order = np.lexsort((found, measured))[:, :k]
        here = slice(start, start + len(asked))
        distances[here] = np.take_along_axis(measured, order, axis=1)
        neighbours[here] = np.take_along_axis(found, order, axis=1)
    return distances, neighbours if rows is None else rows[neighbours]


def close_pairs(
    features: np.ndarray, queries: np.ndarray, limit: float, *, metric: str = "cosine", most: int = 10
) -> tuple[Float32[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Find the pairs of a query and a later row of `features` that lie within a distance.

    Half the work of `nearest` and less to sort: 60,000 × 193 take 20 seconds of one core, a million one and a half hours, in the
    same memory.

    Args:
        features: (N, D), as for `nearest`.
        queries: (N, D): the features themselves, or what becomes of each of them (its mirror image).
        limit: the largest distance, in the metric's unit.
        metric: as for `nearest`.
        most: of the pairs of one query, at most so many, the nearest; so that N equal rows do not give N² pairs.

    Returns:
        Distances, queries and rows, with query < row; by query, then distance, then row.

    Raises:
        InputError: as `nearest`; a limit below 0 or that is no number.

    Example:
        >>> x = np.array([[0.0], [3.0], [3.5]])
        >>> [part.tolist() for part in close_pairs(x, x, 1.0, metric="euclidean")]
        [[0.5], [1], [2]]
    """
    _check(features, queries, metric)
    if len(queries) != len(features):
        raise invalid("queries", f"be as many as features: {len(features)}", len(queries))
    if not limit >= 0:
        raise invalid("limit", "be at least 0", limit)
    if most < 1:
        raise invalid("most", "be at least 1", most)
    points = _Points(features, metric)
    parts = []
    for start, asked in points.asked(queries):
        squares = np.einsum("qd,qd->q", asked, asked)
        reach = 2 * limit if metric == "cosine" else (limit * points.scale) ** 2
        bound = (squares - reach) / 2 - ROUNDING * (1 + squares)
        found = _candidates(points, asked, bound.astype(np.float32), most + SPARE, _Without(start, earlier=True))
        query, column = np.nonzero(found >= 0)
        row = found[query, column]
        measured = points.distances(asked, query, row)
        order = np.lexsort((row, measured, query))
        order = order[measured[order] <= limit]
        place = np.arange(len(order)) - np.searchsorted(query[order], query[order])
        order = order[place < most]
        parts.append((measured[order], query[order] + start, row[order]))
    distances, first, second = (np.concatenate(part) for part in zip(*parts, strict=True))
    return distances, first, second


def _check(features: np.ndarray, queries: np.ndarray, metric: str) -> None:
    if metric not in ("cosine", "euclidean"):
        raise unknown_choice("metric", metric, ("cosine", "euclidean"))
    for name, given in (("features", features), ("queries", queries)):
        if given.ndim != 2 or 0 in given.shape or given.dtype.kind not in "iufb":
            raise invalid(name, "be numbers of shape (examples, dimensions)", f"{given.dtype} of shape {given.shape}")
    if queries.shape[1] != features.shape[1]:
        raise invalid("queries", f"have {features.shape[1]} columns like the features", queries.shape[1])


@dataclass(frozen=True)
class _Without:
    """Which rows are no answer: the one that is the query itself, perhaps also those before it. The first query is row `first`."""

    first: int
    earlier: bool = False

    def skips(self, start: int, height: int) -> bool:
        """Return whether no row of a block can be an answer."""
        return self.earlier and start + height <= self.first + 1

    def forbid(self, similarity: Float32[np.ndarray, "queries rows"], start: int) -> None:
        """Put the forbidden rows of a block out of reach, in place."""
        n_queries, n_rows = similarity.shape
        if start > self.first + n_queries - 1:
            return
        own = np.arange(n_queries) + self.first - start
        if self.earlier:
            similarity[np.arange(n_rows) <= own[:, None]] = -np.inf
        else:
            inside = np.flatnonzero((own >= 0) & (own < n_rows))
            similarity[inside, own[inside]] = -np.inf


class _Points:
    """Features as the search sees them: of unit length, or moved to their mean and by a power of two to about unit size.

    Where only some rows take part, they are numbered among themselves.
    """

    def __init__(self, features: np.ndarray, metric: str, rows: Int64[np.ndarray, " some"] | None = None) -> None:
        self.features, self.metric, self.rows = features, metric, rows
        self.count = len(features) if rows is None else len(rows)
        self.shift, self.scale = np.zeros(features.shape[1]), 1.0
        if metric == "euclidean":
            for start, block in self._raw():
                _check_finite(block, start, "features")
                self.shift += (block / self.count).sum(axis=0)  # divided first: no sum overflows
            reach = max(float(np.abs(block - self.shift).max()) for _, block in self._raw())
            self.scale = 2.0 ** -int(np.frexp(reach)[1])
        factors = [self.factors(block, start, "features") for start, block in self._raw()]
        self._factors = np.concatenate(factors)
        self.half_squares = np.concatenate([0.5 * np.einsum("nd,nd->n", block, block) for _, block in self.blocks()])

    def factors(self, block: Float64[np.ndarray, "rows dimensions"], start: int, name: str) -> Float64[np.ndarray, " rows"]:
        """Return what each raw row is multiplied by; `start` is the number of the first."""
        _check_finite(block, start, name)
        if self.metric == "euclidean":
            return np.full(len(block), self.scale)
        largest = np.abs(block).max(axis=1)
        bad = np.flatnonzero(largest == 0) + start
        if len(bad):
            where = join_some(bad[:5].tolist(), len(bad))
            cure = "Leave these examples out, or use the euclidean metric."
            raise InputError(f"`{name}` are all zero at rows {where}, which have no direction. {cure}")
        within = block / largest[:, None]  # squares neither overflow nor vanish
        return np.asarray(1 / (largest * np.sqrt(np.einsum("nd,nd->n", within, within))))

    def placed(
        self, block: Float64[np.ndarray, "rows dimensions"], factors: Float64[np.ndarray, " rows"]
    ) -> Float64[np.ndarray, "rows dimensions"]:
        """Bring raw rows where the search is made."""
        return np.asarray((block - self.shift) * factors[:, None])

    def blocks(self) -> Iterator[tuple[int, Float32[np.ndarray, "rows dimensions"]]]:
        """Yield the number of the first row and the rows, block by block."""
        for start, block in self._raw():
            yield start, self.placed(block, self._factors[start : start + len(block)]).astype(np.float32)

    def asked(self, queries: np.ndarray) -> Iterator[tuple[int, Float64[np.ndarray, "queries dimensions"]]]:
        """Yield the number of the first query and the queries, placed, block by block."""
        for start in range(0, len(queries) if self.rows is None else self.count, QUERY_ROWS):
            raw = self._read(slice(start, start + QUERY_ROWS), queries)
            yield start, self.placed(raw, self.factors(raw, start, "queries"))

    def distances(
        self,
        asked: Float64[np.ndarray, "queries dimensions"],
        query: Int64[np.ndarray, " pairs"],
        row: Int64[np.ndarray, " pairs"],
    ) -> Float32[np.ndarray, " pairs"]:
        """Measure pairs of placed queries and rows in double precision, in the metric's unit."""
        measured = np.empty(len(query), np.float32)
        step = max(1, PAIR_VALUES // asked.shape[1])
        for start in range(0, len(query), step):
            some = slice(start, start + step)
            wanted, place = np.unique(row[some], return_inverse=True)
            there = self.placed(self._read(wanted, self.features), self._factors[wanted])[place]
            there -= asked[query[some]]
            squares = np.einsum("pd,pd->p", there, there)
            measured[some] = squares / 2 if self.metric == "cosine" else np.sqrt(squares) / self.scale
        return measured

    def _raw(self) -> Iterator[tuple[int, Float64[np.ndarray, "rows dimensions"]]]:
        start, height = 0, FIRST_ROWS
        while start < self.count:
            yield start, self._read(slice(start, start + height), self.features)
            start += height
            height = min(start, BLOCK_ROWS)

    def _read(self, which: slice | Int64[np.ndarray, " some"], source: np.ndarray) -> Float64[np.ndarray, "some dimensions"]:
        return np.asarray(source[which if self.rows is None else self.rows[which]], np.float64)


def _check_finite(block: Float64[np.ndarray, "rows dimensions"], start: int, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1)) + start
    if len(bad):
        raise InputError(f"`{name}` are NaN or infinite at rows {join_some(bad[:5].tolist(), len(bad))}. Leave these examples out.")


def _candidates(
    points: _Points,
    asked: Float64[np.ndarray, "queries dimensions"],
    bound: Float32[np.ndarray, " queries"],
    most: int,
    without: _Without | None,
) -> Int64[np.ndarray, "queries candidates"]:
    """Return each query's `most` best rows in single precision, −1 where fewer are above the bound."""
    single = asked.astype(np.float32)
    best = np.repeat(bound[:, None], most, axis=1)
    rows = np.full((len(asked), most), -1, np.int64)
    for start, block in points.blocks():
        if without is not None and without.skips(start, len(block)):
            continue
        similarity = single @ block.T
        similarity -= points.half_squares[start : start + len(block)]
        if without is not None:
            without.forbid(similarity, start)
        at = np.flatnonzero(similarity > best[:, -1:])
        if len(at):
            query, column = np.divmod(at, len(block))
            _join(best, rows, query, column + start, similarity.ravel()[at])
    return rows


def _join(
    best: Float32[np.ndarray, "queries candidates"],
    rows: Int64[np.ndarray, "queries candidates"],
    query: Int64[np.ndarray, " new"],
    row: Int64[np.ndarray, " new"],
    similarity: Float32[np.ndarray, " new"],
) -> None:
    """Put new candidates (ascending by query, then row, all rows above the old ones) among the best, in place."""
    touched, place = np.unique(query, return_inverse=True)
    count = best.shape[1]
    owner = np.concatenate([np.repeat(np.arange(len(touched)), count), place])
    values = np.concatenate([best[touched].ravel(), similarity])
    names = np.concatenate([rows[touched].ravel(), row])
    # One key that ascends with the query, then descends with the likeness: quicker than sorting by two. Ties stay in order of rows.
    order = np.argsort((owner.astype(np.uint64) << np.uint64(32)) | _descending(values), kind="stable")
    begin = np.searchsorted(owner[order], np.arange(len(touched)))
    kept = order[begin[:, None] + np.arange(count)]
    best[touched], rows[touched] = values[kept], names[kept]


def _descending(values: Float32[np.ndarray, " values"]) -> UInt64[np.ndarray, " values"]:
    """Return whole numbers below 2³² that are ordered against the values."""
    bits = (values + np.float32(0)).view(np.uint32)  # −0 becomes 0
    is_negative = bits >> np.uint32(31) == 1
    return np.where(is_negative, bits, ~(bits | np.uint32(1 << 31))).astype(np.uint64)
