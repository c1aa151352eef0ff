"""What a study shows, and how sure that is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float64

from dataprune.errors import invalid, join_some, percent
from dataprune.notebook import Drawable, Tabular
from dataprune.study import statistics
from dataprune.study.auc import CurveArea, Rank, areas_of, ranks_of
from dataprune.study.metric import ACCURACY, Amount, Metric
from dataprune.study.multiplier import Multiplier, multipliers_of
from dataprune.study.results_table import EXTRAS, Cell, CellTable, Trials, cell_table
from dataprune.study.statistics import ALPHA, POWER, Estimate, TwoWay
from dataprune.study.wording import Note, note

TOLERANCE = 0.01
EXACT = 12  # decimals of a share of the range: what is beyond them is the rounding of sums
Correct = Sequence[Bool[np.ndarray, " test"] | None]
COLUMNS = ("score", "strategy", "keep", "start")
NUMBERS: dict[str, type] = {"keep": np.float64, "start": np.float64, "clusters": np.int64}


class Verdict(StrEnum):
    """How a cell compares with random of its size, as `summary.parquet` has it."""

    BETTER = "better than random"
    WORSE = "worse than random"
    SAME = "not distinguishable from random"
    ALL = "all data"
    RANDOM = "the random control"
    NO_RANDOM = "no random control of this size"
    NO_SPREAD = "not known: needs two seeds that differ"


@dataclass(frozen=True)
class Droppable:
    """The most that can be dropped by one rule at no loss beyond the tolerance.

    Attributes:
        arm, name: the curve, as `Cell.name`.
        keep: the smallest size shown to lose no more than the tolerance, with all larger ones; 1 where none was shown.
        loss: of accuracy at that size against all data, `at_most` this with the confidence that the number of curves leaves, over
            new trainings and, where it is known which test examples were right, new test examples; NaN where none was shown.
        stopped: the size at which the test stopped, as it may lose more: smaller ones are not tested; NaN where none may.
    """

    arm: str
    name: str
    keep: float
    loss: float
    at_most: float
    stopped: float


@dataclass(frozen=True, eq=False)
class Summary(Tabular, Drawable):
    """What a study shows.

    Attributes:
        cells: what each row of the table is.
        table: the columns of `summary.parquet`, a row for each cell: accuracy and its interval, differences to random of the same
            size and to all data with theirs, a `Verdict`. Intervals are 95 % each, not corrected for their number; verdicts are.
        areas, droppable: under the curve of each score and strategy, and the most that can be dropped by it.
        ranks: of the same curves, by their mean gain over random of the same sizes.
        multipliers: how many times as many examples random needs for what each rule reaches at each size.
        arms: what a cell changes from the study's first arm to another, with its interval; no rows for a study of one arm.
        standard_deviation, degrees_of_freedom: of one training around its cell and seed, pooled over cells, in accuracy.
        smallest_differences: to random that would have been seen with a power of 80 %, for each row of the table; NaN without a
            verdict, and where no difference in the range of the metric would have been.
        tolerance: a loss that counts as none.
        metric: what is judged, in whose units all figures are; its column of the table has the values.
        notes: what the numbers mean and what they leave out.
    """

    most_shown: ClassVar = 1000
    cells: tuple[Cell, ...]
    table: dict[str, np.ndarray]
    areas: tuple[CurveArea, ...]
    droppable: tuple[Droppable, ...]
    ranks: tuple[Rank, ...]
    multipliers: tuple[Multiplier, ...]
    arms: dict[str, np.ndarray]
    standard_deviation: float
    degrees_of_freedom: float
    smallest_differences: Float64[np.ndarray, " cells"]
    tolerance: float
    metric: Metric
    notes: tuple[Note, ...]

    @property
    def no_interval(self) -> Note | None:
        """Why nothing has an interval; None where intervals are known."""
        if np.isfinite(self.standard_deviation):
            return None
        return _no_spread(int(self.table["n_seeds"].max()), self.degrees_of_freedom)

    @property
    def no_loss(self) -> Note | None:
        """Why nothing is known of what is lost against all data; None where it is."""
        if not np.isfinite(self.table["minus_all"]).any():
            return note("only all data" if any(cell.is_all for cell in self.cells) else "no all data")
        return self.no_interval or (None if self.droppable else note("no sizes"))

    @property
    def beaten(self) -> frozenset[Cell]:
        """The cells surely worse than random of their size (all data, where there is none) by more than the tolerance."""
        sign, end = (1, "high") if self.metric.higher else (-1, "low")
        random, everything = (sign * self.table[f"minus_{control}_{end}"] for control in ("random", "all"))
        best = np.where(np.isfinite(self.table["minus_random"]), random, everything)
        return frozenset(cell for cell, most in zip(self.cells, best, strict=True) if cell.is_scored and most < -self.tolerance)

    def _columns(self) -> dict[str, np.ndarray]:
        return self.table

    def __repr__(self) -> str:
        verdicts = self.table["verdict"].tolist()
        counts = [(verdicts.count(one), one) for one in (Verdict.BETTER, Verdict.SAME, Verdict.WORSE, Verdict.NO_SPREAD)]
        told = ", ".join(f"{count} {one}" for count, one in counts if count) or "no comparison with random"
        lines = [f"Summary of {len(self.cells)} cells, {int(self.table['n_seeds'].max())} seeds: {told}"]
        lines += [f"  {one.name}: {percent(1 - one.keep)} can be dropped" for one in self.droppable if one.keep < 1]
        return "\n".join(lines)


def summarise(trials: Trials, tolerance: float = TOLERANCE, metric: Metric = ACCURACY, correct: Correct = ()) -> Summary:
    """Return what the trainings of a study show, in units of the metric.

    Args:
        trials: the columns of `trials.parquet`; those without a value are left out and counted in the notes. With `n_test` the
            intervals of test accuracies are over test examples too.
        tolerance: a loss that counts as none, 0.01 for a point of accuracy.
        correct: for each trial which test examples were right; with them what is shown to be lost is over test examples too.
    """
    if metric == ACCURACY:
        if not 0 <= tolerance < 1:
            raise invalid("tolerance", "be in [0, 1)", f"{tolerance:g}", "0.01 is one percentage point of accuracy.")
        return _of_shares(trials, tolerance, metric, correct)
    values = np.asarray(trials[metric.column], np.float64)
    start, step = metric.scale(values)
    size = abs(step)
    if not tolerance < size:
        raise invalid("tolerance", f"be below {size:g}, which is the range of {metric.name} here", f"{tolerance:g}")
    found = _of_shares({**trials, metric.column: (values - start) / step}, tolerance / size, metric, ())
    table = dict(found.table) | _in_units(found.table, (metric.column, "low", "high"), step, start)
    for name in ("minus_random", "minus_all"):
        table |= _in_units(found.table, (name, f"{name}_low", f"{name}_high"), step)
    return replace(
        found,
        table=table,
        areas=(),
        droppable=tuple(replace(one, loss=size * round(one.loss, EXACT), at_most=size * one.at_most) for one in found.droppable),
        ranks=tuple(replace(one, gain=size * one.gain, low=size * one.low, high=size * one.high) for one in found.ranks),
        arms=dict(found.arms) | _in_units(found.arms, ("difference", "difference_low", "difference_high"), step),
        standard_deviation=size * found.standard_deviation,
        smallest_differences=size * found.smallest_differences,
        tolerance=tolerance,
        notes=tuple(_told(one, metric, size) for one in found.notes),
    )


def _in_units(
    columns: Mapping[str, np.ndarray], names: tuple[str, str, str], step: float, start: float = 0.0
) -> dict[str, np.ndarray]:
    value, low, high = (start + step * np.round(columns[name], EXACT) for name in names)
    return dict(zip(names, (value, low, high) if step > 0 else (value, high, low), strict=True))


def _told(said: Note, metric: Metric, size: float) -> Note:
    """Return a note whose amounts are in units of the metric."""
    data = ((k, Amount(size * v.value, metric, size * v.to) if isinstance(v, Amount) else v) for k, v in said.data)
    return Note(said.code, tuple(data))


def _of_shares(trials: Trials, tolerance: float, metric: Metric, correct: Correct) -> Summary:
    """Summarise values that are shares of the metric's range, more being better."""
    measure = metric.column
    cells = cell_table(trials, measure)
    is_random = np.array([cell.is_random for cell in cells.cells])
    fitted = statistics.fit(cells.accuracies, is_random, list(cells.curves().values()))
    own = fitted.contrast(np.eye(len(cells.cells)))
    random = _against(cells, fitted, [cells.random_of(cell) for cell in cells.cells])
    everything = _against(cells, fitted, [cells.all_of(cell) for cell in cells.cells])
    corrected = statistics.holm(random.p_values())
    verdicts = [_verdict(cells, cell, random.value[at], corrected[at]).value for at, cell in enumerate(cells.cells)]
    n_test = int(np.max(trials["n_test"])) if measure == "test_accuracy" and "n_test" in trials else 0
    low, high = statistics.with_test_error(own, n_test)
    table = _cell_columns(cells.cells, COLUMNS)
    table |= {"n_seeds": np.isfinite(cells.accuracies).sum(axis=1), measure: own.value, "low": low, "high": high}
    table |= _with_interval("minus_random", random) | _with_interval("minus_all", everything)
    table["verdict"] = np.array(verdicts, object)
    table |= _cell_columns(cells.cells, [name for name in EXTRAS if name in trials])
    n_verdicts = int(np.isfinite(corrected).sum())
    smallest = np.where(np.isfinite(corrected), random.smallest_difference(n_verdicts), np.nan)
    over_test = _over_test(cells, correct)
    no_spread = not np.isfinite(fitted.standard_deviation)
    tested = "no test" if not n_test else "with test" if over_test.any() else "with test, not of losses"
    return Summary(
        cells=cells.cells,
        table=table,
        areas=areas_of(cells, fitted),
        droppable=_droppable(cells, _with_variance(everything, over_test), tolerance),
        ranks=ranks_of(cells, fitted),
        multipliers=multipliers_of(cells, fitted),
        arms=_arms(cells, fitted),
        standard_deviation=fitted.standard_deviation,
        degrees_of_freedom=fitted.degrees_of_freedom,
        smallest_differences=np.where(smallest <= 1, smallest, np.nan),
        tolerance=tolerance,
        metric=metric,
        notes=(*_notes(cells, fitted, smallest, trials), *([] if no_spread else [note(f"intervals: {tested}")])),
    )


