"""How good a rule is over all sizes at once: the area under its curve, and its rank by what it gains over random."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from dataprune.study.results_table import CellTable
from dataprune.study.statistics import TwoWay
from dataprune.study.wording import Note, note

REPORTS_SPAN = (0.1, 0.7)
UNKNOWN = (float("nan"),) * 3


@dataclass(frozen=True)
class CurveArea:
    """The area under one curve, as a share of the accuracy on all data: 1 is no loss at any size; each with its 95 % interval.

    Attributes:
        arm, name: the curve, as `Cell.name`.
        simpson: by Simpson's rule from 10 % to 70 % dropped; NaN where it cannot be had (`absent` says why).
        trapezoid: from nothing dropped to the most dropped, `to`.
        minus_random: the trapezoid less that of random, where that has the same sizes.
    """

    arm: str
    name: str
    simpson: float
    simpson_low: float
    simpson_high: float
    trapezoid: float
    trapezoid_low: float
    trapezoid_high: float
    to: float
    minus_random: float
    minus_random_low: float
    minus_random_high: float
    absent: Note | None


@dataclass(frozen=True)
class Rank:
    """What a curve gains over random of the same sizes, the mean over sizes, with its 95 % interval."""

    arm: str
    name: str
    gain: float
    low: float
    high: float


def ranks_of(cells: CellTable, fitted: TwoWay) -> tuple[Rank, ...]:
    """Rank the curves of each arm by their mean gain over random of the same sizes, the best first; none where sizes differ."""
    every, found = cells.curves(), []
    for arm in cells.arms:
        sizes = {curve: [cells.cells[place].keep for place in every[curve]] for curve in every if curve[0] == arm}
        controls = [curve for curve in sizes if cells.cells[every[curve][0]].is_random]
        ranked = [curve for curve in sizes if controls and sizes[curve] == sizes[controls[0]]]
        if len(ranked) > 1:
            weights = np.array([np.isin(np.arange(len(cells.cells)), every[curve]) / len(every[curve]) for curve in ranked])
            gains = fitted.contrast(weights - weights[ranked.index(controls[0])])
            figures = np.stack([gains.value, *gains.interval()], axis=1).tolist()
            own = [Rank(*curve, *gain) for curve, gain in zip(ranked, figures, strict=True) if curve != controls[0]]
            found += sorted(own, key=lambda one: -one.gain)
    return tuple(found)


def simpson_weights(dropped: Float64[np.ndarray, " sizes"]) -> tuple[Float64[np.ndarray, " sizes"] | None, Note | None]:
    """Return the weights of Simpson's rule over dropped .1 … .7, divided by the span, or why there are none.

    Source: the report on CIFAR and vegetables, 2023; it reproduces its 14 figures.

    Example:
        >>> simpson_weights(np.array([0.1, 0.4, 0.7]))[0].round(3).tolist()
        [0.167, 0.667, 0.167]
    """
    n_sizes = len(dropped)
    if n_sizes < 3 or not np.allclose(dropped[[0, -1]], REPORTS_SPAN, rtol=0, atol=1e-6):
        return None, note("area: span")
    if n_sizes % 2 == 0 or np.ptp(np.diff(dropped)) > 1e-6:
        return None, note("area: steps", n=n_sizes)
    weights = np.ones(n_sizes)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    return weights / weights.sum(), None


def trapezoid_weights(dropped: Float64[np.ndarray, " sizes"]) -> Float64[np.ndarray, " sizes_and_none"]:
    """Return the weights of the trapezoid rule from 0 to the most dropped, over the span; the first is that of nothing dropped.

    Example:
        >>> trapezoid_weights(np.array([0.5, 1.0])).tolist()
        [0.25, 0.5, 0.25]
    """
    at = np.concatenate([[0.0], dropped])
    return np.asarray(np.trapezoid(np.eye(len(at)), at) / at[-1])


def areas_of(cells: CellTable, fitted: TwoWay) -> tuple[CurveArea, ...]:
    """Measure the area under each curve of a study, with its interval over trainings; none without a control on all data."""
    every, found = cells.curves(), []
    for arm in cells.arms:
        curves = {curve: places for curve, places in every.items() if curve[0] == arm and len(places) > 1}
        everything = cells.all_of(cells.cells[next(iter(curves.values()))[0]]) if curves else None
        if everything is None or not fitted.means[everything] > 0:
            continue
        dropped = {curve: np.array([cells.cells[place].dropped for place in places]) for curve, places in curves.items()}
        whole = {
            curve: _share(fitted, everything, [everything, *places], trapezoid_weights(dropped[curve]))
            for curve, places in curves.items()
        }
        control = next((curve for curve, places in curves.items() if cells.cells[places[0]].is_random), None)
        for curve, places in curves.items():
            weights, absent = simpson_weights(dropped[curve])
            part = UNKNOWN if weights is None else _ends(fitted, *_share(fitted, everything, places, weights))
            minus = UNKNOWN
            if control not in (None, curve) and np.array_equal(dropped[control], dropped[curve]):
                (slopes, share), (of_random, random) = whole[curve], whole[control]
                minus = _ends(fitted, slopes - of_random, share - random)
            found.append(CurveArea(*curve, *part, *_ends(fitted, *whole[curve]), float(dropped[curve][-1]), *minus, absent))
    return tuple(found)


def _share(
    fitted: TwoWay, everything: int, places: Sequence[int], weights: Float64[np.ndarray, " places"]
) -> tuple[Float64[np.ndarray, " cells"], float]:
    """Return the slopes by the cells (the delta method) and the value of a weighted sum as a share of the accuracy on all data."""
    bottom, slopes = fitted.means[everything], np.zeros(len(fitted.means))
    share = float(weights @ fitted.means[list(places)] / bottom)
    slopes[list(places)] = weights / bottom
    slopes[everything] -= share / bottom
    return slopes, share


def _ends(fitted: TwoWay, slopes: Float64[np.ndarray, " cells"], value: float) -> tuple[float, float, float]:
    low, high = replace(fitted.contrast(slopes), value=np.array([value])).interval()
    return value, float(low[0]), float(high[0])
