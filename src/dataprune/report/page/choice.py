"""What a person may ask of a page, and which rows each section of a run's page shows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from dataprune.report.page import map_svg
from dataprune.report.page.classes import Confusion, confusions
from dataprune.report.page.data import ReportData
from dataprune.report.page.examples import Ends, PictureList, class_ends, ends, neighbours, wanted
from dataprune.streams import tie_break

MOST_DUPLICATES = 60
MOST_CLASS_GALLERIES = 60
FEWEST_SUSPECTS = 200


@dataclass(frozen=True)
class Options:
    """What a person may ask of a page: its headline (None makes one), how many pictures it embeds at most, no script."""

    title: str | None = None
    max_pictures: int = 3000
    is_static: bool = False


@dataclass(frozen=True, eq=False)
class Choice:
    """The rows that each section shows; `n_pairs` duplicates come first in their table."""

    suspects: Int64[np.ndarray, " shown"]
    n_pairs: int
    confused: list[Confusion]
    ends: dict[str, Ends]
    class_ends: list[Ends]
    map: map_svg.Cartography | None
    near: dict[int, list[int]]
    wanted: PictureList


def choose(data: ReportData, max_pictures: int) -> Choice:
    """Decide which rows are shown, and in which order they get pictures."""
    ties = tie_break([str(one) for one in data.ids.tolist()], 0)
    suspects = data.suspect_rows[: max(FEWEST_SUSPECTS, max_pictures // 3)]
    pairs = data.pair_rows[:MOST_DUPLICATES]
    confused = confusions(data)
    by_score = {name: ends(score, ties) for name, score in data.scores.items()}
    n_classes = len(data.classes)
    by_class = class_ends(data.score, data.labels, n_classes, ties) if n_classes <= MOST_CLASS_GALLERIES else []
    found_map = None
    if {"variability", "confidence"} <= set(data.scores):
        flagged = np.zeros(len(data), bool)
        flagged[data.suspect_rows] = True
        variability, confidence = (data.scores[name].values.astype(np.float64) for name in ("variability", "confidence"))
        found_map = map_svg.map_of(variability, confidence, flagged, ties)
    leading = by_score[data.leading]
    asked = [suspects, pairs.ravel(), leading.hardest, leading.easiest, *(one.rows for one in confused)]
    asked += [part for end in by_class for part in (end.hardest, end.easiest)]
    asked += _of_cells(found_map, 0)
    asked += [part for end in by_score.values() for part in (end.hardest, end.easiest)]
    asked += [rows for place in range(1, map_svg.SHOWN_OF_A_CELL) for rows in _of_cells(found_map, place)]
    first = wanted(asked)
    near = neighbours(data, first)
    every = wanted([first.rows, *(np.array(rows, np.int64) for rows in near.values())])
    return Choice(suspects, len(pairs), confused, by_score, by_class, found_map, near, every)


def _of_cells(found: map_svg.Cartography | None, place: int) -> list[Int64[np.ndarray, " _"]]:
    """Return of each cell of the map the example at a place, in one array."""
    return [] if found is None else [np.array([rows[place] for rows in found.rows if len(rows) > place], np.int64)]
