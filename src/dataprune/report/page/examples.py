"""Which examples does the page carry, and what does it know of each?

A page cannot carry 50,000 pictures: sections ask for rows in the order of their importance, and as many pictures as allowed are
embedded. Rows beyond the set are examples of other splits, which only duplicates name.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from dataprune.data.decode import thumbnail
from dataprune.report.page.galleries import nearest
from dataprune.report.page.material import ReportData
from dataprune.report.text import display_text

ID_LETTERS = 60
THUMBNAIL_SIDE = 112
MOST_NEIGHBOURED = 600


@dataclass(frozen=True, eq=False)
class PictureList:
    """Rows that a page names, each once.

    Attributes:
        rows: in the order of importance.
        place: of each row in `rows`.
    """

    rows: Int64[np.ndarray, " wanted"]
    place: dict[int, int]

    def at(self, rows: Iterable[Any]) -> list[int]:
        """Return the places of some rows."""
        return [self.place[int(row)] for row in rows]


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


def records(material: ReportData, rows: Int64[np.ndarray, " wanted"], most_pictures: int) -> dict[str, Any]:
    """Return what is known of some examples, as columns for JSON.

    Returns:
        `id` (the whole id), `name` (as it is shown), `label` and `given` (its name), `top` (classes, best first),
        `p` (their probabilities in percent),
        `picture` (base64 WebP, or "" where none is embedded), `values` and `rank` (by score: its value, and the percentage of
        examples that are easier), `near` (for feature vectors, by place: places of the nearest examples).
    """
    n = len(material)
    own = np.where(rows < n, rows, 0)  # those of other splits have no scores; what stands there for them is not shown
    others = [material.others[row - n] if row >= n else None for row in rows.tolist()]
    ids = [str(material.ids[row]) if other is None else other.id for row, other in zip(rows.tolist(), others, strict=True)]
    labels = [int(material.labels[row]) if other is None else other.label for row, other in zip(own.tolist(), others, strict=True)]
    top = [_worth_telling(material, row) for row in own.tolist()]
    return {
        "id": ids,
        "name": [f"no. {name}" if name.isdecimal() else display_text(name, ID_LETTERS) for name in ids],
        "label": labels,
        "given": [material.name_of(label) for label in labels],
        "split": ["" if other is None else other.split for other in others],
        "top": [[label for label, _ in one] for one in top],
        "p": [[percent for _, percent in one] for one in top],
        "picture": _pictures(material, rows, most_pictures),
        "values": {name: [float(f"{v:.4g}") for v in score.values[own].tolist()] for name, score in material.scores.items()},
        "rank": {name: _easier(score.difficulty, own) for name, score in material.scores.items()},
    }


def _worth_telling(material: ReportData, row: int) -> list[tuple[int, int]]:
    """Return the classes that an example is answered with and their percentages: the best, and others that have any."""
    answers = material.answers
    pairs = zip(answers.top_classes[row].tolist(), (answers.top_probabilities[row] * 100).round().tolist(), strict=True)
    return [(label, int(percent)) for place, (label, percent) in enumerate(pairs) if percent >= 1 or place == 0]


def neighbours(material: ReportData, asked: PictureList) -> dict[int, list[int]]:
    """Find for the most important examples the rows of those nearest in feature space; none where there are no features."""
    if material.features is None or material.images is not None:
        return {}
    rows = asked.rows[asked.rows < len(material)][:MOST_NEIGHBOURED]
    found = nearest(material.features, rows)
    return {int(row): near.tolist() for row, near in zip(rows, found, strict=False)}


def _pictures(material: ReportData, rows: Int64[np.ndarray, " wanted"], most: int) -> list[str]:
    pictures = []
    for place, row in enumerate(rows.tolist()):
        pixels = None
        if place < most and row >= len(material):
            pixels = material.others[row - len(material)].pixels
        elif place < most and material.images is not None:
            pixels = material.images[row]
        pictures.append("" if pixels is None else b64encode(thumbnail(np.asarray(pixels), THUMBNAIL_SIDE)).decode())
    return pictures


def _easier(difficulty: np.ndarray, rows: np.ndarray) -> list[int]:
    """Return for some rows how many percent of all examples are easier."""
    ordered = np.sort(difficulty)
    return [int(100 * place // len(ordered)) for place in np.searchsorted(ordered, difficulty[rows]).tolist()]
