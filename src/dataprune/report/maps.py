"""Features in two dimensions by t-SNE, and the inertia curve with its elbow."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from dataprune.errors import invalid
from dataprune.report.colors import ACCENT, COLOURS, WARN
from dataprune.report.figures import canvas, drawing
from dataprune.report.text import display_text
from dataprune.streams import torch_seed
from dataprune.training.features import principal_components

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST, MOST = 4, 20_000  # points of a map; t-SNE takes minutes beyond
PERPLEXITY = 30.0
DIMENSIONS = 50  # t-SNE sees the first principal components
MARKERS = ("o", "^", "s", "D")
MOST_IN_LEGEND = len(COLOURS) * len(MARKERS)
LEGEND_LINES = 20
Why = Literal["elbow", "rule", "asked"]
WHY_CLUSTERS: dict[Why, str] = {"elbow": "the elbow", "rule": "no elbow: a rule of thumb", "asked": "asked for"}


@dataclass(frozen=True, eq=False)
class MapData:
    """Points without unit and what colours them: `groups` is an index into `names` for each, or `values` a number."""

    title: str
    points: Float64[np.ndarray, "points 2"]
    groups: np.ndarray | None = None
    names: tuple[str, ...] = ()
    values: np.ndarray | None = None
    description: str = "Neighbours are alike; distances between far groups mean little."


@dataclass(frozen=True, eq=False)
class InertiaData:
    """The inertia at each number of clusters as a share of its largest, the number chosen, and why."""

    clusters: np.ndarray
    inertia: np.ndarray
    chosen: int
    why: Why
    title: str = "Inertia by number of clusters"

    @property
    def description(self) -> str:
        """What it shows."""
        return f"{self.chosen} clusters were taken: {WHY_CLUSTERS[self.why]}."


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


def inertia_data(clusters: ArrayLike, inertia: ArrayLike, chosen: int, elbow: int | None, asked: str = "auto") -> InertiaData:
    """Return what is in the plot of an inertia curve; `asked` is auto, classes or a number."""
    why: Why = "elbow" if elbow == chosen else "rule" if asked == "auto" else "asked"
    return InertiaData(np.asarray(clusters), np.asarray(inertia) / (np.max(inertia) or 1.0), chosen, why)


@drawing.register(MapData)
def _map(data: MapData) -> "Figure":
    """Draw up to 40 groups with a legend, more with their names on the map, numbers with a scale of colours."""
    figure = canvas(5.4)
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
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


@drawing.register(InertiaData)
def _inertia(data: InertiaData) -> "Figure":
    figure = canvas(3.4)
    axes = figure.add_subplot()
    axes.plot(data.clusters, data.inertia, "o-", color=ACCENT)
    axes.axvline(data.chosen, color=WARN, linestyle="--", linewidth=1.2)
    at, label = (data.chosen, 0.98), f"k = {data.chosen}, {WHY_CLUSTERS[data.why]}"
    axes.annotate(label, at, (5, 0), xycoords=("data", "axes fraction"), textcoords="offset points", color=WARN, va="top")
    axes.set(xlabel="clusters k", ylabel="inertia, share of the largest", ylim=(0, 1.05), xlim=(0, None))
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
