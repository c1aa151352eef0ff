"""Strategies over a graph or clusters of features: D2, whose difficulty spreads between neighbours, and SemDeDup."""

import heapq
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from dataprune.blocks import slices
from dataprune.clustering import assign, fit
from dataprune.scores.neighbours import nearest
from dataprune.selection.greedy import unit_rows
from dataprune.selection.group import Group, Rows, Values

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BLOCK = 2**24  # similarities that are made at once
ITERATIONS = 20  # of k-means: clusters only say what is compared
FEW = 10_000  # examples of which equal ones are counted, so that there are not more clusters than different rows


def d2(group: Group, count: int) -> Rows:
    """Keep hard examples that are not alike: neighbours add to an example's difficulty, and a kept one takes from its neighbours'.

    Each next one is the hardest; e = exp(−gamma · d²) of its difficulty then goes from each neighbour. d is the Euclidean distance
    between rows of length 1; a difficulty below 0 is moved to begin there. Growth: n² · D for the neighbours, by blocks.

    Args:     group: options `neighbours` (of each; one is enough for a pair) and `gamma` (of what a kept one takes; forward it is
              1).
    Source: Maharana et al. 2024, arXiv:2310.07931.
    """
    order = group.by_hash
    difficulty = group.difficulty[order]
    k = min(int(group.options["neighbours"]), len(order) - 1)
    if k < 1:
        return order[:count]
    cosine, rows = nearest(group.features[order], None, k)
    graph = symmetric(rows, 2.0 * cosine)  # between unit vectors the squared distance is 2 − 2 cosine
    start = np.maximum(difficulty - min(0.0, float(difficulty.min())), 0.0)
    return np.asarray(order[spread(graph, start, group.options["gamma"], count)])


def symmetric(rows: Int64[np.ndarray, "examples k"], lengths: np.ndarray) -> "csr_array":
    """Return squared lengths + 1 of the graph in which two are joined if either is among the other's nearest."""
    from scipy.sparse import csr_array

    n, k = rows.shape
    joined = csr_array((lengths.ravel() + 1.0, rows.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))  # 0 would be no pair
    return joined.maximum(joined.T).tocsr()


def spread(graph: "csr_array", importance: Values, gamma: float, count: int) -> Rows:
    """Let importance spread over a graph, then take the most important, one after the other, each taking from its neighbours."""
    neighbours, squares = graph.indices, graph.data - 1.0
    starts = graph.indptr.tolist()
    sender = np.repeat(np.arange(len(importance)), np.diff(graph.indptr))
    now = importance + np.bincount(sender, np.exp(-squares) * importance[neighbours], minlength=len(importance))
    taken = np.exp(-gamma * squares)
    heap = [(-value, row) for row, value in enumerate(now.tolist())]
    heapq.heapify(heap)
    is_kept = np.zeros(len(now), bool)
    chosen: list[int] = []
    while len(chosen) < count:
        value, row = heapq.heappop(heap)
        if is_kept[row] or -value != now[row]:  # as it stood before
            continue
        chosen.append(row)
        is_kept[row] = True
        part = slice(starts[row], starts[row + 1])
        now[neighbours[part]] -= taken[part] * now[row]
        for other in neighbours[part].tolist():
            heapq.heappush(heap, (-float(now[other]), other))
    return np.array(chosen, np.int64)


def semdedup(group: Group, count: int) -> Rows:
    """Keep what is least like anything kept before it in its cluster: of near copies one stays.

    Within a cluster of k-means on rows of length 1 the examples are ranked from far to near its centre (`easy` 1: from near to
    far), and each is judged by its largest cosine to one ranked before it. With `epsilon` and no size, those with a cosine of at
    most 1 − epsilon are kept.

    Args:     group: options `clusters` (0 is about √n), `easy`, `epsilon`.
    Source: Abbas et al. 2023, arXiv:2303.09540.
    """
    order = group.by_hash
    return order[np.argsort(_likeness(group, order), kind="stable")[:count]]


def semdedup_size(group: Group) -> int | None:
    epsilon = group.options["epsilon"]
    return max(1, int((_likeness(group, group.by_hash) <= 1 - epsilon).sum())) if epsilon else None


def _likeness(group: Group, order: Rows) -> Values:
    x = unit_rows(group.features[order])
    k = int(group.options["clusters"]) or max(1, round(len(x) ** 0.5))
    k = min(k, len(np.unique(x, axis=0))) if len(x) <= FEW else k
    centres = fit(x, k, seed=int(group.hashes.min() % 2**31), iterations=ITERATIONS).centres
    cluster = assign(x, centres)[0]
    sign = -1.0 if group.options["easy"] else 1.0
    likeness = np.full(len(x), -1.0)
    for one in np.unique(cluster):
        rows = np.flatnonzero(cluster == one)
        near = x[rows] @ (centres[one] / max(float(np.linalg.norm(centres[one])), 1e-12))
        ranked = rows[np.argsort(sign * near, kind="stable")]
        likeness[ranked] = largest_before(x[ranked])
    return likeness


def largest_before(x: np.ndarray) -> Values:
    """Return each row's largest product with a row before it; −1 for the first."""
    largest = np.full(len(x), -1.0)
    for rows in slices(len(x), len(x), BLOCK):
        products = x[rows] @ x[: rows.stop].T
        products[np.arange(rows.stop) >= np.arange(rows.start, rows.stop)[:, None]] = -1.0
        largest[rows] = products.max(axis=1)
    return largest
