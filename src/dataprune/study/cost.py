"""What scoring and each training cost, and after how many trainings pruning has paid."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor

import numpy as np

from dataprune.run.manifest import Phase
from dataprune.study.results_table import Cell, Trials, cell_table
from dataprune.study.wording import Note, note
from dataprune.training.settings import MEASURES, Cost

COLUMNS = ("train_seconds", "examples_seen", "flops")  # of trials.parquet
NO_ENCODER = " without the encoder's pass over the examples"
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
    """What one training of a cell costs, the mean over its seeds, and what it saves against one on all data (below 0: costs more).

    `pays_after` so many trainings scoring is paid for, in the study's `measure`; None for never, or where it is not known. Random
    needs no scores and pays from the first.
    """

    cell: Cell
    training: Cost
    saved: Cost
    pays_after: int | None


@dataclass(frozen=True, eq=False)
class StudyCosts:
    """The cost of scoring, of a training on all data (NaN where the study has none), and of each other cell.

    `notes` are what the figures leave out.
    """

    scoring: Cost
    everything: Cost
    cells: tuple[CellCost, ...]
    notes: tuple[Note, ...]

    @property
    def measure(self) -> str:
        """What work is counted in: operations where they are known, else seconds."""
        return "flops" if self.everything.flops > 0 else "seconds"


def study_costs(trials: Trials, scoring: Cost, measure: str = "test_accuracy") -> StudyCosts:
    """Return what scoring and each training cost; `measure` is the accuracy that says that a training has ended."""
    cells, found, notes = cell_table(trials, measure), [], [note("cost: once")]
    trainings = [_mean(trials, rows[rows >= 0]) for rows in cells.rows]
    home = next((training for cell, training in zip(cells.cells, trainings, strict=True) if cell.is_all), UNKNOWN)
    by = StudyCosts(scoring, home, (), ()).measure
    for cell, training in zip(cells.cells, trainings, strict=True):
        if not cell.is_all:
            control, to_pay = cells.all_of(cell), scoring if cell.is_scored else NOTHING
            saved = UNKNOWN if control is None else Cost(*(trainings[control][name] - training[name] for name in MEASURES))
            found.append(CellCost(cell, training, saved, pays_after(to_pay[by], saved[by])))
    if not np.isfinite(home.seconds):
        notes.append(note("cost: no control"))
    elif found and all(one.saved.examples_seen <= 0.02 * home.examples_seen for one in found):
        notes.append(note("cost: equal steps"))
    return StudyCosts(scoring, home, tuple(found), tuple(notes))


def pays_after(scoring: float, saved: float) -> int | None:
    """Return the first number of trainings whose savings exceed the cost of scoring; None for never, or where it is not known."""
    return (1 if scoring <= 0 else floor(scoring / saved) + 1) if np.isfinite(scoring) and saved > 0 else None


def _mean(trials: Trials, rows: np.ndarray) -> Cost:
    values = []
    for column in COLUMNS:
        given = np.asarray(trials[column][rows], np.float64) if column in trials else np.array([np.nan])
        values.append(float(given.mean()) if len(given) and np.isfinite(given).all() and (given > 0).all() else float("nan"))
    return Cost(*values)
