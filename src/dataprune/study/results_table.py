"""The trainings of a study as a table, cells by seeds, and the control that each cell is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from dataprune.errors import InputError, invalid, join_some

Trials = Mapping[str, Shaped[np.ndarray, "trials ..."]]
NEEDED = ("score", "strategy", "keep", "seed")
EXTRAS = ("arm", "order", "clusters")  # columns that only some studies have
RANDOM, ALL, DYNAMIC = "random", "all", "dynamic"
SAME_KEEP = 1e-6


@dataclass(frozen=True)
class Cell:
    """What trainings of a study have in common when only their seeds differ: columns of `trials.parquet`.

    Attributes:
        score: by which was chosen; "all" and "random" for the controls.
        strategy: the rule; "all" for all data, "dynamic" for other examples in every epoch and for random at the cost of that.
        keep: fraction kept.
        start: of a window, else 0.
        arm: of the study, such as labels as given and labels made wrong; mostly "".
        order: in which a curriculum adds examples, the method of "dynamic", else "".
        clusters: of `km`, where several numbers are compared, else 0.
    """

    score: str
    strategy: str
    keep: float
    start: float = 0.0
    arm: str = ""
    order: str = ""
    clusters: int = 0

    @property
    def dropped(self) -> float:
        return round(1 - self.keep, 9)

    @property
    def is_all(self) -> bool:
        return self.strategy == ALL

    @property
    def is_random(self) -> bool:
        return self.score == RANDOM

    @property
    def is_scored(self) -> bool:
        """Whether it is no control."""
        return not (self.is_all or self.is_random)

    @property
    def has_size(self) -> bool:
        """Whether it is one of several sizes: not so for a window or a curriculum."""
        return not self.is_all and self.strategy != "window" and not self.order

    @property
    def name(self) -> str:
        """What is compared, without its size: the score, with its strategy where that is not keeping the hardest."""
        if self.is_all:
            name = "all data"
        elif self.strategy == DYNAMIC:
            name = f"random at the cost of {self.order}" if self.is_random else self.score
        elif self.order:
            name = self.order if self.is_random else f"{self.score} {self.order}"
        else:
            name = self.score + (f" ({self.clusters} clusters)" if self.clusters else "")
            name += "" if self.is_random or self.strategy == "hardest" else f" {self.strategy}"
        return name + (f", {self.arm}" if self.arm else "")


@dataclass(frozen=True, eq=False)
class CellTable:
    """A study as a table, cells by seeds.

    Attributes:
        cells: in order: by arm; all data, random, then the scores; from large sets to small.
        seeds: ascending.
        rows, accuracies: (cells, seeds) the row of `trials` of each training and its accuracy; −1 and NaN where none has ended.
        failed: rows of trials without an accuracy.
        arms: in the order in which the trials name them.
    """

    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    rows: np.ndarray
    accuracies: Float64[np.ndarray, "cells seeds"]
    failed: tuple[int, ...]
    arms: tuple[str, ...]

    def random_of(self, cell: Cell) -> int | None:
        """Return the index of the random control of this size and arm; of several, that of the same strategy, order and start."""
        same = [
            (other.strategy != cell.strategy, other.order != cell.order, other.start != cell.start, index)
            for index, other in enumerate(self.cells)
            if other.is_random
            and (other.arm, bool(other.order)) == (cell.arm, bool(cell.order))
            and abs(other.dropped - cell.dropped) < SAME_KEEP
        ]
        return min(same)[-1] if same and cell.is_scored else None

    def all_of(self, cell: Cell) -> int | None:
        """Return the index of the control on all data of the same arm."""
        found = (index for index, other in enumerate(self.cells) if other.is_all and other.arm == cell.arm)
        return None if cell.is_all else next(found, None)

    def curves(self) -> dict[tuple[str, str], list[int]]:
        """Return the places of the cells of each score and strategy that has sizes, by (arm, name), from large sets to small.

        Windows and curricula are no curves: their size stays. Random is one only beside a score that is.
        """
        with_scores = {cell.arm for cell in self.cells if cell.has_size and cell.is_scored}
        curves: dict[tuple[str, str], list[int]] = {}
        for place, cell in enumerate(self.cells):
            if cell.has_size and cell.arm in with_scores:
                curves.setdefault((cell.arm, cell.name), []).append(place)
        return curves


def cell_table(trials: Trials, measure: str = "test_accuracy") -> CellTable:
    """Sort the trainings of a study into cells and seeds.

    All data is what has `keep` 1 and no `order`; random is what has the strategy or the score "random", or the score "".

    Raises:
        InputError: a column is missing, no training has an accuracy, or two of one cell have the same seed.
    """
    lacking = [name for name in (*NEEDED, measure) if name not in trials]
    if lacking:
        raise invalid("trials", f"hold the columns {', '.join((*NEEDED, measure))}", f"none called {join_some(lacking)}")
    accuracy = np.asarray(trials[measure], np.float64)
    ended = np.flatnonzero(np.isfinite(accuracy)).tolist()
    if not ended:
        raise InputError(
            f"no training of this study has ended with a value of {measure}. Run the same `dataprune study` command again, with "
            "--retry-failed if trainings failed."
        )
    cell_of = {row: _cell(trials, row) for row in ended}
    of_curve = attrgetter("arm", "is_scored", "is_random", "score", "strategy", "order", "clusters", "start", "dropped")
    cells = sorted(set(cell_of.values()), key=of_curve)
    seeds = sorted({int(trials["seed"][row]) for row in ended})
    rows = np.full((len(cells), len(seeds)), -1, np.int64)
    index = {cell: number for number, cell in enumerate(cells)}
    for row, cell in cell_of.items():
        at = index[cell], seeds.index(int(trials["seed"][row]))
        if rows[at] < 0:
            rows[at] = row
        elif "trial" not in trials or trials["trial"][rows[at]] != trials["trial"][row]:
            twice = f"two for {cell.name}, keep {cell.keep:g}, seed {seeds[at[1]]} (rows {rows[at]}, {row})"
            raise invalid("trials", "have one training for each cell and seed", twice)
    table = np.where(rows >= 0, accuracy[rows], np.nan)
    arms = tuple(dict.fromkeys(map(str, trials["arm"]))) if "arm" in trials else ("",)
    failed = tuple(np.flatnonzero(~np.isfinite(accuracy)).tolist())
    return CellTable(tuple(cells), tuple(seeds), rows, table, failed, arms)


def _cell(trials: Trials, row: int) -> Cell:
    defaults: dict[str, Any] = {"arm": "", "order": "", "clusters": 0, "start": 0.0}
    at = defaults | {name: values[row] for name, values in trials.items() if name in (*NEEDED, *defaults)}
    score, strategy, arm, order = (str(at[name]) for name in ("score", "strategy", "arm", "order"))
    keep, start = round(float(at["keep"]), 9), float(at["start"])
    if 1 - keep < SAME_KEEP and not order:
        return Cell(ALL, ALL, 1.0, arm=arm)
    is_random = strategy == RANDOM or score in ("", RANDOM)
    clusters = 0 if is_random else int(at["clusters"])
    return Cell(RANDOM if is_random else score, strategy, keep, start if np.isfinite(start) else 0.0, arm, order, clusters)
