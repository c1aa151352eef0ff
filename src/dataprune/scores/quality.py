"""How good are features, if good means that near ones have the same label?"""

import numpy as np
from jaxtyping import Float32, Int64

from dataprune.errors import InputError
from dataprune.scores.neighbours import nearest

SHARPNESS = 0.07  # Wu et al. 2018, arXiv:1805.01978, section 3.4


def knn_accuracy(
    train_features: Float32[np.ndarray, "rows columns"],
    train_labels: Int64[np.ndarray, " rows"],
    test_features: Float32[np.ndarray, "queries columns"],
    test_labels: Int64[np.ndarray, " queries"],
    k: int = 20,
    *,
    exclude_self: bool = False,
) -> float:
    """Measure how often the k nearest rows by cosine name a query's label, each vote weighted by exp(cosine / 0.07).

    Args:
        train_features: rows whose labels are known.
        train_labels: class indices from 0.
        test_features: queries; with `exclude_self` the train features themselves (leave one out).
        test_labels: their labels.
        k: neighbours; of fewer rows all are taken.
        exclude_self: a row is not its own neighbour.

    Returns:
        A share in [0, 1]; of equal votes the lower class wins.

    Raises:
        InputError: no row to learn from, or none to ask about.

    Source:
        Wu et al. 2018, arXiv:1805.01978, section 3.4 (there with k = 200).

    Example:
        >>> x = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
        >>> knn_accuracy(x, np.array([0, 0, 1]), x[:2], np.array([0, 1]), k=1)
        0.5
    """
    n_rows = len(train_features) - exclude_self
    if n_rows < 1 or not len(test_features):
        raise InputError(f"a nearest-neighbour accuracy needs rows on both sides, got {n_rows} and {len(test_features)}.")
    known, asked = _with_direction(train_features, 0), _with_direction(test_features, 0 if exclude_self else 1)
    distances, rows = nearest(known, asked, min(k, n_rows), exclude_self=exclude_self)
    weights = np.exp((1 - distances.astype(np.float64)) / SHARPNESS)
    votes = np.zeros((len(rows), int(train_labels.max()) + 1))
    for column in range(rows.shape[1]):
        votes[np.arange(len(rows)), train_labels[rows[:, column]]] += weights[:, column]
    return float((votes.argmax(1) == test_labels).mean())


def _with_direction(features: Float32[np.ndarray, "rows columns"], place: int) -> Float32[np.ndarray, "rows wider"]:
    """Return rows of zeros a direction of their own, at right angles to all others."""
    wider = np.pad(features, ((0, 0), (0, 2)))
    wider[~features.any(axis=1), features.shape[1] + place] = 1
    return wider
