"""Maps: feature vectors in two dimensions by t-SNE, and examples by confidence against variability, on a page to click on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dataprune.components import principal_components
from dataprune.errors import invalid
from dataprune.report.colors import ACCENT, COLOURS, VARIABLES, WARN
from dataprune.report.figures import Inline, canvas, drawing, inline
from dataprune.report.text import display_text
from dataprune.scores import Score
from dataprune.streams import torch_seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST, MOST = 4, 20_000  # points of a map; t-SNE takes minutes beyond
PERPLEXITY = 30.0
DIMENSIONS = 50  # t-SNE sees the first principal components
MARKERS = ("o", "^", "s", "D")
MOST_IN_LEGEND = len(COLOURS) * len(MARKERS)
LEGEND_LINES = 20
MOST_POINTS = 5000  # more are cells: no eye tells 50,000 points apart, and no page should carry them
COLUMNS, ROWS = 80, 56
SHOWN_OF_A_CELL = 4


@dataclass(frozen=True, eq=False)
class MapData:
    """Points without unit and what colours them: `groups` is an index into `names` for each, or `values` a number."""

    title: str
    points: Float64[np.ndarray, "points 2"]
    groups: np.ndarray | None = None
    names: tuple[str, ...] = ()
    values: np.ndarray | None = None
    description: str = "Neighbours are alike; distances between far groups mean little."


def map_data(
    features: np.ndarray,
    title: str,
    groups: np.ndarray | None = None,
    names: tuple[str, ...] = (),
    values: np.ndarray | None = None,
    seed: int = 0,
) -> MapData:
    """Lay feature vectors out in two dimensions by t-SNE: neighbours stay neighbours, distances between far ones mean little.

    Args:
        features: (n, D), 4 to 20,000 finite rows.
        title: what the colours mean.
        groups, values: one of them, as in `MapData`.
        seed: equal seeds give equal maps on one machine.

    Source: van der Maaten and Hinton 2008, as scikit-learn has it, on the first 50 principal components.
    """
    if not FEWEST <= len(features) <= MOST:
        raise invalid("sample", f"be {FEWEST} ... {MOST} rows", len(features))
    colour = groups if groups is not None else values
    if (groups is None) == (values is None) or colour is None or len(colour) != len(features):
        raise invalid("groups or values", f"be given, one for each of {len(features)} rows", "something else")
    from sklearn.manifold import TSNE

    rows = np.asarray(features, np.float64)
    rows = (rows - rows.mean(axis=0)) / (rows.std() or 1.0)
    number = torch_seed(seed, "map") % 2**32
    if min(rows.shape) > DIMENSIONS:
        rows = principal_components(rows, DIMENSIONS).of(rows)
    start = "pca" if rows.shape[1] > 1 and rows.std() > 0 else "random"
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    points = TSNE(2, perplexity=perplexity, init=start, random_state=number).fit_transform(rows).astype(np.float64)
    title = f"{len(points):,} examples by t-SNE, coloured by {display_text(title)}"
    return MapData(title, points, groups, tuple(display_text(name, 24) for name in names), values)


@drawing.register(MapData)
def _map(data: MapData) -> "Figure":
    """Draw up to 40 groups with a legend, more with their names on the map, numbers with a scale of colours."""
    figure = canvas(5.4)
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    size = float(np.clip(16_000 / len(data.points), 4, 22))
    if data.values is None:
        _groups(axes, data, size)
        return figure
    order = np.argsort(data.values, kind="stable")  # the highest on top
    low, high = np.percentile(data.values, (1, 99))  # a few outliers would leave one colour to all others
    x, y = data.points[order].T
    drawn = axes.scatter(x, y, s=size, c=data.values[order], cmap="viridis", vmin=low, vmax=high, linewidths=0)
    figure.colorbar(drawn, ax=axes, shrink=0.7, extend="both")
    return figure


def _groups(axes: "Axes", data: MapData, size: float) -> None:
    assert data.groups is not None
    present = np.unique(data.groups).tolist()
    for group in present:
        at = data.points[data.groups == group]
        colour, marker = COLOURS[group % len(COLOURS)], MARKERS[group // len(COLOURS) % len(MARKERS)]
        name = data.names[group].lstrip("_")  # matplotlib leaves out names with a leading underscore
        # As a line without line: in SVG its markers take a fraction of what those of a scatter take.
        axes.plot(at[:, 0], at[:, 1], marker, color=colour, markersize=size**0.5, markeredgewidth=0, alpha=0.8, label=name or " ")
        if len(present) > MOST_IN_LEGEND:
            middle = np.median(at, axis=0)
            axes.text(middle[0], middle[1], data.names[group], fontsize=6, ha="center", va="center")
    if len(present) <= MOST_IN_LEGEND:
        columns = -(-len(present) // LEGEND_LINES)
        legend = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns, handlelength=1.0)
        for handle in legend.legend_handles:
            assert handle is not None
            handle.set(markersize=5, alpha=1)


@dataclass(frozen=True, eq=False)
class Cartography:
    """A map: every example a point, or cells with some of their examples.

    Source: Swayamdipta et al. 2020, arXiv:2009.10795.

    Attributes:
        x, y: variability and confidence of each point, or the lower left corner of each cell.
        rows: what is shown when a point or cell is chosen: the example, or up to four of those in the cell.
        counts, n_suspects: how many examples lie there, and how many of their labels are probably wrong.
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
    title: str = "Map of confidence against variability"

    @property
    def description(self) -> str:
        what = "Each cell is darker the more examples lie in it" if self.is_binned else "Each point is an example"
        total, flagged = int(self.counts.sum()), int(self.n_suspects.sum())
        coloured = ", in orange" + (" where they are most of a cell" if self.is_binned else "") if flagged else ""
        return f"{what}; {total:,} examples, {flagged:,} of them with a label that is probably wrong{coloured}."

    @property
    def is_mostly_suspect(self) -> Bool[np.ndarray, " places"]:
        return np.asarray(self.n_suspects * 2 > self.counts)

    @property
    def opacity(self) -> Float64[np.ndarray, " places"]:
        if not self.is_binned:
            return np.full(len(self.x), 0.6)
        return np.asarray(0.15 + 0.85 * np.log1p(self.counts) / np.log1p(self.counts.max()))