def _cell_columns(cells: Sequence[Cell], names: Iterable[str]) -> dict[str, np.ndarray]:
    return {name: np.array([getattr(cell, name) for cell in cells], NUMBERS.get(name, object)) for name in names}


def _against(cells: CellTable, fitted: TwoWay, controls: list[int | None]) -> Estimate:
    """Estimate each cell less its control; NaN where it has none."""
    weights = np.eye(len(cells.cells))
    for place, control in enumerate(controls):
        if control is not None:
            weights[place, control] -= 1
    found = fitted.contrast(weights)
    without = np.array([control is None for control in controls])
    return Estimate(*(np.where(without, np.nan, one) for one in (found.value, found.standard_error, found.degrees_of_freedom)))


def _with_interval(name: str, found: Estimate) -> dict[str, np.ndarray]:
    low, high = (np.clip(end, -1, 1) for end in found.interval())  # as shares of the range no difference is larger
    return {name: found.value, f"{name}_low": low, f"{name}_high": high}


def _verdict(cells: CellTable, cell: Cell, difference: float, corrected: float) -> Verdict:
    kinds = (
        (cell.is_all, Verdict.ALL),
        (cell.is_random, Verdict.RANDOM),
        (cells.random_of(cell) is None, Verdict.NO_RANDOM),
        (not np.isfinite(corrected), Verdict.NO_SPREAD),
        (corrected > ALPHA, Verdict.SAME),
        (difference > 0, Verdict.BETTER),
    )
    return next((verdict for holds, verdict in kinds if holds), Verdict.WORSE)


