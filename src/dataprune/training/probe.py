"""How strongly a linear probe is regularised, chosen by cross-validation, and the learning rate that reaches that optimum."""

import math

import numpy as np
from jaxtyping import Float, Int64

MOST_ROWS = 2_000
# Of the rows trained on over those that choose: halfway between keeping weight decay (-1) and keeping decay times rows (0).
SIZE_EXPONENT = -0.5
FOLDS = 3
STRENGTHS = tuple(10.0 ** (half / 2) for half in range(-4, 7))  # of 1 / (decay x rows), from strong to weak
LOWEST = 1e-6  # of a probability, before its logarithm
SEARCH_PASSES = 160  # forward passes over a fold's rows that a search takes, a gradient counted as one; measured in docs/log.md
REACH = 3.0  # where no data pull, e^-REACH of a weight is left at the end: the optimum is reached, no matter from where


def held_out(labels: Int64[np.ndarray, " rows"]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each fold which rows are fitted, and which are asked: those of labels that are fitted too."""
    fold = np.empty(len(labels), np.int64)
    fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % FOLDS
    splits = [(fold != one, (fold == one) & np.isin(labels, labels[fold != one])) for one in range(FOLDS)]
    return [(kept, asked) for kept, asked in splits if len(np.unique(labels[kept])) > 1 and asked.any()]


def choose_strength(
    x: Float[np.ndarray, "rows features"], labels: Int64[np.ndarray, " rows"], n_trained: int | None = None
) -> float:
    """Return the strength of L2 regularisation under which softmax regression predicts held-out labels best: scikit-learn's C, the
    inverse of weight decay times rows; larger is weaker. From strong to weak, the search ends where the cross-entropy rises. A
    label that a fold's other rows lack is not asked for; of too few rows the answer is 1. `x` is as the probe sees it, perhaps a
    sample of `n_trained` rows."""
    return float(search(x, labels)[0] * (max(n_trained or 0, len(labels)) / len(labels)) ** SIZE_EXPONENT)


def search(x: Float[np.ndarray, "rows features"], labels: Int64[np.ndarray, " rows"]) -> tuple[float, float]:
    """Return the strength for as many rows, and the cross-entropy (nats) of held-out labels under it."""
    from dataprune.training.regression import FoldedRegression

    splits = held_out(labels)
    chosen, least = 1.0, math.inf
    if splits:
        regression = FoldedRegression(x, labels, splits)
        for strength in STRENGTHS:
            loss = regression.held_out_loss(strength)
            if loss > least:
                break
            chosen, least = strength, loss
    n_asked = sum(int(asked.sum()) for _, asked in splits)
    return chosen, float(least) / max(1, n_asked)


def rate_of(decay: float, labels: Int64[np.ndarray, " rows"], batch: float, n_steps: int, momentum: float) -> float:
    """Return the peak rate, of a schedule whose mean is half of it, for rows in the unit ball. It is what reaches the optimum in so
    many steps, at most what is stable: a step's curvature is about the share of the largest class, and that of a single row in a
    batch 1."""
    enough = REACH * (1 - momentum) / (decay * n_steps / 2)
    return min(enough, 1 / (float(np.bincount(labels).max()) / len(labels) + 1 / batch))


def search_flops(n_rows: int, forward_flops: int) -> int:
    """Count about what choosing a strength for so many rows costs, given the operations of one row's forward pass."""
    return SEARCH_PASSES * (FOLDS - 1) * min(n_rows, MOST_ROWS) * forward_flops
