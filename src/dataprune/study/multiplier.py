"""How many times fewer examples, and how much less work, a rule needs than random for what it reaches."""

from dataclasses import dataclass

import numpy as np

from dataprune.study.cost import StudyCosts, pays_after
from dataprune.study.results_table import CellTable
from dataprune.study.statistics import TwoWay

PAID = "scoring paid against random of the same accuracy"
HEADINGS = ("rule", "keep", "times fewer examples", "95 %", "times the work, with scoring", PAID)
POINTS = 400  # sizes, evenly in their logarithm, at which random's curve is looked at: within 1 % of each other


@dataclass(frozen=True)
class Multiplier:
    """A rule at one size against random of the same quality, between whose sizes the curve is taken as straight in log size.

    Attributes:
        arm, name: the curve, as `Cell.name`; `keep` its size.
        times: how many times as many examples random needs; infinite where it needs more than all data, 0 where it would do with
            fewer than its smallest size.
        low, high: the 95 % interval: the sizes of random that the rule cannot be told apart from, seeds paired.
    """

    arm: str
    name: str
    keep: float
    times: float
    low: float
    high: float

    def words(self, costs: StudyCosts) -> tuple[str, ...]:
        """Write it as the words of `HEADINGS`."""
        low, high = f"{self.low:.2f}" if self.low else "?", f"{self.high:.2f}" if np.isfinite(self.high) else "?"
        bound = f"{self.times:.2f}" if 0 < self.times < np.inf else f"under {high}" if not self.times else f"over {low}"
        bound = "-" if bound.endswith("?") else bound
        net, paid = self.net(costs)
        found = ("-", "not known") if np.isnan(net) else (f"{1 / net:.2f}", f"after {paid:,} trainings" if paid else "never")
        return (self.name + (f", {self.arm}" if self.arm else ""), f"{self.keep:g}", bound, f"{low} ... {high}", *found)

    def net(self, costs: StudyCosts) -> tuple[float, int | None]:
        """Return by how many times the work of one training falls, scoring counted, and after how many trainings it is paid.

        Work is operations where known, else seconds. NaN and None where random's work is not known; None also for never.
        """
        cells = [one for one in costs.cells if one.cell.arm == self.arm and one.cell.has_size]
        own = next(one.training for one in cells if (one.cell.name, one.cell.keep) == (self.name, self.keep))
        measure = costs.measure
        sizes = [(one.cell.keep, one.training[measure]) for one in cells if one.cell.is_random]
        keeps, works = zip(*sorted([*sizes, (1.0, costs.everything[measure])]), strict=True)
        random = float(np.interp(self.times * self.keep, keeps, works)) if 0 < self.times < np.inf else float("nan")
        scoring, saved = costs.scoring[measure], random - own[measure]
        return random / (own[measure] + scoring), pays_after(scoring, saved)


def multipliers_of(cells: CellTable, fitted: TwoWay) -> tuple[Multiplier, ...]:
    """Compare each size of each curve with the curve of random that ends in all data; none without both, or without a spread.

    The interval is that of Fieller 1954: all sizes at which the difference to random may be 0.
    """
    curves, found = cells.curves(), []
    randoms = {curve[0]: places for curve, places in curves.items() if cells.cells[places[0]].is_random}
    for curve, places in curves.items():
        everything, random = cells.all_of(cells.cells[places[0]]), randoms.get(curve[0])
        if everything is None or random is None or random == places:
            continue
        line = [*reversed(random), everything]
        at = np.log([cells.cells[place].keep for place in line])
        grid = np.linspace(at[0], at[-1], POINTS)
        control = np.zeros((POINTS, len(cells.cells)))
        control[:, line] = np.stack([np.interp(grid, at, row) for row in np.eye(len(line))], axis=1)
        for place in places:
            weights, keep = -control, cells.cells[place].keep
            weights[:, place] += 1
            gain = fitted.contrast(weights)
            low, high = gain.interval()
            if np.isfinite(low).all():
                better = int((gain.value > 0).sum())
                ends = [0.0, *(np.exp(grid) / keep).tolist(), np.inf]
                # Sizes of random below which the rule is surely better, and from which on it is surely worse.
                first, last = int((low > 0).sum()), POINTS - int((high < 0).sum())
                times = ends[better] if better < POINTS else np.inf
                found.append(Multiplier(*curve, keep, times, ends[first], ends[last + 1] if last < POINTS else np.inf))
    return tuple(found)
