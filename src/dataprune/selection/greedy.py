"""Greedy strategies: k-center, herding, graph cut, facility location over features; CRAIG and GradMatch over gradients.

All break ties by the hash, and are nested: a larger budget goes on where a smaller one stopped. Growth for n
examples of D features and K classes, of which m are kept: time n · m · D for k-center (products of matrices), herding and graph cut
(products of a matrix and a vector, so slower); n² · D for facility location and CRAIG, whose memory is n² up to 4,096 examples and
256 n beyond; n · m · K · D + m³ for GradMatch. Balanced, n and m are those of a class; CRAIG is within classes in any case.
"""

import heapq
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float64

from dataprune.blocks import slices
from dataprune.clustering import refuse_rows
from dataprune.errors import invalid
from dataprune.selection.group import Chosen, Group, Rows

PENDING = 64  # centres between two products with all rows
LOOKED = 256  # rows whose distance is brought up to date at once
DENSE = 4096  # examples of which all pairs are held; of more
NEAREST = 256  # similarities of each
BLOCK = 2**22  # similarities that are made at once
SINGLE = 2**24  # numbers beyond which a product of a matrix and a vector is made in single precision

Matrix = Float64[np.ndarray, "examples features"]
Column = tuple[np.ndarray, np.ndarray]


def k_center(group: Group, count: int) -> Rows:
    """Keep examples that lie far from each other: each next one is farthest from those that are kept (Euclidean).

    The first is drawn by hash. No example is farther from a kept one than twice the least possible radius.

    Source: Sener & Savarese 2018, arXiv:1708.00489, algorithm 1 (Gonzalez 1985).
    """
    order = group.by_hash
    return np.asarray(order[farthest_first(np.asarray(group.features[order], np.float64), count)])


def farthest_first(x: Matrix, count: int, first: int = 0) -> Rows:
    """Return rows of which each is farthest from all before it; of equals the lowest row. Distances are brought up to date lazily:
    they only shrink, so an old one is a bound, and only rows that may be the farthest are looked at again; after `PENDING` centres
    all are, by one product."""
    x = x - x.mean(axis=0)
    squares = np.einsum("nd,nd->n", x, x)
    bound, known = np.full(len(x), np.inf), np.zeros(len(x), np.int64)
    chosen = [first]

    def look(rows: Rows | slice, since: int) -> None:
        centres = np.array(chosen[since:])
        away = squares[rows, None] + squares[centres] - 2 * x[rows] @ x[centres].T
        bound[rows] = np.minimum(bound[rows], np.maximum(away.min(axis=1), 0.0))
        known[rows] = len(chosen)
        bound[centres] = -1.0

    base = 0
    while len(chosen) < count:
        if base == 0 or len(chosen) - base >= PENDING:
            look(slice(None), base)
            base = len(chosen)
        bound[chosen[-1]] = -1.0
        while True:
            best = int(bound.argmax())
            if known[best] == len(chosen):
                break
            size = min(LOOKED, len(x))
            rows = np.argpartition(bound, -size)[-size:]
            look(np.union1d(rows[known[rows] < len(chosen)], [best]), base)
        chosen.append(best)
    return np.array(chosen[:count], np.int64)


def herding(group: Group, count: int) -> Rows:
    """Keep examples whose mean stays near the mean of all: each next one points most towards what is missing.

    Source: Welling 2009, "Herding dynamical weights to learn", ICML. Departs: no example is taken twice.
    """
    order = group.by_hash
    x = np.asarray(group.features[order], np.float64)
    mean = x.mean(axis=0)
    return np.asarray(order[_steered(x, count, mean, mean, 1.0)])


def graph_cut(group: Group, count: int) -> Rows:
    """Keep examples that are like all others (by `alpha`) and unlike each other: the similarity is (1 + cosine) / 2.

    The function is alpha · Σ over all i and kept j of s(i, j) − Σ over kept i and j of s(i, j); each next example adds most.

    Source: Iyer et al. 2021, arXiv:2006.15412.
    """
    order = group.by_hash
    x = unit_rows(group.features[order])
    # With this similarity the gain is linear in the example, so nothing is kept for pairs.
    towards = group.options["alpha"] * x.sum(axis=0)
    return np.asarray(order[_steered(x, count, towards, np.zeros_like(towards), 2.0)])


