"""How good a rule is over all sizes at once: the area under its curve, and its rank by what it gains over random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from dataprune.study.results_table import CellTable
from dataprune.study.statistics import Estimate, TwoWay, fit
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
    """Rank the curves of each arm by their mean gain over random of the same sizes, the best first.

    As areas are, it is taken seed by seed and judged in a table of its own. Curves of other sizes than random's have no rank.
    """
    accuracies, every, found = _without(cells, fitted), cells.curves(), []
    for arm in cells.arms:
        sizes = {curve: [cells.cells[place].keep for place in every[curve]] for curve in every if curve[0] == arm}
        controls = [curve for curve in sizes if cells.cells[every[curve][0]].is_random]
        ranked = [curve for curve in sizes if controls and sizes[curve] == sizes[controls[0]]]
        if len(ranked) > 1:
            control = ranked.index(controls[0])
            means = np.array([accuracies[every[curve]].mean(axis=0) for curve in ranked])
            pairs = np.eye(len(ranked))
            pairs[:, control] -= 1
            gains = _with_ends(fit(means, np.arange(len(ranked)) == control, bounded=False).contrast(pairs))
            own = [Rank(*curve, *gain) for curve, gain in zip(ranked, gains, strict=True) if curve != controls[0]]
            found += sorted(own, key=lambda one: -one.gain)
    return tuple(found)


def _without(cells: CellTable, fitted: TwoWay) -> Float64[np.ndarray, "cells seeds"]:
    """Return the accuracies but those that lie too far from the others."""
    accuracies = cells.accuracies.copy()
    for training in fitted.far:
        accuracies[training] = np.nan
    return accuracies


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
    """Measure the area under each curve of a study, with its interval over trainings; none without a control on all data.

    Sizes of a curve err together, so areas are taken seed by seed, and judged as the cells of a table of their own.
    """
    accuracies, every, found = _without(cells, fitted), cells.curves(), []
    for arm in dict.fromkeys(arm for arm, _ in every):
        curves = [curve for curve, places in every.items() if curve[0] == arm and len(places) > 1]
        everything = cells.all_of(cells.cells[every[curves[0]][0]]) if curves else None
        if everything is None or not fitted.means[everything] > 0:
            continue
        dropped = [np.array([cells.cells[place].dropped for place in every[curve]]) for curve in curves]
        is_random = np.array([cells.cells[every[curve][0]].is_random for curve in curves])
        control = int(np.argmax(is_random)) if is_random.any() else -1
        simpson = [simpson_weights(one) for one in dropped]
        tables = [([every[curve] for curve in curves], [weights for weights, _ in simpson])]
        tables += [([[everything, *every[curve]] for curve in curves], [trapezoid_weights(one) for one in dropped])]
        parts, whole = (_shares(accuracies, fitted, everything, *table, is_random) for table in tables)
        pairs = np.eye(len(curves))
        pairs[:, control] -= control >= 0
        minus = _with_ends(whole.contrast(pairs))
        for at, curve in enumerate(curves):
            paired = control not in (-1, at) and np.array_equal(dropped[control], dropped[at])
            ends = (_with_ends(one.contrast(np.eye(len(curves))))[at] for one in (parts, whole))
            last = minus[at] if paired else (np.nan,) * 3
            found.append(CurveArea(*curve, *next(ends), *next(ends), float(dropped[at][-1]), *last, simpson[at][1]))
    return tuple(found)


def _shares(
    accuracies: Float64[np.ndarray, "cells seeds"],
    fitted: TwoWay,
    everything: int,
    places: Sequence[Sequence[int]],
    weights: Sequence[Float64[np.ndarray, " places"] | None],
    is_random: Bool[np.ndarray, " curves"],
) -> TwoWay:
    """Fit weighted sums of cells as shares of the accuracy on all data, curves by seeds: the ratio by the delta method."""
    bottom, table = fitted.means[everything], np.full((len(places), accuracies.shape[1]), np.nan)
    for at, (own, of) in enumerate(zip(places, weights, strict=True)):
        if of is not None:
            ratio = of @ fitted.means[list(own)] / bottom
            table[at] = ratio + (of @ accuracies[list(own)] - ratio * accuracies[everything]) / bottom
    return fit(table, is_random, bounded=False)


def _with_ends(found: Estimate) -> list[tuple[float, float, float]]:
    return list(zip(found.value.tolist(), *(end.tolist() for end in found.interval()), strict=True))
