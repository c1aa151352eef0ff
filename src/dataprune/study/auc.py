"""How good a score is over all sizes at once: the area under its curve of accuracy against the share dropped."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dataprune.study.results_table import CellTable
from dataprune.study.statistics import Estimate, TwoWay
from dataprune.study.wording import Note, note

REPORTS_SPAN = (0.1, 0.7)


@dataclass(frozen=True)
class CurveArea:
    """The area under one curve, as a share of the accuracy on all data: 1 is no loss at any size.

    Attributes:
        arm, name: the curve, as `Cell.name`.
        simpson, simpson_low, simpson_high: by Simpson's rule from 10 % to 70 % dropped, with its 95 % interval; NaN where it cannot
            be had.
        trapezoid, trapezoid_low, trapezoid_high: from nothing dropped to the most dropped.
        to: the most dropped.
        minus_random, minus_random_low, minus_random_high: the trapezoid less that of random, where that has the same sizes.
        absent: why there is no `simpson`; None where there is one.
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


def simpson_weights(dropped: Float64[np.ndarray, " sizes"]) -> tuple[Float64[np.ndarray, " sizes"] | None, Note | None]:
    """Return the weights of Simpson's rule over dropped .1 … .7, divided by the span, or why there are none.

    Source: the report on CIFAR and vegetables, 2023; it reproduces its 14 figures.

    Example:
        >>> simpson_weights(np.array([0.1, 0.4, 0.7]))[0].round(3).tolist()
        [0.167, 0.667, 0.167]
    """
    first, last = REPORTS_SPAN
    n_sizes = len(dropped)
    if n_sizes < 3 or abs(dropped[0] - first) > 1e-6 or abs(dropped[-1] - last) > 1e-6:
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
    steps = np.diff(at) / at[-1]
    return np.concatenate([steps, [0.0]]) / 2 + np.concatenate([[0.0], steps]) / 2


def areas_of(cells: CellTable, fitted: TwoWay) -> tuple[CurveArea, ...]:
    """Measure the area under each curve of a study, with its interval over trainings; none without a control on all data."""
    curves = cells.curves()
    randoms: dict[str, list[int]] = {}
    for (arm, _), places in curves.items():
        if cells.cells[places[0]].is_random:
            randoms.setdefault(arm, places)
    found = []
    for (arm, name), places in curves.items():
        everything = cells.all_of(cells.cells[places[0]])
        if everything is None or len(places) < 2:
            continue
        dropped = np.array([cells.cells[place].dropped for place in places])
        weights, absent = simpson_weights(dropped)
        simpson = (np.nan,) * 3 if weights is None else _share(fitted, everything, places, weights)
        from_none = trapezoid_weights(dropped)
        control = randoms.get(arm, [])
        paired = (np.nan,) * 3
        if control and control != places and [cells.cells[p].dropped for p in control] == [cells.cells[p].dropped for p in places]:
            paired = _share(fitted, everything, [*places, *control], np.concatenate([from_none[1:], -from_none[1:]]))
        whole = _share(fitted, everything, [everything, *places], from_none)
        found.append(CurveArea(arm, name, *simpson, *whole, float(dropped[-1]), *paired, absent))
    return tuple(found)


def _share(
    fitted: TwoWay, everything: int, places: list[int], weights: Float64[np.ndarray, " places"]
) -> tuple[float, float, float]:
    """Return a weighted sum of cells as a share of the accuracy on all data, with its interval: of a ratio, by the delta method."""
    linear = np.zeros(len(fitted.means))
    np.add.at(linear, places, weights)
    top, bottom = float(np.nansum(linear * fitted.means)), float(fitted.means[everything])
    if not bottom > 0:
        return (float("nan"),) * 3
    slopes = linear / bottom
    slopes[everything] -= top / bottom**2
    spread = fitted.contrast(slopes)
    estimate = Estimate(np.array([top / bottom]), spread.standard_error, spread.degrees_of_freedom)
    low, high = estimate.interval()
    return top / bottom, float(low[0]), float(high[0])
