"""What the trainings of a study show by any metric: summarised as shares of its range, more being better, and told in its units."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dataprune.errors import invalid
from dataprune.study.metric import ACCURACY, Amount, Metric
from dataprune.study.results_table import Trials
from dataprune.study.summary import Answers, Summary, summarise
from dataprune.study.wording import Note

Table = Mapping[str, np.ndarray]


def summarise_by(metric: Metric, trials: Trials, tolerance: float, correct: Answers, measure: str) -> Summary:
    """Return what `summarise` does, in units of the metric; areas and test examples only for accuracy."""
    if metric == ACCURACY:
        return summarise(trials, tolerance, correct, measure)
    values = np.asarray(trials[measure], np.float64)
    start, step = metric.scale(values)
    size = abs(step)
    if not tolerance < size:
        raise invalid("tolerance", f"be below {size:g}, which is the range of {metric.name} here", f"{tolerance:g}")
    found = summarise({**trials, measure: (values - start) / step}, tolerance / size, None, measure)
    table = dict(found.table) | _in_units(found.table, (measure, "low", "high"), step, start)
    for name in ("minus_random", "minus_all"):
        table |= _in_units(found.table, (name, f"{name}_low", f"{name}_high"), step)
    own = ("difference", "difference_low", "difference_high")
    return replace(
        found,
        table=table,
        areas=(),
        droppable=tuple(replace(one, loss=size * one.loss, at_most=size * one.at_most) for one in found.droppable),
        ranks=tuple(replace(one, gain=size * one.gain, low=size * one.low, high=size * one.high) for one in found.ranks),
        arms=dict(found.arms) | _in_units(found.arms, own, step),
        standard_deviation=size * found.standard_deviation,
        smallest_difference=size * found.smallest_difference,
        smallest_differences=size * found.smallest_differences,
        tolerance=tolerance,
        metric=metric,
        notes=tuple(_told(one, metric, size) for one in found.notes),
    )


def _in_units(columns: Table, names: tuple[str, str, str], step: float, start: float = 0.0) -> dict[str, np.ndarray]:
    value, low, high = (start + step * columns[name] for name in names)
    return dict(zip(names, (value, low, high) if step > 0 else (value, high, low), strict=True))


def _told(said: Note, metric: Metric, size: float) -> Note:
    """Return a note whose amounts are in units of the metric."""
    data = ((k, Amount(size * v.value, metric, size * v.to) if isinstance(v, Amount) else v) for k, v in said.data)
    return Note(said.code, tuple(data))
