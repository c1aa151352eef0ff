"""Whether the columns of probabilities stand in another order than the labels say."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from dataprune.noise.evidence import Labels, Singles

CHANCE = 1e-3
"""How often a better order may be told by chance, where the labels agree with no order more than with any other."""


@dataclass(frozen=True, eq=False)
class BetterOrder:
    """An order of the columns with which far more labels agree: which class each column is, how many agree so, and as they are."""

    order: Int64[np.ndarray, " classes"]
    n_better: int
    n_agree: int


def better_order(probabilities: Singles, labels: Labels) -> BetterOrder | None:
    """Find an order of the columns with which far more labels are the most probable class; None where there is none.

    Of all orders the one with which most agree (an assignment on the confusion matrix). It is far better if, of the examples that
    agree with one of the two orders only, at least twice as many agree with it, and a sign test on them, corrected by Bonferroni
    for the K! orders there are, says so: networks that know nothing agree with some order by chance. Both must hold without the
    column that gains most: networks that always name one class agree with the order that makes it the most frequent label.

    Example:
        >>> better_order(np.eye(2)[[0, 1] * 12], np.array([1, 0] * 12)).order.tolist()
        [1, 0]
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.special import gammaln
    from scipy.stats import binom

    n_classes = probabilities.shape[1]
    confusion = np.bincount(labels * n_classes + probabilities.argmax(axis=1), minlength=n_classes**2).reshape(n_classes, n_classes)
    order = linear_sum_assignment(-confusion.T)[1]  # for each column its class
    columns = np.arange(n_classes)
    moved = columns[order != columns]
    gains, losses = confusion[order[moved], moved], confusion[moved, moved]
    others = np.argsort(-gains, kind="stable")[1:]
    gained, lost = int(gains[others].sum()), int(losses[others].sum())
    if gained < max(1, 2 * lost) or binom.logsf(gained - 1, gained + lost, 0.5) + gammaln(n_classes + 1) > np.log(CHANCE):
        return None
    return BetterOrder(order, int(confusion[order, columns].sum()), int(np.trace(confusion)))