def _steered(x: Matrix, count: int, towards: Float64[np.ndarray, " features"], drift: np.ndarray, step: float) -> Rows:
    """Take the row with the largest product with a vector, which then moves by `drift` − `step` times that row; and so on."""
    held = x.astype(np.float32) if x.size > SINGLE else x
    taken = np.zeros(len(x))
    chosen = np.empty(count, np.int64)
    for place in range(count):
        chosen[place] = best = int((held @ towards.astype(held.dtype) + taken).argmax())
        taken[best] = -np.inf
        towards = towards + drift - step * x[best]
    return chosen


def facility_location(group: Group, count: int) -> Rows:
    """Keep examples such that each of all has one like it: the similarity is (1 + cosine) / 2.

    The function is Σ over all i of the largest s(i, j) over kept j; each next example adds most (lazily evaluated). Of more than
    4,096 examples only the similarities to each one's 256 nearest count.

    Source: Wei et al. 2015, ICML; Minoux 1978 for lazy evaluation.
    """
    order = group.by_hash
    x = unit_rows(group.features[order]).astype(np.float32)
    return np.asarray(order[_covering(_columns([np.arange(len(x))], lambda _: lambda rows: 0.5 + 0.5 * (x[rows] @ x.T)), count)])


def craig(group: Group, count: int) -> Chosen:
    """Keep examples whose gradients stand for those of all: within each class each gradient has a near one that is kept.

    The gradient is the last layer's, (p − onehot(label)) ⊗ (features, 1); the similarity is the class's largest Euclidean distance
    minus the distance. A kept example weighs as many as it is the nearest to.

    Source: Mirzasoleiman et al. 2020, arXiv:1906.01827, with facility location as in its algorithm 1.
    """
    order = group.by_hash
    errors, x = errors_of(group.take(order)), with_bias(group.features[order])
    assert group.labels is not None
    labels = group.labels[order]
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    columns = _columns(classes, lambda rows: _nearness(errors[rows], x[rows]))
    chosen = _covering(columns, count)
    return Chosen(order[chosen], _numbers_stood_for(columns, chosen))


def gradmatch(group: Group, count: int) -> Chosen:
    """Keep examples by orthogonal matching pursuit for the mean gradient; the weights are not negative.

    Each next example's gradient, (p − onehot(label)) ⊗ (features, 1), points most towards what the weighted ones leave of the mean.

    Args:     group: option `ridge` draws the weights towards 0.
    Source: Killamsetty et al. 2021, arXiv:2103.00123, algorithm 2.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    order, ridge = group.by_hash, group.options["ridge"]
    errors, x = errors_of(group.take(order)), with_bias(group.features[order])
    target = errors.T @ x / len(x)
    products = ((errors @ target) * x).sum(axis=1)
    chosen, free = np.empty(count, np.int64), np.zeros(len(x))
    root = np.zeros((count, count))
    left = products
    for place in range(count):
        best = int((left + free).argmax())
        chosen[place], free[best] = best, -np.inf
        before, held = chosen[:place], chosen[: place + 1]
        # One more row of the Cholesky factor of the Gram matrix with its ridge.
        column = (errors[before] @ errors[best]) * (x[before] @ x[best])
        row = solve_triangular(root[:place, :place], column, lower=True) if place else column
        own = float(errors[best] @ errors[best]) * float(x[best] @ x[best]) + ridge
        root[place, :place], root[place, place] = row, np.sqrt(max(own - float(row @ row), 1e-12))
        factor = root[: place + 1, : place + 1]
        half = solve_triangular(factor, products[held], lower=True)
        weights = solve_triangular(factor, half, lower=True, trans="T")
        left = products - ((errors @ (errors[held].T @ (weights[:, None] * x[held]))) * x).sum(axis=1)
    # The weights without negative ones: min ‖root' w − half‖, which is the same problem with its ridge.
    return Chosen(order[chosen], nnls(root.T, half)[0])


def errors_of(group: Group) -> Float64[np.ndarray, "examples classes"]:
    """Return p − onehot(label): the loss's gradient by the logits."""
    assert group.labels is not None
    errors = np.array(group.views.probabilities, np.float64)
    if group.labels.max() >= errors.shape[1]:
        raise invalid("probabilities", f"have a column for each class, {group.labels.max() + 1} or more", errors.shape[1])
    errors[np.arange(len(errors)), group.labels] -= 1.0
    return errors


