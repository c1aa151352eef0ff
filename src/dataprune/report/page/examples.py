"""Which examples each section of a page shows, and what is known of each.

A page cannot carry 50,000 pictures: sections ask for rows in the order of their importance, and as many pictures as allowed are
embedded. Rows beyond the set are examples of other splits, which only duplicates name.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from dataprune.data.decode import thumbnail
from dataprune.report.maps import FEWEST, SHOWN_OF_A_CELL, Cartography, map_of
from dataprune.report.page.data import ReportData
from dataprune.report.page.render import Options
from dataprune.report.text import display_text
from dataprune.scores import Score
from dataprune.streams import generator, tie_break

MOST_DUPLICATES = 60
MOST_ODD = 12  # of each kind of issue
MOST_CLASS_GALLERIES = 60
FEWEST_SUSPECTS = 200
SHOWN = 24
SHOWN_OF_A_CLASS = 12
MOST_CONFUSED = 600  # examples that cells of the confusion matrix show
MOST_MAPPED = 1500  # points of the map of vectors
PAGE_BYTES, RESERVED_BYTES = 4_000_000, 1_000_000  # of a page, and of what is neither data nor picture
ID_LETTERS = 60
MOST_NAMED = 6000  # rows that a page knows: a quarter of a kilobyte each
LARGE, LARGEST = 60, 256  # so many of the first are large enough to be enlarged
SHARP, SIDES = 200, (112, 80, 56)  # the next thumbnails are as large as they come, the others as large as all fit
TRIED = 48  # thumbnails that say how large all will be


class Ends(NamedTuple):
    """The two ends of a score, the extreme first."""

    hardest: Int64[np.ndarray, " shown"]
    easiest: Int64[np.ndarray, " shown"]


@dataclass(frozen=True, eq=False)
class PictureList:
    """Rows that a page names, each once, in the order of importance, and the place of each."""

    rows: Int64[np.ndarray, " wanted"]
    place: dict[int, int]

    def at(self, rows: Iterable[Any]) -> list[int]:
        return [self.place[int(row)] for row in rows]


@dataclass(frozen=True, eq=False)
class Choice:
    """The rows that each section shows; `n_pairs` duplicates come first in their table, `mapped` are on the map of vectors."""

    suspects: Int64[np.ndarray, " shown"]
    n_pairs: int
    ends: dict[str, Ends]
    map: Cartography | None
    mapped: Int64[np.ndarray, " mapped"]
    wanted: PictureList


def choose(data: ReportData, max_pictures: int) -> Choice:
    """Decide which rows are shown, and in which order they get pictures."""
    ties, n_classes = tie_break([str(one) for one in data.ids.tolist()], 0), len(data.classes)
    flagged = data.probable if data.suspects is None else data.suspects.flagged
    suspects = flagged[: max(FEWEST_SUSPECTS, max_pictures // 3)]
    pairs = data.pair_rows[:MOST_DUPLICATES]
    wrong = np.flatnonzero(data.predictions.predicted != data.labels)
    confused = wrong[np.argsort(-data.predictions.top_probabilities[wrong, 0], kind="stable")][:MOST_CONFUSED]
    by_score = {name: ends(score, ties) for name, score in data.scores.items()}
    by_class = class_ends(data.score, data.labels, n_classes, ties) if n_classes <= MOST_CLASS_GALLERIES else []
    found_map = map_of(data.scores, np.isin(np.arange(len(data)), data.probable), ties)
    cells = () if found_map is None else found_map.rows
    of_cells = [np.array([rows[at] for rows in cells if len(rows) > at], np.int64) for at in range(SHOWN_OF_A_CELL)]
    odd = () if data.issues is None else [one.rows[:MOST_ODD] for one in data.issues]
    asked = [suspects, pairs.ravel(), *odd, *by_score[data.leading], *chain(*by_class), confused]
    asked += [of_cells[0], *chain(*by_score.values()), *of_cells[1:]]
    first = wanted(asked)
    if len(first.rows) > MOST_NAMED and found_map is not None:  # of each cell of the map one stays
        first = wanted([*asked[: -SHOWN_OF_A_CELL + 1], first.rows[:MOST_NAMED]])
        found_map = replace(found_map, rows=tuple(rows[[row in first.place for row in rows.tolist()]] for rows in found_map.rows))
    return Choice(suspects, len(pairs), by_score, found_map, mapped_rows(data), first)


def mapped_rows(data: ReportData) -> Int64[np.ndarray, " mapped"]:
    """Return the rows that a map of the vectors shows: all, or a sample; none without vectors."""
    n = len(data) if data.features is not None and len(data) >= FEWEST else 0
    return np.arange(n) if n <= MOST_MAPPED else np.sort(generator(0, "page", "map").choice(n, MOST_MAPPED, replace=False))


def ends(score: Score, ties: np.ndarray, count: int = SHOWN) -> Ends:
    """Return the hardest and the easiest examples by a score; ties are broken by a hash of the id.

    Example:
        >>> found = ends(Score("aum", np.array([0.5, -1.0, 2.0]), -1), np.array([2, 0, 1]), 2)
        >>> found.hardest.tolist(), found.easiest.tolist()
        ([1, 0], [2, 0])
    """
    return Ends(_first(-score.difficulty, ties, count), _first(score.difficulty, ties, count))


def class_ends(
    score: Score, labels: Int64[np.ndarray, " examples"], n_classes: int, ties: np.ndarray, count: int = SHOWN_OF_A_CLASS
) -> list[Ends]:
    """Return the same of each class."""
    of_class = (np.flatnonzero(labels == label) for label in range(n_classes))
    return [Ends(*(rows[_first(sign * score.difficulty[rows], ties[rows], count)] for sign in (-1, 1))) for rows in of_class]


def nearest(features: Float32[np.ndarray, "examples features"], row: int, count: int) -> Int64[np.ndarray, " nearest"]:
    """Return the examples nearest to one by Euclidean distance, the nearest first, not itself."""
    rough = np.einsum("ij,ij->i", features, features) - 2 * (features @ features[row])
    rough[row] = np.inf
    count = min(count, len(features) - 1)
    some = np.argsort(rough, kind="stable")[: 4 * count]
    away = np.square(features[some] - features[row], dtype=np.float64).sum(axis=1)
    return np.asarray(some[some != row][np.argsort(away[some != row], kind="stable")][:count])


def wanted(asked: Sequence[Int64[np.ndarray, " _"]]) -> PictureList:
    """Join what sections ask for, the first mention deciding on importance.

    Example:
        >>> wanted([np.array([7, 3]), np.array([3, 5])]).place
        {7: 0, 3: 1, 5: 2}
    """
    joined = np.concatenate(asked) if asked else np.zeros(0, np.int64)
    rows, first = np.unique(joined, return_index=True)
    rows = rows[np.argsort(first, kind="stable")].astype(np.int64)
    return PictureList(rows, {row: place for place, row in enumerate(rows.tolist())})


def shown_id(name: str) -> str:
    """Write an id as a page shows it."""
    return f"no. {name}" if name.isdecimal() else display_text(name, ID_LETTERS)


def records(data: ReportData, rows: Int64[np.ndarray, " wanted"]) -> dict[str, Any]:
    """Return what is known of some examples, as columns for JSON.

    `id` (the whole id), `name` (as it is shown), `label` and `given` (its name), `top` (classes, best first), `p` (their
    probabilities in percent), `text` (or a row of a table, "" where there is none), `values` and `rank` (by score: its value, and
    the percentage of examples that are easier).
    """
    n, top = len(data), data.predictions
    own = np.where(rows < n, rows, 0)  # those of other splits have no scores; what stands there for them is not shown
    ids, labels = [data.id_of(row) for row in rows.tolist()], [data.label_of(row) for row in rows.tolist()]
    sorted_values = data.sorted_difficulties
    percents = (top.top_probabilities[own] * 100).round().astype(np.int64)
    n_likely = [max(1, count) for count in (percents >= 1).sum(axis=1).tolist()]  # the best, and others that have any
    likely = [
        [line[:count] for line, count in zip(part.tolist(), n_likely, strict=True)] for part in (top.top_classes[own], percents)
    ]
    for row, label, names, shares in zip(rows.tolist(), labels, *likely, strict=True):  # the given label's too
        if row < n and label not in names:
            names.append(label)
            shares.append(round(100 * float(top.p_label[row])))
    return {
        "id": ids,
        "name": [shown_id(name) for name in ids],
        "label": labels,
        "given": [data.name_of(label) for label in labels],
        "split": ["" if row < n else data.place(row)[0] for row in rows.tolist()],
        "top": likely[0],
        "p": likely[1],
        "text": [data.text_of(row) for row in rows.tolist()],
        "values": {name: [float(f"{v:.4g}") for v in score.values[own].tolist()] for name, score in data.scores.items()},
        "rank": {
            name: (100 * np.searchsorted(sorted_values[name], score.harder * score.values[own].astype(np.float64)) // n).tolist()
            for name, score in data.scores.items()
        },
    }


def _first(values: np.ndarray, ties: np.ndarray, count: int) -> Int64[np.ndarray, " first"]:
    """Return the places of the smallest values in order, without sorting all of them."""
    inside = np.arange(len(values))
    if len(values) > count:
        inside = np.flatnonzero(values <= np.partition(values, count - 1)[count - 1])
    return inside[np.lexsort((ties[inside], values[inside]))][:count].astype(np.int64)


def pictures(data: ReportData, rows: Int64[np.ndarray, " wanted"], options: Options, n_bytes: int) -> tuple[list[str], str]:
    """Return the pictures of some examples (base64 WebP, "" where none is embedded), and what is left out for want of room.

    Beside `n_bytes` of data: of so many that they would not fit, thumbnails but the first are smaller; still more are left out.
    """
    room = PAGE_BYTES - RESERVED_BYTES - n_bytes

    def encoded(row: int, side: int) -> str:
        pixels = data.pixels_of(row)
        return "" if pixels is None else b64encode(thumbnail(pixels, side)).decode()

    asked, found, side, place = rows[: options.max_pictures].tolist(), [""] * len(rows), SIDES[0], 0
    for place, row in enumerate(asked):
        if place == SHARP:  # how large may the others be?
            tried = asked[SHARP :: -(-(len(asked) - SHARP) // TRIED)]
            sizes = (sum(len(encoded(row, one)) for row in tried) * (len(asked) - SHARP) / len(tried) for one in SIDES)
            side = next((one for one, size in zip(SIDES, sizes, strict=True) if size <= room), SIDES[-1])
        picture = encoded(row, LARGEST if place < LARGE else side)
        room -= len(picture)
        if room < 0:
            break
        found[place] = picture
    n_left = len(asked) - place if room < 0 else 0
    said = f"Pictures but the first {SHARP} are at most {side} pixels wide" if side < SIDES[0] else ""
    said += f"{', and' if said else 'Pictures:'} {n_left:,} of {len(asked):,} are not embedded" if n_left else ""
    return found, f"{said}, so that the page stays below {PAGE_BYTES / 1e6:g} MB." if said else ""
