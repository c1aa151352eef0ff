"""The map of confidence against variability: each example is a point, or of many a cell; on a page it can be clicked.

Source: Swayamdipta et al. 2020, arXiv:2009.10795.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dataprune.report.colors import ACCENT, VARIABLES, WARN
from dataprune.report.figures import canvas, drawing, inline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 5000  # more are cells: no eye tells 50,000 points apart, and no page should carry them
COLUMNS, ROWS = 80, 56
SHOWN_OF_A_CELL = 4


@dataclass(frozen=True)
class MapFrame:
    """The axes of a map, without its marks."""

    x_high: float
    title: str = "Map of confidence against variability"
    description: str = ""


@dataclass(frozen=True, eq=False)
class Cartography:
    """A map: every example a point, or cells with some of their examples.

    Attributes:
        x, y: variability and confidence of each point, or the lower left corner of each cell.
        rows: what is shown when a point or cell is chosen: the example, or up to four of those in the cell.
        counts, n_suspects: how many examples lie there, and how many of those are suspects.
        x_high: the largest variability.
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
    title: str = MapFrame.title

    @property
    def description(self) -> str:
        """What it shows."""
        what = "Each cell is darker the more examples lie in it" if self.is_binned else "Each point is an example"
        total, flagged = int(self.counts.sum()), int(self.n_suspects.sum())
        coloured = ", in orange" + (" where they are most of a cell" if self.is_binned else "") if flagged else ""
        return f"{what}; {total:,} examples, {flagged:,} of them with a suspected label{coloured}."

    @property
    def is_mostly_suspect(self) -> Bool[np.ndarray, " places"]:
        """Which places hold more suspects than others."""
        return np.asarray(self.n_suspects * 2 > self.counts)

    @property
    def opacity(self) -> Float64[np.ndarray, " places"]:
        """How dark each place is."""
        if not self.is_binned:
            return np.full(len(self.x), 0.6)
        return np.asarray(0.15 + 0.85 * np.log1p(self.counts) / np.log1p(self.counts.max()))


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
    n, x_high = len(variability), max(float(variability.max()), 1e-6)
    if n <= MOST_POINTS:
        each = tuple(np.array([row]) for row in range(n))
        ones, flagged = np.ones(n, np.int64), is_suspect.astype(np.int64)
        return Cartography(variability, confidence, each, ones, flagged, x_high, False, np.arange(n))
    column = np.minimum((variability / x_high * COLUMNS).astype(np.int64), COLUMNS - 1)
    row = np.clip((confidence * ROWS).astype(np.int64), 0, ROWS - 1)
    cell = row * COLUMNS + column
    order = np.lexsort((ties, ~is_suspect, cell))
    cells, starts, counts = np.unique(cell[order], return_index=True, return_counts=True)
    shown = tuple(order[start : start + min(int(count), SHOWN_OF_A_CELL)] for start, count in zip(starts, counts, strict=True))
    flagged = np.bincount(cell, weights=is_suspect, minlength=COLUMNS * ROWS)[cells].astype(np.int64)
    x, y = cells % COLUMNS * (x_high / COLUMNS), cells // COLUMNS / ROWS
    return Cartography(x, y, shown, counts.astype(np.int64), flagged, x_high, True, np.searchsorted(cells, cell))


def class_counts(data: Cartography, labels: Int64[np.ndarray, " examples"], n_classes: int) -> list[list[int]]:
    """Count for each place the examples of each class: class, count, class, count, ..."""
    codes, counts = np.unique(data.cell * n_classes + labels, return_counts=True)
    found: list[list[int]] = [[] for _ in data.counts]
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        found[code // n_classes] += [code % n_classes, count]
    return found


def map_element(data: Cartography, name: str, *, is_picture: bool) -> str:
    """Return the map as an SVG element of a page; its marks carry the numbers of their places."""
    frame = inline(MapFrame(data.x_high), name)
    (axes,) = frame.axes
    left, top, width, height = axes["box"]
    (x_low, x_high), (y_low, y_high) = axes["x"], axes["y"]
    x = left + width * (data.x - x_low) / (x_high - x_low)
    y = top + height * (y_high - data.y) / (y_high - y_low)
    wide, tall = width * data.x_high / COLUMNS / (x_high - x_low), height / ROWS / (y_high - y_low)
    radius = np.where(data.is_mostly_suspect, 2.6, 2.0)
    marks = []
    for place in np.argsort(data.is_mostly_suspect, kind="stable").tolist():  # suspects on top
        colour = VARIABLES[(WARN if data.is_mostly_suspect[place] else ACCENT).lower()]
        look = f'fill="var(--{colour})" fill-opacity="{data.opacity[place]:.2g}" data-k="{place}"'
        if data.is_binned:
            corner = f'x="{x[place]:.1f}" y="{y[place] - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
            marks.append(f"<rect {corner} {look}/>")
        else:
            marks.append(f'<circle cx="{x[place]:.1f}" cy="{y[place]:.1f}" r="{radius[place]:.1f}" {look}/>')
    return frame.element(data, "".join(marks), is_picture=is_picture)


@drawing.register(MapFrame)
def _frame(data: MapFrame) -> "Figure":
    figure = canvas(4.4)
    axes = figure.add_subplot()
    room = 0.02 * data.x_high
    axes.set(xlim=(-room, data.x_high + room), ylim=(-0.02, 1.02))
    axes.set_xlabel("variability: how much the label's probability moves between epochs")
    axes.set_ylabel("confidence: mean probability of the label")
    return figure


@drawing.register(Cartography)
def _map(data: Cartography) -> "Figure":
    """Draw the map for a file."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    figure = _frame(MapFrame(data.x_high))
    (axes,) = figure.axes
    for is_suspect, colour in ((False, ACCENT), (True, WARN)):
        inside = np.flatnonzero(data.is_mostly_suspect == is_suspect)
        if data.is_binned:
            size = data.x_high / COLUMNS, 1 / ROWS
            cells = [Rectangle((data.x[place], data.y[place]), *size) for place in inside.tolist()]
            axes.add_collection(PatchCollection(cells, facecolor=colour, alpha=data.opacity[inside], linewidth=0, zorder=2))
        else:
            axes.plot(data.x[inside], data.y[inside], "o", color=colour, markersize=4, markeredgewidth=0, alpha=0.6)
    return figure
