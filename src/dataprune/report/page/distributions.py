"""How are scores spread, in all and in each class, and which of them say the same?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from dataprune.report.page.scene import Area, Axes, Box, Line, Mark, Scene, Words, limits
from dataprune.scores import Score

BINS = 48
MOST_CLASSES = 24  # rows of one picture; of more classes the ends are shown
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ROW, TOP, LEFT, WIDTH = 26.0, 6.0, 150.0, 760.0


@dataclass(frozen=True, eq=False)
class Distribution:
    """A score's spread over its range: all examples first, then the classes.

    Attributes:
        score: its name.
        harder: +1 or -1.
        edges: of the bins.
        names: of the rows.
        counts: how many of each row fall into each bin.
        quantiles: of each row, at .05 .25 .5 .75 .95.
        n_left_out: classes that have no row.
    """

    score: str
    harder: int
    edges: Float64[np.ndarray, " edges"]
    names: tuple[str, ...]
    counts: Int64[np.ndarray, "rows bins"]
    quantiles: Float64[np.ndarray, "rows quantiles"]
    n_left_out: int


def distribution_data(score: Score, labels: Int64[np.ndarray, " examples"], names: list[str]) -> Distribution:
    """Count a score's values in bins, for all examples and for each class.

    Beyond 24 classes, the twelve with the hardest and the twelve with the easiest median have a row.
    """
    values = score.values.astype(np.float64)
    present = np.flatnonzero(np.bincount(labels, minlength=len(names)))
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(len(names) + 1))
    parts = {int(index): values[order[starts[index] : starts[index + 1]]] for index in present}
    chosen = [int(index) for index in present]
    if len(chosen) > MOST_CLASSES:
        ranked = sorted(chosen, key=lambda index: -score.harder * float(np.median(parts[index])))
        chosen = ranked[: MOST_CLASSES // 2] + ranked[-MOST_CLASSES // 2 :]
    edges = _edges(values)
    rows = [values, *(parts[index] for index in chosen)]
    counts = np.stack([np.histogram(row, edges)[0] for row in rows]).astype(np.int64)
    quantiles = np.stack([np.quantile(row, QUANTILES) for row in rows])
    excluded = len(present) - len(chosen)
    return Distribution(score.name, score.harder, edges, ("all", *(names[index] for index in chosen)), counts, quantiles, excluded)


def distribution_scene(data: Distribution) -> Scene:
    """Draw a row for all and for each class; heights are square roots of shares, so that the rare ones can be seen."""
    n_rows = len(data.names)
    height = TOP + n_rows * ROW + 44
    low, high = float(data.edges[0]), float(data.edges[-1])
    axes = Axes(LEFT, TOP, WIDTH - LEFT - 20, n_rows * ROW, low, high, 0.0, 1.0)
    marks: list[Mark] = []
    for row, name in enumerate(data.names):
        base = TOP + (row + 1) * ROW
        shares = np.sqrt(data.counts[row] / max(1, data.counts[row].max()))
        marks.append(Area(_steps(axes, data.edges, shares, base, ROW * 0.86), "accent" if row == 0 else "plain", 0.75))
        middle = axes.x(float(data.quantiles[row, 2]))
        marks.append(Line(np.array([(middle, base - ROW * 0.8), (middle, base)], np.float64), "warn", 2.0))
        marks.append(Line(np.array([(LEFT, base), (WIDTH - 20, base)], np.float64), "grid", 1.0))
        marks.append(Words(LEFT - 10, base - 6, _cut(name), "ink" if row == 0 else "muted", "end", 12.0))
    frame = Axes(axes.left, axes.top, axes.width, axes.height, low, high, 0.0, 0.0)
    whole = bool((data.edges % 1 == 0.5).all())  # bins around whole numbers
    marks += [mark for mark in frame.frame(f"{data.score} ({_direction(data.harder)})", "", whole_x=whole) if not _is_left(mark)]
    medians = ", ".join(f"{name} {value:.3g}" for name, value in zip(data.names[:8], data.quantiles[:8, 2], strict=False))
    return Scene(
        f"distribution-{data.score}",
        WIDTH,
        height,
        tuple(marks),
        f"Distribution of {data.score} by class",
        f"A row for each class; {_direction(data.harder)}. Medians: {medians}.",
    )


def correlation_scene(names: list[str], matrix: Float64[np.ndarray, "scores scores"], kind: str) -> Scene:
    """Draw the correlation table as a picture; `kind` says whose correlation it is."""
    cell, left, top = 44.0, 140.0, 160.0
    marks: list[Mark] = [Words(8, 20, f"{kind} correlation of the difficulties", "ink", "start")]
    for i, name in enumerate(names):
        marks.append(Words(left - 8, top + cell * (i + 0.6), name, "ink", "end"))
        marks.append(Words(left + cell * (i + 0.6), top - 8, name, "ink", "start", 11.0, True))
        for j in range(len(names)):
            value = float(matrix[i, j])
            box = (left + cell * j + 0.5, top + cell * i + 0.5, cell - 1, cell - 1)
            if np.isfinite(value):
                marks.append(Box(*box, "heat" if value >= 0 else "cold", 0.08 + 0.72 * abs(value)))
            marks.append(Words(box[0] + cell / 2, box[1] + cell * 0.6, said(value), "ink", "middle"))
    side = cell * len(names)
    description = f"{kind} correlation of the difficulties: 1 where two scores rank alike, 0 where one tells nothing of the other."
    return Scene("correlations", left + side + 20, top + side + 20, tuple(marks), "Correlation of the scores", description)


def said(value: float) -> str:
    """Write a correlation.

    Example:
        >>> said(0.944), said(-0.5), said(1.0), said(float("nan"))
        ('.94', '−.50', '1', '–')
    """
    if not np.isfinite(value):
        return "–"
    if abs(value) >= 0.995:
        return "1" if value > 0 else "−1"
    return ("−" if value < 0 else "") + f"{abs(value):.2f}"[1:]


def _edges(values: Float64[np.ndarray, " examples"]) -> Float64[np.ndarray, " edges"]:
    """Return equal bins over the range; scores with few values get a bin each."""
    low, high = float(values.min()), float(values.max())
    distinct = np.unique(values[:100_000])
    if 1 < len(distinct) <= BINS:
        distinct = np.unique(values)
        gap = float(np.diff(distinct).min())
        if high - low <= gap * BINS:
            return np.asarray(low + gap * (np.arange(round((high - low) / gap) + 2) - 0.5), np.float64)
    if high <= low:
        low, high = limits(low, high)
    return np.linspace(low, high, BINS + 1)


def _steps(axes: Axes, edges: np.ndarray, shares: np.ndarray, base: float, tall: float) -> Float64[np.ndarray, "points 2"]:
    x = np.repeat([axes.x(float(edge)) for edge in edges], 2)
    y = base - tall * np.concatenate([[0.0], np.repeat(shares, 2), [0.0]])
    return np.stack([x, y], axis=1).astype(np.float64)


def _direction(harder: int) -> str:
    return "larger is harder" if harder > 0 else "smaller is harder"


def _cut(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:11]}...{name[-6:]}"


def _is_left(mark: Mark) -> bool:
    return (isinstance(mark, Words) and mark.anchor == "end") or (isinstance(mark, Line) and mark.role == "grid")
