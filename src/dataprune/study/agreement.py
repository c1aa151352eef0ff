"""Do two scores keep the same examples?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dataprune.errors import invalid
from dataprune.scores import Scores
from dataprune.selection import select

DECILES = np.linspace(0.0, 1.0, 11)
MOST_BINS = 60


@dataclass(frozen=True, eq=False)
class Agreement:
    """How much the kept sets of all pairs of scores have in common, at several sizes.

    Attributes:
        names: of the scores.
        keep: the sizes.
        jaccard: (sizes, scores, scores): those in both sets as a share of those in either; 1 on the diagonal.
        by_chance: (sizes,) what two random sets of the size have: keep / (2 − keep).
    """

    names: tuple[str, ...]
    keep: tuple[float, ...]
    jaccard: Float64[np.ndarray, "sizes scores scores"]
    by_chance: Float64[np.ndarray, " sizes"]


def agreement(scores: Scores, keep: Sequence[float], strategy: str = "hardest", seed: int = 0) -> Agreement:
    """Compare the kept sets of all pairs of scores.

    Args:
        scores: of the same examples.
        keep: sizes, each in (0, 1].
        strategy: by which each set is kept.
        seed: of ties.

    Raises:
        InputError: no score, no size, or what `select` refuses.
    """
    names = tuple(scores)
    if not names or not len(keep):
        raise invalid("scores" if not names else "keep", "hold at least one", "none")
    n_examples = len(scores[names[0]].values)
    jaccard = np.empty((len(keep), len(names), len(names)))
    for size, fraction in enumerate(keep):
        kept = np.zeros((len(names), n_examples), np.float32)
        for row, name in enumerate(names):
            kept[row, select(scores[name], fraction, strategy=strategy, seed=seed).rows] = 1
        both = (kept @ kept.T).astype(np.float64)  # counts up to 2**24 are exact
        jaccard[size] = both / (np.diag(both)[:, None] + np.diag(both) - both)
    fractions = np.asarray(keep, np.float64)
    return Agreement(names, tuple(keep), jaccard, fractions / (2 - fractions))


@dataclass(frozen=True, eq=False)
class Distribution:
    """How one score is spread over the examples, in the score's own unit.

    Attributes:
        name, harder: of the score; `harder` is +1 if larger is harder.
        deciles: (11,) the least, each tenth, the largest.
        edges, counts: a histogram.
        distinct: how many different values there are: with few, most of a kept set is decided by ties.
    """

    name: str
    harder: int
    deciles: Float64[np.ndarray, "11"]
    edges: Float64[np.ndarray, " edges"]
    counts: np.ndarray
    distinct: int


def distributions(scores: Scores) -> tuple[Distribution, ...]:
    """Describe how each score is spread; scores of few whole numbers get a bar for each number."""
    found = []
    for name, score in scores.items():
        values = score.values.astype(np.float64)
        distinct = np.unique(values)
        whole = bool((distinct == np.round(distinct)).all()) and distinct[-1] - distinct[0] < MOST_BINS
        edges = np.arange(distinct[0], distinct[-1] + 2) - 0.5 if whole else np.histogram_bin_edges(values, bins=MOST_BINS)
        counts = np.histogram(values, edges)[0]
        found.append(
            Distribution(name, score.harder, np.quantile(values, DECILES), edges.astype(np.float64), counts, len(distinct))
        )
    return tuple(found)
