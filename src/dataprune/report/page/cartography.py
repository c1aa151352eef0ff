"""Where does each example lie between easy, ambiguous and hard?

The map of Swayamdipta et al. 2020 (arXiv:2009.10795): confidence against variability. A few thousand examples are points; more are
cells, because no eye tells 50,000 points apart and no page should carry them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dataprune.report.page.scene import Axes, Box, Dot, Mark, Scene, Words

MOST_POINTS = 5000
COLUMNS, ROWS = 80, 56
SHOWN_OF_A_CELL = 4
WIDTH, HEIGHT = 760.0, 470.0


@dataclass(frozen=True, eq=False)
class Cartography:
    """A map: every example a point, or cells with some of their examples.

    Attributes:
        x, y: variability and confidence of each point, or the place of each cell as (column, row).
        rows: what is shown when a point or cell is chosen: the example, or up to four of those in the cell.
        counts: how many examples lie there.
        n_suspects: how many of those are suspects.
        x_high: the largest variability.
        is_binned: whether these are cells.
        cell: (N,) the place of each example.
    """

    x: Float64[np.ndarray, " places"]
    y: Float64[np.ndarray, " places"]
    rows: tuple[Int64[np.ndarray, " _"], ...]
    counts: Int64[np.ndarray, " places"]
    n_suspects: Int64[np.ndarray, " places"]
    x_high: float
    is_binned: bool
    cell: Int64[np.ndarray, " examples"]


def map_of(
    variability: Float64[np.ndarray, " examples"],
    confidence: Float64[np.ndarray, " examples"],
    is_suspect: Bool[np.ndarray, " examples"],
    ties: np.ndarray,
) -> Cartography:
    """Lay examples out by variability (from left to right) and confidence (from the bottom up).

    Args:
        is_suspect: whose label is probably wrong: shown first of a cell, and in another colour.
        ties: (N,) a hash of each id: which examples stand for a cell does not depend on the order of rows.
    """
    n = len(variability)
    x_high = max(float(variability.max()), 1e-6)
    if n <= MOST_POINTS:
        each = tuple(np.array([row]) for row in range(n))
        return Cartography(
            variability, confidence, each, np.ones(n, np.int64), is_suspect.astype(np.int64), x_high, False, np.arange(n)
        )
    column = np.minimum((variability / x_high * COLUMNS).astype(np.int64), COLUMNS - 1)
    row = np.clip((confidence * ROWS).astype(np.int64), 0, ROWS - 1)
    cell = row * COLUMNS + column
    order = np.lexsort((ties, ~is_suspect, cell))
    cells, starts, counts = np.unique(cell[order], return_index=True, return_counts=True)
    shown = tuple(order[start : start + min(int(count), SHOWN_OF_A_CELL)] for start, count in zip(starts, counts, strict=True))
    flagged = np.bincount(cell, weights=is_suspect, minlength=COLUMNS * ROWS)[cells].astype(np.int64)
    place = (cells % COLUMNS).astype(np.float64), (cells // COLUMNS).astype(np.float64)
    return Cartography(*place, shown, counts.astype(np.int64), flagged, x_high, True, np.searchsorted(cells, cell))


def class_counts(data: Cartography, labels: Int64[np.ndarray, " examples"], n_classes: int) -> list[list[int]]:
    """Count for each place the examples of each class: class, count, class, count, ..."""
    codes, counts = np.unique(data.cell * n_classes + labels, return_counts=True)
    found: list[list[int]] = [[] for _ in data.counts]
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        found[code // n_classes] += [code % n_classes, count]
    return found


def map_scene(data: Cartography) -> Scene:
    """Draw a map; its marks are numbered by their places."""
    axes = Axes(56, 26, WIDTH - 80, HEIGHT - 80, 0.0, data.x_high, 0.0, 1.0)
    marks: list[Mark] = axes.frame("variability: how much the label's probability moves between epochs", "")
    marks.append(Words(8, 14, "confidence: mean probability of the label", "ink"))
    mostly = data.n_suspects * 2 > data.counts
    order = np.argsort(mostly, kind="stable")  # suspects on top
    if data.is_binned:
        strength = np.log1p(data.counts) / np.log1p(data.counts.max())
        size = (axes.width / COLUMNS, axes.height / ROWS)
        for place in order.tolist():
            corner = (axes.left + size[0] * data.x[place], axes.top + axes.height - size[1] * (data.y[place] + 1))
            role = "warn" if mostly[place] else "accent"
            marks.append(Box(*corner, *size, role, 0.15 + 0.85 * float(strength[place]), place))
    else:
        radius = 3.0 if len(data.x) <= 2000 else 2.4
        for place in order.tolist():
            at = (axes.x(float(data.x[place])), axes.y(float(data.y[place])))
            marks.append(Dot(*at, radius + 0.8 * bool(mostly[place]), "warn" if mostly[place] else "accent", 0.6, place))
    what = "Each cell is darker the more examples lie in it" if data.is_binned else "Each point is an example"
    total, flagged = int(data.counts.sum()), int(data.n_suspects.sum())
    coloured = ", in orange" + (" where they are most of a cell" if data.is_binned else "") if flagged else ""
    described = f"{what}; {total:,} examples, {flagged:,} of them with a suspected label{coloured}."
    return Scene("map", WIDTH, HEIGHT, tuple(marks), "Map of confidence against variability", described)