def map_of(scores: Mapping[str, Score], is_suspect: Bool[np.ndarray, " examples"], ties: np.ndarray) -> Cartography | None:
    """Lay examples out by variability (from left to right) and confidence (from the bottom up), suspects first of a cell.

    `ties` is a hash of each id: which examples stand for a cell does not depend on the order of rows. None without these scores.
    """
    if not {"variability", "confidence"} <= set(scores):
        return None
    variability, confidence = (scores[name].values.astype(np.float64) for name in ("variability", "confidence"))
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


def map_inline(data: Cartography, name: str) -> Inline:
    """Draw the map for a page; its marks carry the numbers of their places."""
    frame = inline(replace(data, x=data.x[:0], y=data.y[:0], counts=data.counts[:0], n_suspects=data.n_suspects[:0]), name)
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
    return replace(frame, body=frame.body + "".join(marks))


@drawing.register(Cartography)
def _cartography(data: Cartography) -> "Figure":
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    figure, room = canvas(4.4), 0.02 * data.x_high
    axes = figure.add_subplot()
    axes.set(xlim=(-room, data.x_high + room), ylim=(-0.02, 1.02))
    axes.set_xlabel("variability: how much the label's probability moves between epochs")
    axes.set_ylabel("confidence: mean probability of the label")
    for is_suspect, colour in ((False, ACCENT), (True, WARN)):
        if not len(inside := np.flatnonzero(data.is_mostly_suspect == is_suspect)):
            continue
        if data.is_binned:
            size = data.x_high / COLUMNS, 1 / ROWS
            cells = [Rectangle((data.x[place], data.y[place]), *size) for place in inside.tolist()]
            axes.add_collection(PatchCollection(cells, facecolor=colour, alpha=data.opacity[inside], linewidth=0, zorder=2))
        else:
            axes.plot(data.x[inside], data.y[inside], "o", color=colour, markersize=4, markeredgewidth=0, alpha=0.6)
    return figure
