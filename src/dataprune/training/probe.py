"""How strongly a linear probe is regularised, chosen by cross-validation, and the learning rate that reaches that optimum."""

import math
import warnings

import numpy as np
from jaxtyping import Float, Int64

MOST_ROWS = 2_000
# Of the rows trained on over those that choose: halfway between keeping weight decay (-1) and keeping decay times rows (0).
SIZE_EXPONENT = -0.5
FOLDS = 3
STRENGTHS = tuple(10.0 ** (half / 2) for half in range(-4, 7))  # of 1 / (decay x rows), from strong to weak
LOWEST = 1e-6  # of a probability, before its logarithm
ITERATIONS = 100  # at most, of L-BFGS, each from the solution of the strength before
SEARCH_PASSES = 230  # forward passes over a fold's rows that a search takes, a gradient counted as two; measured in docs/log.md
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
    """Return the strength of L2 regularisation under which softmax regression predicts held-out labels best.

    It is scikit-learn's C, the inverse of weight decay times rows; larger is weaker. From strong to weak, the search ends where the
    cross-entropy rises. A label that a fold's other rows lack is not asked for; of too few rows the answer is 1.

    Args:
        x: inputs as the probe sees them.
        n_trained: rows to train on, if `x` is a sample of them.
    """
    return float(search(x, labels)[0] * (max(n_trained or 0, len(labels)) / len(labels)) ** SIZE_EXPONENT)


def search(x: Float[np.ndarray, "rows features"], labels: Int64[np.ndarray, " rows"]) -> tuple[float, float]:
    """Return the strength for as many rows, and the cross-entropy (nats) of held-out labels under it."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    splits = held_out(labels)
    models = [LogisticRegression(max_iter=ITERATIONS, warm_start=True) for _ in splits]
    chosen, least = 1.0, math.inf
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in STRENGTHS if splits else ():
            loss = 0.0
            for model, (kept, asked) in zip(models, splits, strict=True):
                binary = len(np.unique(labels[kept])) == 2  # scikit-learn has one weight there, and two equal ones half its square
                model.set_params(C=strength * (2 if binary else 1)).fit(x[kept], labels[kept])
                p = model.predict_proba(x[asked])[np.arange(asked.sum()), np.searchsorted(model.classes_, labels[asked])]
                loss -= np.log(np.maximum(p, LOWEST)).sum(dtype=np.float64)
            if loss > least:
                break
            chosen, least = strength, loss
    n_asked = sum(int(asked.sum()) for _, asked in splits)
    return chosen, float(least) / max(1, n_asked)


def decay_of(strength: float, n_rows: int) -> float:
    """Return the weight decay of a strength for a loss averaged over rows."""
    return 1 / (strength * n_rows)


def rate_of(decay: float, labels: Int64[np.ndarray, " rows"], batch: float, n_steps: int, momentum: float) -> float:
    """Return the peak rate, of a schedule whose mean is half of it, for rows in the unit ball.

    It is what reaches the optimum in so many steps, at most what is stable: a step's curvature is about the share of the largest
    class, and that of a single row in a batch 1.
    """
    enough = REACH * (1 - momentum) / (decay * n_steps / 2)
    return min(enough, 1 / (float(np.bincount(labels).max()) / len(labels) + 1 / batch))


def search_flops(n_rows: int, forward_flops: int) -> int:
    """Count about what choosing a strength for so many rows costs, given the operations of one row's forward pass."""
    return SEARCH_PASSES * (FOLDS - 1) * min(n_rows, MOST_ROWS) * forward_flops
