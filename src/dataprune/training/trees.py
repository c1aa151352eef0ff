"""Boosted trees as a member, by scikit-learn: an iteration is an epoch, and what the trees so far say is its row of the trace."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dataprune.training.probe import LOWEST, held_out
from dataprune.training.recipes import TREES, Recipe

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

LEAVES, L2 = 8, 1.0  # small trees: docs/log.md has figures of larger ones on tables with wrong labels

Rows = Float32[np.ndarray, "rows features"]


def grown(recipe: Recipe, x: Rows, labels: Int64[np.ndarray, " rows"], seed: int) -> "HistGradientBoostingClassifier":
    from sklearn.ensemble import HistGradientBoostingClassifier

    own = {"max_leaf_nodes": LEAVES, "l2_regularization": L2, "early_stopping": False, "random_state": seed % 2**32}
    return HistGradientBoostingClassifier(learning_rate=recipe.learning_rate, max_iter=recipe.epochs, **own).fit(x, labels)


def staged_logits(
    model: "HistGradientBoostingClassifier", x: Rows, n_classes: int
) -> Iterator[Float64[np.ndarray, "rows classes"]]:
    """Yield what the trees say of rows after each iteration; classes that they did not see keep the lowest probability."""
    for found in model.staged_predict_proba(x):
        p = np.full((len(x), n_classes), LOWEST)
        p[:, model.classes_] = np.maximum(found, LOWEST)
        yield np.log(p)


def held_out_loss(x: Rows, labels: Int64[np.ndarray, " rows"]) -> float:
    """Return the cross-entropy (nats) of trees on held-out labels, on the folds by which a probe's strength is chosen."""
    loss, n_asked = 0.0, 0
    for kept, asked in held_out(labels):
        model = grown(TREES, x[kept], labels[kept], seed=0)
        p = model.predict_proba(x[asked])[np.arange(asked.sum()), np.searchsorted(model.classes_, labels[asked])]
        loss, n_asked = loss - np.log(np.maximum(p, LOWEST)).sum(), n_asked + int(asked.sum())
    return loss / max(1, n_asked)
