"""How far scores can be relied on: what a second ensemble would give, and whether two scores keep the same examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, comb
from typing import Literal

import numpy as np
from jaxtyping import Float64

from dataprune.errors import InputError, invalid
from dataprune.scores import Score, Scores, correlations, score_trace
from dataprune.selection import select
from dataprune.streams import generator
from dataprune.trace import Trace

FEWEST_MEMBERS = 4
SPLITS = 10


@dataclass(frozen=True)
class Reliability:
    """How far a score of an ensemble would be repeated by another ensemble of as many members.

    Attributes:
        half, members: members in a half, and in the two halves' ensemble.
        between_halves: the correlation of the two halves, the mean over splits; NaN where a half gave all examples the same
            (`absent` says so).
        spread: its standard deviation over splits. They share members, so it says how much the split matters, and is no
            standard error.
        whole: expected correlation of this ensemble's score with that of another ensemble of as many members (Spearman and Brown).
    """

    name: str
    half: int
    between_halves: float
    spread: float
    members: int
    whole: float

    @property
    def absent(self) -> str:
        """Why there is no figure, in words; "" where there is one."""
        if not np.isfinite(self.between_halves):
            return f"half of the members gave all examples the same {self.name}, which correlates with nothing"
        return "" if np.isfinite(self.whole) else f"the halves of the members contradict each other in {self.name}"

    def with_members(self, members: float) -> float:
        """Return the reliability to be expected of so many members."""
        return spearman_brown(self.between_halves, members / self.half)

    def members_for(self, target: float) -> int | None:
        """Return the members it takes to reach a reliability in (0, 1); None where halves have nothing in common."""
        if not 0 < target < 1:
            raise invalid("target", "be in (0, 1)", f"{target:g}")
        r = self.between_halves
        if not 0 < r < 1:
            return 1 if r >= 1 else None
        return max(1, ceil(self.half * target * (1 - r) / (r * (1 - target)) - 1e-9))


def spearman_brown(correlation: float, times: float) -> float:
    """Return the reliability of a mean over `times` as many parts, from that of the parts; NaN where they contradict each other.

    Source: Spearman 1910, Brown 1910.

    Example:
        >>> round(spearman_brown(0.5, 2), 3)
        0.667
    """
    below = 1 + (times - 1) * correlation
    return times * correlation / below if below > 0 else float("nan")


def reliability(
    trace: Trace,
    names: Sequence[str] | None = None,
    splits: int = SPLITS,
    kind: Literal["pearson", "spearman"] = "pearson",
    seed: int = 0,
) -> tuple[Reliability, ...]:
    """Compare the scores of random halves of an ensemble.

    The step from half to whole is exact in expectation for scores that are means over members, under `pearson`; for `std`, for
    `pred_sum` of few members and for ranks it is an approximation.

    Args:
        trace: of four members or more; of an odd number one is left out of each split, another each time.
        names: as for `score_trace`; the usual ones that the halves allow if not given.
        splits: random ones, at most; where there are fewer different ones, all.
    """
    if trace.n_members < FEWEST_MEMBERS:
        cure = f"Add some with `dataprune score --extend`: --members {FEWEST_MEMBERS}, or --repeats 2 of folds"
        raise InputError(f"reliability needs {FEWEST_MEMBERS} members, got {trace.n_members}. {cure}.")
    half = trace.n_members // 2
    found: dict[str, list[float]] = {}
    for one, other in _halves(trace.n_members, splits, seed):
        first, second = (score_trace(trace.of_members(part), names) for part in (one, other))
        for name in first:
            if name in second:
                pair = [Score(side, scores[name].difficulty) for side, scores in (("one", first), ("other", second))]
                found.setdefault(name, []).append(float(correlations(Scores(pair), kind)[1][0, 1]))
    n, means = trace.n_members, {name: float(np.mean(values)) for name, values in found.items()}
    return tuple(
        Reliability(name, half, means[name], float(np.std(values)), n, spearman_brown(means[name], n / half))
        for name, values in found.items()
    )


def _halves(members: int, splits: int, seed: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return different ways to take two halves of an ensemble: all where they are few, else random ones."""
    half = members // 2
    ways = comb(members, 2 * half) * comb(2 * half, half) // 2
    if ways <= splits:
        firsts = combinations(range(members), half)
        rest = ((one, [member for member in range(members) if member not in one]) for one in firsts)
        return [(one, other) for one, others in rest for other in combinations(others, half) if one < other]
    stream = generator(seed, "halves")
    drawn: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
    while len(drawn) < splits:
        order = stream.permutation(members).tolist()
        pair = sorted((tuple(sorted(order[:half])), tuple(sorted(order[half : 2 * half]))))
        drawn[pair[0], pair[1]] = None
    return list(drawn)


@dataclass(frozen=True, eq=False)
class Agreement:
    """How much the kept sets of all pairs of scores have in common, at several sizes.

    Attributes:
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
        keep: sizes, each in (0, 1].
        strategy: by which each set is kept; `seed` is that of ties.
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