def with_bias(features: np.ndarray) -> Matrix:
    """Return features with a column of ones, the input of the last layer's bias."""
    return np.column_stack([np.asarray(features, np.float64), np.ones(len(features))])


def unit_rows(features: np.ndarray) -> Matrix:
    """Bring rows to length 1; a row of zeros is refused."""
    x = np.asarray(features, np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    refuse_rows(lengths[:, 0] == 0, 0, "all zero", "which have no direction. ")
    return np.asarray(x / lengths)


def _columns(classes: list[np.ndarray], similarity: Callable[[Rows], Callable[[slice], np.ndarray]]) -> list[Column]:
    """Hold for each example to which of its class its similarity counts, and that: to all, of more than 4,096 to 256. `similarity`
    gives of a class what gives the similarities of some of its rows to all of it."""
    columns: dict[int, Column] = {}
    for places in classes:
        block, n = similarity(places), len(places)
        parts = (block(rows).astype(np.float32, copy=False) for rows in slices(n, n, BLOCK))
        own = [(places, row) for part in parts for row in part] if n <= DENSE else _of_nearest(places, parts)
        columns |= zip(places.tolist(), own, strict=True)
    return [columns[row] for row in range(len(columns))]


def _of_nearest(places: Rows, parts: Iterable[np.ndarray]) -> list[Column]:
    """Return the columns of a matrix, given by blocks of rows, that keeps the largest of each row."""
    from scipy.sparse import csr_array

    n = len(places)
    kept = []
    for part in parts:
        nearest = np.argpartition(part, n - NEAREST, axis=1)[:, n - NEAREST :].astype(np.int32)
        kept.append((nearest, np.take_along_axis(part, nearest, axis=1)))
    nearest, values = (np.concatenate(one) for one in zip(*kept, strict=True))
    by_column = csr_array((values.ravel(), nearest.ravel(), np.arange(0, n * NEAREST + 1, NEAREST)), shape=(n, n)).tocsc()
    ends = by_column.indptr[1:-1]
    return list(zip(np.split(places[by_column.indices], ends), np.split(by_column.data, ends), strict=True))


def _nearness(errors: np.ndarray, x: Matrix) -> Callable[[slice], np.ndarray]:
    """Return how near gradients are to each other, without making them: products of outer products are products of products."""
    squares = np.einsum("nk,nk->n", errors, errors) * np.einsum("nd,nd->n", x, x)

    def distances(rows: slice) -> np.ndarray:
        products = (errors[rows] @ errors.T) * (x[rows] @ x.T)
        return np.asarray(np.sqrt(np.maximum(squares[rows, None] + squares - 2 * products, 0.0)))

    farthest = max(float(distances(rows).max()) for rows in slices(len(x), len(x), BLOCK))
    return lambda rows: np.asarray(farthest - distances(rows))


def _covering(columns: list[Column], count: int) -> Rows:
    """Take the examples that add most to the sum of each one's largest similarity, one after the other."""
    covered = np.zeros(len(columns))
    heap = [(-float(values.sum(dtype=np.float64)), j) for j, (_, values) in enumerate(columns)]
    heapq.heapify(heap)
    chosen = np.empty(count, np.int64)
    for place in range(count):
        while True:
            _, j = heapq.heappop(heap)
            rows, values = columns[j]
            entry = (-float(np.maximum(values - covered[rows], 0.0).sum()), j)
            if not heap or entry <= heap[0]:
                break
            heapq.heappush(heap, entry)
        chosen[place] = j
        covered[rows] = np.maximum(covered[rows], values)
    return chosen


def _numbers_stood_for(columns: list[Column], chosen: Rows) -> Float64[np.ndarray, " chosen"]:
    """Count for each chosen example those to which it is the most similar of the chosen; of equals the first."""
    best, owner = np.full(len(columns), -np.inf), np.full(len(columns), -1)
    for place, j in enumerate(chosen.tolist()):
        rows, values = columns[j]
        nearer = values > best[rows]
        best[rows[nearer]], owner[rows[nearer]] = values[nearer], place
    return np.bincount(owner[owner >= 0], minlength=len(chosen)).astype(np.float64)
