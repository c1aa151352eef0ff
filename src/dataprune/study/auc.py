"""How good a rule is over all sizes at once: the area under its curve, and its rank by what it gains over random."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dataprune.study.results_table import CellTable
from dataprune.study.statistics import Estimate, TwoWay
from dataprune.study.wording import Note, note

REPORTS_SPAN = (0.1, 0.7)


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
    """Rank the curves of each arm by their mean gain over random, the best first; none without random at each of its sizes."""
    controls = {curve: [cells.random_of(cells.cells[place]) for place in places] for curve, places in cells.curves().items()}
    ranked = [curve for curve, found in controls.items() if None not in found]
    weights = np.zeros((len(ranked), len(cells.cells)))
    for row, curve in zip(weights, ranked, strict=True):
        for place, control in zip(cells.curves()[curve], controls[curve], strict=True):
            row[place] += 1 / len(controls[curve])
            row[control] -= 1 / len(controls[curve])
    if not ranked:
        return ()
    gains = fitted.contrast(weights)
    found = [Rank(*curve, *map(float, one)) for curve, *one in zip(ranked, gains.value, *gains.interval(), strict=True)]
    return tuple(sorted(found, key=lambda one: (cells.arms.index(one.arm), -one.gain)))


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
    curves, found = cells.curves(), []
    dropped = {curve: np.array([cells.cells[place].dropped for place in places]) for curve, places in curves.items()}
    randoms = {curve[0]: curve for curve, places in reversed(curves.items()) if cells.cells[places[0]].is_random}  # of each arm
    for curve, places in curves.items():
        everything, control = cells.all_of(cells.cells[places[0]]), randoms.get(curve[0], curve)
        if everything is None or len(places) < 2:
            continue
        weights, absent = simpson_weights(dropped[curve])
        simpson = paired = (np.nan,) * 3
        if weights is not None:
            simpson = _share(fitted, everything, places, weights)
        from_none = trapezoid_weights(dropped[curve])
        if control != curve and np.array_equal(dropped[control], dropped[curve]):
            paired = _share(fitted, everything, [*places, *curves[control]], np.concatenate([from_none[1:], -from_none[1:]]))
        whole = _share(fitted, everything, [everything, *places], from_none)
        found.append(CurveArea(*curve, *simpson, *whole, float(dropped[curve][-1]), *paired, absent))
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