def _over_test(cells: CellTable, correct: Correct) -> Float64[np.ndarray, " cells"]:
    """Return the variance of each cell's mean difference to all data by the choice of test examples, paired example by example; 0
    where it is not known. What trainings scatter by counts in both this and theirs, so it is rather too large."""
    found = np.zeros(len(cells.cells))
    for place, cell in enumerate(cells.cells):
        control = cells.all_of(cell)
        rows = () if control is None or not len(correct) else zip(cells.rows[place], cells.rows[control], strict=True)
        pairs = [(correct[own], correct[other]) for own, other in rows if min(own, other) >= 0]
        told = [own.astype(np.float64) - other for own, other in pairs if own is not None and other is not None]
        if told:
            found[place] = np.mean(told, axis=0).var() / len(told[0])
    return found


def _with_variance(found: Estimate, variance: Float64[np.ndarray, " cells"]) -> Estimate:
    """Add an error that is known well; Satterthwaite 1946 for the degrees of freedom."""
    trainings = found.standard_error**2
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(variance > 0, (trainings + variance) ** 2 / (trainings**2 / found.degrees_of_freedom), np.inf)
    freedom = np.where(np.isfinite(freedom), np.minimum(freedom, 1e9), found.degrees_of_freedom)
    return Estimate(found.value, np.sqrt(trainings + variance), freedom)


