"""Would another ensemble give the same scores, and how many members does it take?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, comb
from typing import Literal

import numpy as np
from jaxtyping import Float64

from dataprune.errors import InputError, invalid
from dataprune.scores import Score, Scores, correlations, score_trace
from dataprune.streams import generator
from dataprune.trace import Trace

FEWEST_MEMBERS = 4
SPLITS = 10


@dataclass(frozen=True)
class Reliability:
    """How far a score of an ensemble would be repeated by another ensemble of as many members.

    Attributes:
        name: of the score.
        half: members in a half.
        between_halves: the correlation of the two halves, the mean over splits; NaN where a half gave all examples the same
            (`absent` says so).
        spread: the standard deviation of that over splits. They share members, so it says how much the split matters, and is no
            standard error.
        members: in the ensemble, in two equal halves.
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
        """Return the members it takes to reach a reliability; None where halves have nothing in common.

        Raises:
            InputError: `target` is not in (0, 1).
        """
        if not 0 < target < 1:
            raise invalid("target", "be in (0, 1)", f"{target:g}")
        r = self.between_halves
        if not r > 0:
            return None
        if r >= 1:
            return 1
        return max(1, ceil(self.half * target * (1 - r) / (r * (1 - target)) - 1e-9))


def spearman_brown(correlation: float, times: float) -> float:
    """Return the reliability of a mean over `times` as many parts, from that of the parts.

    NaN where the parts contradict each other so much that there is none.

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
        names: as for `score_trace`; all that the halves allow if not given.
        splits: random ones, at most; where there are fewer different ones, all.
        kind: of the correlation.
        seed: of the splits.

    Raises:
        InputError: fewer than four members, or an unknown name.
    """
    if trace.n_members < FEWEST_MEMBERS:
        raise InputError(
            f"reliability needs {FEWEST_MEMBERS} members, got {trace.n_members}. Add some with `dataprune score --members "
            f"{FEWEST_MEMBERS} --extend`."
        )
    half = trace.n_members // 2
    found: dict[str, list[float]] = {}
    for one, other in _halves(trace.n_members, splits, seed):
        first, second = (score_trace(trace.of_members(part), names) for part in (one, other))
        for name in first:
            if name in second:
                pair = [Score(side, scores[name].difficulty) for side, scores in (("one", first), ("other", second))]
                found.setdefault(name, []).append(float(correlations(Scores(pair), kind)[1][0, 1]))
    return tuple(_joined(name, half, trace.n_members, np.array(values)) for name, values in found.items())


def _joined(name: str, half: int, members: int, between: Float64[np.ndarray, " splits"]) -> Reliability:
    mean = float(between.mean())
    return Reliability(name, half, mean, float(between.std()), members, spearman_brown(mean, members / half))


def _halves(members: int, splits: int, seed: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return different ways to take two halves of an ensemble: all where they are few, else random ones."""
    half = members // 2
    ways = comb(members, 2 * half) * comb(2 * half, half) // 2
    if ways <= splits:
        left = [
            (one, other)
            for one in combinations(range(members), half)
            for other in combinations([m for m in range(members) if m not in one], half)
            if one < other
        ]
        return left
    stream = generator(seed, "halves")
    drawn: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
    while len(drawn) < splits:
        order = stream.permutation(members).tolist()
        pair = sorted((tuple(sorted(order[:half])), tuple(sorted(order[half : 2 * half]))))
        drawn[pair[0], pair[1]] = None
    return list(drawn)
