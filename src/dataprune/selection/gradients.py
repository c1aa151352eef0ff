"""GradMatch: examples whose weighted gradients of the last layer add up to that of all, by orthogonal matching pursuit.

Growth for n examples, D features, K classes, of which m are kept: time n · m · K · D + m³, memory n · (K + D) + m². Balanced, n
and m are those of a class.
"""

import numpy as np

from dataprune.selection.greedy import errors_of, with_bias
from dataprune.selection.group import Chosen, Group


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
        before = chosen[:place]
        # One more row of the Cholesky factor of the Gram matrix with its ridge.
        column = (errors[before] @ errors[best]) * (x[before] @ x[best])
        row = solve_triangular(root[:place, :place], column, lower=True) if place else column
        own = float(errors[best] @ errors[best]) * float(x[best] @ x[best]) + ridge
        root[place, :place], root[place, place] = row, np.sqrt(max(own - float(row @ row), 1e-12))
        factor = root[: place + 1, : place + 1]
        half = solve_triangular(factor, products[chosen[: place + 1]], lower=True)
        weights = solve_triangular(factor, half, lower=True, trans="T")
        held = chosen[: place + 1]
        left = products - ((errors @ (errors[held].T @ (weights[:, None] * x[held]))) * x).sum(axis=1)
    half = solve_triangular(root, products[chosen], lower=True)
    # The weights without negative ones: min ‖root' w − half‖, which is the same problem with its ridge.
    return Chosen(order[chosen], nnls(root.T, half)[0])
