"""How do features look in two dimensions, and where is the elbow of a curve?

Each picture is a pure `x_data` that says what is in it and a `draw_x` that draws it into a .png file. Colours are told apart by
colour-blind eyes too, and where there are more groups than colours the marker's shape tells the rest.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from dataprune import store
from dataprune.errors import invalid
from dataprune.kmeans import Curve
from dataprune.report.colors import COLOURS
from dataprune.report.text import display_text
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


@dataclass(frozen=True, eq=False)
class MapData:
    """Points of a map and what colours them: `groups` names each point's group, or `values` is a number for each.

    Attributes:
        points: (n, 2), without unit.
        title: what the colours mean.
        groups: (n,) index into `names`, or None.
        names: of the groups.
        values: (n,) numbers, or None.
    """

    points: Float64[np.ndarray, "points 2"]
    title: str
    groups: np.ndarray | None = None
    names: tuple[str, ...] = ()
    values: np.ndarray | None = None


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
        groups: (n,) index into `names`; or else `values`: (n,) numbers.
        seed: equal seeds give equal maps on one machine.

    Raises:
        InputError: too few or too many rows, or neither or both of groups and values, or of another number.
    Source: van der Maaten and Hinton 2008, as scikit-learn has it, on the first 50 principal components.
    """
    if not FEWEST <= len(features) <= MOST:
        raise invalid("sample", f"be {FEWEST} ... {MOST} rows", len(features))
    colour = groups if groups is not None else values
    if (groups is None) == (values is None) or colour is None or len(colour) != len(features):
        raise invalid("groups or values", f"be given, one for each of {len(features)} rows", "something else")
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = np.asarray(features, np.float64)
    rows = (rows - rows.mean(axis=0)) / (rows.std() or 1.0)
    number = torch_seed(seed, "map") % 2**32
    if min(rows.shape) > DIMENSIONS:
        rows = PCA(DIMENSIONS, random_state=number).fit_transform(rows)
    start = "pca" if rows.shape[1] > 1 and rows.std() > 0 else "random"
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    points = TSNE(2, perplexity=perplexity, init=start, random_state=number).fit_transform(rows).astype(np.float64)
    return MapData(points, display_text(title), groups, tuple(display_text(name, 24) for name in names), values)


def draw_map(data: MapData, out: Path) -> None:
    """Draw a map: up to 40 groups with a legend, more with their names on the map, numbers with a scale of colours.

    Raises:
        InputError: `out` does not end in .png.
        MachineError: no room, or no permission.
    """
    check_png(out)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(f"{len(data.points):,} examples by t-SNE, coloured by {data.title}", fontsize=10, parse_math=False)
    size = float(np.clip(20_000 / len(data.points), 4, 30))
    if data.groups is None:
        _draw_values(figure, axes, data, size)
    else:
        _draw_groups(axes, data, size)
    _save(figure, out)


@dataclass(frozen=True, eq=False)
class CurveData:
    """The inertia at each number of clusters, the number chosen, and whether it is an elbow."""

    clusters: np.ndarray
    inertia: np.ndarray
    chosen: int
    is_elbow: bool


def curve_data(curve: Curve, chosen: int) -> CurveData:
    """Return what is in the picture of an inertia curve: inertia as a share of its largest."""
    return CurveData(curve.clusters, curve.inertia / curve.inertia.max(), chosen, curve.elbow == chosen)


def draw_curve(data: CurveData, out: Path) -> None:
    """Draw an inertia curve with the chosen number of clusters marked.

    Raises:
        InputError: `out` does not end in .png.
        MachineError: no room, or no permission.
    """
    check_png(out)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(data.clusters, data.inertia, "o-", color=COLOURS[0], markersize=4)
    axes.axvline(data.chosen, color=COLOURS[3], linestyle="--")
    label = f"k = {data.chosen}, {'the elbow' if data.is_elbow else 'no elbow: a rule of thumb'}"
    axes.annotate(
        label,
        (data.chosen, 0.97),
        (6, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=COLOURS[3],
        va="top",
    )
    axes.set(xlabel="clusters k", ylabel="inertia, share of the largest", ylim=(0, 1.05), xlim=(0, None))
    axes.grid(alpha=0.3)
    _save(figure, out)


def check_png(out: Path) -> None:
    """Refuse a name that is no .png or lies in no folder, before any work."""
    if out.suffix.lower() != ".png":
        raise invalid("out", "end in .png", repr(str(out)))
    if not out.parent.is_dir():
        raise invalid("out", "lie in a folder that exists", f"{out.parent}")


def _draw_values(figure: "Figure", axes: "Axes", data: MapData, size: float) -> None:
    assert data.values is not None
    order = np.argsort(data.values, kind="stable")  # the highest on top
    low, high = np.percentile(data.values, (1, 99))  # a few outliers would leave one colour to all others
    points = data.points[order]
    drawn = axes.scatter(
        points[:, 0], points[:, 1], s=size, c=data.values[order], cmap="viridis", vmin=low, vmax=high, linewidths=0
    )
    figure.colorbar(drawn, ax=axes, shrink=0.7, extend="both")


def _draw_groups(axes: "Axes", data: MapData, size: float) -> None:
    assert data.groups is not None
    present = np.unique(data.groups).tolist()
    for group in present:
        at = data.points[data.groups == group]
        colour, marker = COLOURS[group % len(COLOURS)], MARKERS[group // len(COLOURS) % len(MARKERS)]
        name = data.names[group].lstrip("_")  # matplotlib leaves out names with a leading underscore
        axes.scatter(at[:, 0], at[:, 1], s=size, c=colour, marker=marker, linewidths=0, alpha=0.8, label=name or " ")
        if len(present) > MOST_IN_LEGEND:
            middle = np.median(at, axis=0)
            axes.text(middle[0], middle[1], data.names[group], fontsize=6, ha="center", va="center", parse_math=False)
    if len(present) <= MOST_IN_LEGEND:
        legend = axes.legend(
            loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, ncols=-(-len(present) // LEGEND_LINES), frameon=False
        )
        for handle in legend.legend_handles:
            assert handle is not None
            handle.set(sizes=[30], alpha=1)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _save(figure: "Figure", out: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with store.writing(out) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        FigureCanvasAgg(figure)
        figure.savefig(temporary, format="png", metadata={"Software": None})
