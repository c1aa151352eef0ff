"""What did scoring cost, what does each training cost, and after how many trainings has pruning paid?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import floor

import numpy as np

from dataprune.run.manifest import Phase
from dataprune.study.results_table import Cell, Trials, cell_table
from dataprune.training.cost import MEASURES, Cost

COLUMNS = {"seconds": "train_seconds", "examples_seen": "examples_seen", "flops": "flops"}


def scoring_cost(phases: Iterable[Phase]) -> Cost:
    """Return what a run cost, from the phases of its manifest: training its members and scoring every example.

    What features cost that were made elsewhere is not in it.
    """
    total = Cost(0.0, 0.0, 0.0)
    for phase in phases:
        total += Cost(phase.seconds, float(phase.examples_seen), float(phase.flops))
    return total


@dataclass(frozen=True)
class Price:
    """What one training of a cell costs, and when pruning to it has paid.

    Attributes:
        cell: what is trained.
        training: the mean over its seeds.
        saved: what one training saves against one on all data; below 0 where it costs more.
        pays_after: for each of seconds, examples seen and FLOPs: with how many trainings scoring is paid for; None for never, or
            where it cannot be told. Random needs no scores and pays from the first.
    """

    cell: Cell
    training: Cost
    saved: Cost
    pays_after: Mapping[str, int | None]

    def net(self, measure: str, trainings: int, scoring: Cost) -> float:
        """Return what is saved after so many trainings, scoring paid; below 0 is a loss."""
        return trainings * self.saved[measure] - (scoring[measure] if self.cell.kind == 2 else 0.0)


@dataclass(frozen=True, eq=False)
class Prices:
    """The price of scoring, of a training on all data, and of each cell.

    Attributes:
        scoring: once.
        everything: one training on all data; NaN where the study has none.
        cells: in the order of the summary, without all data.
        notes: what the figures leave out.
    """

    scoring: Cost
    everything: Cost
    cells: tuple[Price, ...]
    notes: tuple[str, ...]

    def table(self) -> dict[str, np.ndarray]:
        """Return a row for scoring, one for all data and one for each cell, as columns that can be written to a file.

        `pays_after_...` is 0 for scoring and all data themselves, and −1 for never.
        """
        rows = [("scoring", np.nan, self.scoring, None, None), ("all data", 1.0, self.everything, None, None)]
        rows += [(p.cell.name, round(p.cell.keep, 9), p.training, p.saved, p.pays_after) for p in self.cells]
        table: dict[str, np.ndarray] = {
            "what": np.array([row[0] for row in rows], object),
            "keep": np.array([row[1] for row in rows]),
            "start": np.array([np.nan, np.nan, *(p.cell.start for p in self.cells)]),
        }
        for measure in MEASURES:
            table[measure] = np.array([row[2][measure] for row in rows])
        for measure in MEASURES:
            table[f"saved_{measure}"] = np.array([np.nan if row[3] is None else row[3][measure] for row in rows])
        for measure in MEASURES:
            after = [0 if row[4] is None else -1 if row[4][measure] is None else row[4][measure] for row in rows]
            table[f"pays_after_{measure}"] = np.array(after, np.int64)
        return table


def prices(trials: Trials, scoring: Cost, measure: str = "test_accuracy") -> Prices:
    """Return what scoring and each training cost.

    Args:
        trials: the columns of `trials.parquet`.
        scoring: of `scoring_cost`.
        measure: which accuracy says that a training has ended.

    Raises:
        InputError: as `cell_table`.
    """
    cells = cell_table(trials, measure)
    trainings = [_mean(trials, rows[rows >= 0]) for rows in cells.rows]
    found = []
    for cell, training in zip(cells.cells, trainings, strict=True):
        if cell.is_all:
            continue
        control = cells.all_of(cell)
        everything = Cost(np.nan, np.nan, np.nan) if control is None else trainings[control]
        saved = Cost(*(everything[name] - training[name] for name in MEASURES))
        after = {name: _pays_after(scoring[name] if cell.kind == 2 else 0.0, saved[name]) for name in MEASURES}
        found.append(Price(cell, training, saved, after))
    home = next((training for cell, training in zip(cells.cells, trainings, strict=True) if cell.is_all), Cost(*(np.nan,) * 3))
    return Prices(scoring, home, tuple(found), tuple(_notes(found, home)))


def _mean(trials: Trials, rows: np.ndarray) -> Cost:
    values = {}
    for name, column in COLUMNS.items():
        given = np.asarray(trials[column][rows], np.float64) if column in trials else np.array([np.nan])
        values[name] = float(given.mean()) if len(given) and np.isfinite(given).all() and (given > 0).all() else float("nan")
    return Cost(**values)


def _pays_after(scoring: float, saved: float) -> int | None:
    """Return the first number of trainings whose savings exceed the price of scoring."""
    if not (np.isfinite(scoring) and saved > 0):
        return None
    return 1 if scoring <= 0 else floor(scoring / saved) + 1


def _notes(found: list[Price], everything: Cost) -> list[str]:
    notes = [
        "scoring is paid once, whatever the number of scores and sizes; the search for the best of them, this study, is not counted"
    ]
    if not np.isfinite(everything.seconds):
        notes.append("without trainings on all data nothing can be said about savings")
    elif found and all(price.saved.examples_seen <= 0.02 * everything.examples_seen for price in found):
        notes.append(
            "all trainings took as many steps as on all data: with equal steps pruning saves storage and labels, not training"
        )
    return notes