def _droppable(cells: CellTable, everything: Estimate, tolerance: float) -> tuple[Droppable, ...]:
    """Test each curve from its largest set on and stop at the first size that may lose more.

    So each curve is one test (a fixed sequence), and Bonferroni shares the level among the curves.
    """
    curves, found = cells.curves(), []
    level = ALPHA / max(1, len(curves))
    is_safe = everything.p_greater(-tolerance) <= level  # not where nothing is known
    bound = everything.value - statistics.t_quantile(1 - level, everything.degrees_of_freedom) * everything.standard_error
    for curve, indices in curves.items():
        shown = list(takewhile(lambda index: bool(is_safe[index]), indices))
        keep = cells.cells[shown[-1]].keep if shown else 1.0
        loss, at_most = (-float(one[shown[-1]]) if shown else np.nan for one in (everything.value, bound))
        stopped = cells.cells[indices[len(shown)]].keep if len(shown) < len(indices) else np.nan
        found.append(Droppable(*curve, keep, loss, at_most, stopped))
    return tuple(found)


def _arms(cells: CellTable, fitted: TwoWay) -> dict[str, np.ndarray]:
    """Return what each cell gains or loses from the study's first arm to another."""
    first = cells.arms[0]
    home = {replace(cell, arm=""): place for place, cell in enumerate(cells.cells) if cell.arm == first}
    pairs = [(p, home[replace(c, arm="")]) for p, c in enumerate(cells.cells) if c.arm != first and replace(c, arm="") in home]
    weights = np.zeros((len(pairs), len(cells.cells)))
    for row, (here, there) in enumerate(pairs):
        weights[row, here], weights[row, there] = 1, -1
    found = fitted.contrast(weights) if pairs else Estimate(np.zeros(0), np.zeros(0), np.zeros(0))
    columns = _cell_columns([cells.cells[here] for here, _ in pairs], (*COLUMNS, "arm"))
    columns["minus_arm"] = np.array([first] * len(pairs), object)
    return columns | _with_interval("difference", found) | {"p": statistics.holm(found.p_values())}


def _notes(cells: CellTable, fitted: TwoWay, smallest: Float64[np.ndarray, " cells"], trials: Trials) -> list[Note]:
    notes = []
    if "steps" in trials and "epochs" in trials:  # what the trainings had in common
        given = (np.asarray(trials[name], np.float64) for name in ("steps", "epochs"))
        steps, epochs = (set(values[np.isfinite(values)].tolist()) for values in given)
        neither = note("budget: epochs", epochs=epochs.pop()) if len(epochs) == 1 else note("budget: neither")
        notes.append(note("budget: steps", steps=steps.pop()) if len(steps) == 1 else neither)
    if len(cells.failed):
        notes.append(note("excluded", n_failed=len(cells.failed), n_trials=len(trials["keep"]), rows=join_some(cells.failed)))
    lacking = [cell.name + f" at keep {cell.keep:g}" for cell, row in zip(cells.cells, cells.rows, strict=True) if (row < 0).any()]
    if lacking:
        notes.append(note("seeds missing", cells=join_some(lacking, most=3)))
    if fitted.far:
        named = [
            f"{cells.cells[cell].name} at keep {cells.cells[cell].keep:g}, seed {cells.seeds[seed]}" for cell, seed in fitted.far
        ]
        notes.append(note("far", trainings=join_some(named, most=3)))
    if not np.isfinite(fitted.standard_deviation):
        return [*notes, note("no interval", why=_no_spread(fitted.n_seeds, fitted.degrees_of_freedom))]
    by = Amount(fitted.standard_deviation)
    notes.append(note("spread", by=by, n_cells=len(cells.cells), freedom=fitted.degrees_of_freedom))
    if fitted.variance_power:
        notes.append(note("spread grows", how="more" if fitted.variance_power > 0 else "less"))
    if not fitted.by_seed:
        notes.append(note("not paired"))
    told = smallest[smallest <= 1]
    if len(told):
        span = Amount(float(told.min()), to=float(told.max()))
        notes.append(note("smallest difference", n=len(told), n_seeds=len(cells.seeds), power=POWER, span=span))
    if (smallest > 1).any():
        lost = [f"{cell.name} at keep {cell.keep:g}" for cell, least in zip(cells.cells, smallest, strict=True) if least > 1]
        notes.append(note("smallest difference: none", cells=join_some(lost, most=3)))
    return notes


def _no_spread(n_seeds: int, degrees_of_freedom: float) -> Note:
    if n_seeds < 2:
        return note("one seed")
    return note("too few trainings") if degrees_of_freedom < 1 else note("no scatter", n_seeds=n_seeds)
