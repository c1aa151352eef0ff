"""What scoring and each training cost, and after how many trainings pruning has paid."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import floor

import numpy as np

from dataprune.run.manifest import Phase
from dataprune.study.results_table import Cell, Trials, cell_table
from dataprune.study.wording import Note, note
from dataprune.training.settings import MEASURES, Cost

COLUMNS = ("train_seconds", "examples_seen", "flops")  # of trials.parquet
NOTHING, UNKNOWN = Cost(0.0, 0.0, 0.0), Cost(np.nan, np.nan, np.nan)


def scoring_cost(phases: Iterable[Phase]) -> Cost:
    """Return what a run cost: training its members and scoring every example. Features made elsewhere are not in it.

    Of no phase it is not known: the scores, or what they were recorded in, are of elsewhere.
    """
    found = list(phases)
    if not found:
        return UNKNOWN
    return sum((Cost(one.seconds, one.examples_seen, one.flops) for one in found), NOTHING)


@dataclass(frozen=True)
class CellCost:
    """What one training of a cell costs, the mean over its seeds, and when pruning to it has paid.

    Attributes:
        saved: what one training saves against one on all data; below 0 where it costs more.
        pays_after: for each measure the number of trainings with which scoring is paid for; None for never, or where it is not
            known. Random needs no scores and pays from the first.
    """

    cell: Cell
    training: Cost
    saved: Cost
    pays_after: Mapping[str, int | None]


@dataclass(frozen=True, eq=False)
class StudyCosts:
    """The cost of scoring, of a training on all data (NaN where the study has none), and of each other cell.

    `notes` are what the figures leave out.
    """

    scoring: Cost
    everything: Cost
    cells: tuple[CellCost, ...]
    notes: tuple[Note, ...]

    def table(self) -> dict[str, np.ndarray]:
        """Return a row for scoring, one for all data and one for each cell, as columns that can be written to a file.

        `pays_after_...` is 0 for scoring and all data themselves, and −1 for never.
        """
        none = dict.fromkeys(MEASURES, 0)
        rows = [("scoring", np.nan, np.nan, self.scoring, UNKNOWN, none), ("all data", 1.0, np.nan, self.everything, UNKNOWN, none)]
        rows += [(one.cell.name, one.cell.keep, one.cell.start, one.training, one.saved, one.pays_after) for one in self.cells]
        what, keep, start, cost, saved, after = zip(*rows, strict=True)
        table = {"what": np.array(what, object), "keep": np.array(keep), "start": np.array(start)}
        table |= {name: np.array([one[name] for one in cost]) for name in MEASURES}
        table |= {f"saved_{name}": np.array([one[name] for one in saved]) for name in MEASURES}
        paid = {name: [-1 if one[name] is None else one[name] for one in after] for name in MEASURES}
        return table | {f"pays_after_{name}": np.array(values, np.int64) for name, values in paid.items()}


def study_costs(trials: Trials, scoring: Cost, measure: str = "test_accuracy") -> StudyCosts:
    """Return what scoring and each training cost; `measure` is the accuracy that says that a training has ended."""
    cells = cell_table(trials, measure)
    trainings = [_mean(trials, rows[rows >= 0]) for rows in cells.rows]
    found = []
    for cell, training in zip(cells.cells, trainings, strict=True):
        if not cell.is_all:
            control, to_pay = cells.all_of(cell), scoring if cell.is_scored else NOTHING
            saved = UNKNOWN if control is None else Cost(*(trainings[control][name] - training[name] for name in MEASURES))
            found.append(CellCost(cell, training, saved, {name: _pays_after(to_pay[name], saved[name]) for name in MEASURES}))
    home = next((training for cell, training in zip(cells.cells, trainings, strict=True) if cell.is_all), UNKNOWN)
    notes = [note("cost: once")]
    if not np.isfinite(home.seconds):
        notes.append(note("cost: no control"))
    elif found and all(one.saved.examples_seen <= 0.02 * home.examples_seen for one in found):
        notes.append(note("cost: equal steps"))
    return StudyCosts(scoring, home, tuple(found), tuple(notes))


def _mean(trials: Trials, rows: np.ndarray) -> Cost:
    values = []
    for column in COLUMNS:
        given = np.asarray(trials[column][rows], np.float64) if column in trials else np.array([np.nan])
        values.append(float(given.mean()) if len(given) and np.isfinite(given).all() and (given > 0).all() else float("nan"))
    return Cost(*values)


def _pays_after(scoring: float, saved: float) -> int | None:
    """Return the first number of trainings whose savings exceed the cost of scoring."""
    return (1 if scoring <= 0 else floor(scoring / saved) + 1) if np.isfinite(scoring) and saved > 0 else None
