"""From which training on has pruning paid, as a picture?"""

from math import floor

import numpy as np

from dataprune.report.colors import GRAY, Style, ramp
from dataprune.report.figures import Line, Panel, Plot
from dataprune.study.cost import Price, Prices
from dataprune.training.cost import MEASURES

UNITS = {"flops": "operations", "seconds": "seconds of work", "examples_seen": "examples seen"}
MOST_TRAININGS = 100


def cost_data(prices: Prices) -> Plot | None:
    """Return what is in the picture of the price: all that was spent against the number of trainings, for each size.

    In operations where these are known, else in seconds. One training on all data is the unit. A size's line begins with the price
    of scoring; where it crosses that of all data pruning has paid.

    Returns:
        None where there is no training on all data, or no size by a score.
    """
    measure = next((name for name in ("flops", *MEASURES) if np.isfinite(prices.everything[name] * prices.scoring[name])), None)
    sizes: dict[float, list[Price]] = {}
    for price in prices.cells:
        if measure is not None and price.cell.kind == 2 and not price.cell.order and np.isfinite(price.training[measure]):
            sizes.setdefault(round(price.cell.keep, 6), []).append(price)
    if measure is None or not sizes:
        return None
    unit = prices.everything[measure]
    each = {keep: float(np.mean([one.training[measure] for one in of_size])) / unit for keep, of_size in sizes.items()}
    scoring = prices.scoring[measure] / unit
    pays = {keep: floor(scoring / (1 - cost)) + 1 if cost < 1 else None for keep, cost in each.items()}
    most = min(MOST_TRAININGS, max(5, round(1.5 * float(np.median([number for number in pays.values() if number] or [5])))))
    trainings = np.arange(0.0, most + 1)
    nothing = np.full(len(trainings), np.nan)
    lines = [Line("all data", Style(GRAY, "", "--"), trainings, trainings, nothing, nothing)]
    for place, keep in enumerate(sorted(sizes, reverse=True)):
        label = f"keep {keep:.0%}: " + (f"paid after {pays[keep]:,}" if pays[keep] else "never paid")
        lines.append(Line(label, Style(ramp(place, len(sizes)), ""), trainings, scoring + trainings * each[keep], nothing, nothing))
    note = f"scoring cost as much as {scoring:.2g} trainings on all data, in {UNITS[measure]}; the study itself is not counted"
    title = "What scoring and trainings cost together"
    return Plot(title, "trainings", "cost, in trainings on all data", (Panel("", tuple(lines)),), note)
