"""How do lines with intervals, and a legend above them, become a scene?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dataprune.report.page.scene import Area, Axes, Dot, Line, Mark, Scene, Words, limits

WIDTH, TALL = 760.0, 300.0
LEGEND_ROW, LETTER, SAMPLE = 20.0, 6.9, 34.0  # units: a row of the legend, a letter of it, a piece of line with its room
LABEL_LETTERS = 34


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one line.

    Attributes:
        label: in the legend.
        role: its colour.
        x, y: ascending in x.
        low, high: ends of the intervals, NaN where there is none.
        is_dashed, is_square: to tell it from another of the same colour.
    """

    label: str
    role: str
    x: Float64[np.ndarray, " points"]
    y: Float64[np.ndarray, " points"]
    low: Float64[np.ndarray, " points"]
    high: Float64[np.ndarray, " points"]
    is_dashed: bool = False
    is_square: bool = False


@dataclass(frozen=True, eq=False)
class Chart:
    """Lines over one axis, with what is the same for all x as levels.

    Attributes:
        name: of the scene.
        title, description: in words.
        x_label, y_label: what the axes are; y is a share.
        series: at least one.
        levels: (label, role, y) of lines across the whole chart.
        percent_x: whether x is a share too.
        is_band: whether x counts in whole numbers, many of them: intervals as bands without dots, else as strokes with dots.
        bottom: where y begins; None shows everything.
    """

    name: str
    title: str
    description: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    levels: tuple[tuple[str, str, float], ...] = ()
    percent_x: bool = True
    is_band: bool = False
    bottom: float | None = None


def chart_scene(chart: Chart) -> Scene:
    """Draw a chart."""
    entries: list[tuple[str, Series | None, str]] = [(label, None, role) for label, role, _ in chart.levels]
    entries += [(one.label, one, one.role) for one in chart.series]
    marks, top = _legend(entries)
    low, high = _span(chart)
    x = np.concatenate([one.x for one in chart.series])
    axes = Axes(60, top + 30, WIDTH - 80, TALL, *limits(float(x.min()), float(x.max()), 0.03), low, high)
    marks += [*axes.frame(chart.x_label, "", percent_x=chart.percent_x, percent_y=True, whole_x=chart.is_band)]
    marks.append(Words(8, top + 14, chart.y_label, "ink", size=12.0))
    for _, role, y in chart.levels:
        marks.append(Line(np.array([(axes.left, axes.y(y)), (axes.left + axes.width, axes.y(y))]), role, 1.5, True))
    for place, one in enumerate(chart.series):
        aside = 0.0 if chart.is_band else (place - (len(chart.series) - 1) / 2) * 2.5  # so that strokes at one x are told apart
        marks += _band(axes, one, low) if chart.is_band else _dotted(axes, one, aside)
    return Scene(chart.name, WIDTH, axes.top + axes.height + 46, tuple(marks), chart.title, chart.description)


def _span(chart: Chart) -> tuple[float, float]:
    ends = np.concatenate([values for one in chart.series for values in (one.y, one.low, one.high)] + [_levels(chart)])
    ends = ends[np.isfinite(ends)]
    low, high = limits(float(ends.min()), float(ends.max()))
    return (low, high) if chart.bottom is None else (max(low, chart.bottom), high)


def _levels(chart: Chart) -> Float64[np.ndarray, " levels"]:
    return np.array([y for _, _, y in chart.levels], np.float64)


def _legend(entries: Sequence[tuple[str, Series | None, str]]) -> tuple[list[Mark], float]:
    """Lay the legend out in rows; give its marks and where it ends."""
    marks: list[Mark] = []
    x, y = 8.0, 14.0
    for label, one, role in entries:
        text = label if len(label) <= LABEL_LETTERS else f"{label[: LABEL_LETTERS - 3]}..."
        wide = SAMPLE + LETTER * len(text) + 18
        if x > 8 and x + wide > WIDTH:
            x, y = 8.0, y + LEGEND_ROW
        marks.append(Line(np.array([(x, y), (x + 24, y)]), role, 1.5 if one is None else 2.0, one is None or one.is_dashed))
        if one is not None:
            marks.append(Dot(x + 12, y, 3.2, role, is_square=one.is_square))
        marks.append(Words(x + SAMPLE - 4, y + 4, text, "ink"))
        x += wide
    return marks, y + 14


def _dotted(axes: Axes, one: Series, aside: float) -> list[Mark]:
    """Draw a line with a dot at each point and its interval as a stroke."""
    moved = np.array([aside, 0.0])
    at = axes.points(one.x.tolist(), one.y.tolist()) + moved
    marks: list[Mark] = [Line(at, one.role, 2.0, one.is_dashed)]
    for place in np.flatnonzero(np.isfinite(one.low) & np.isfinite(one.high)).tolist():
        marks.append(Line(axes.points([one.x[place]] * 2, [one.low[place], one.high[place]]) + moved, one.role, 1.0))
    return marks + [Dot(float(x), float(y), 3.2, one.role, is_square=one.is_square) for x, y in at]


def _band(axes: Axes, one: Series, bottom: float) -> list[Mark]:
    """Draw a line without dots and its intervals as a band; what lies below the chart is cut off where it crosses."""
    x = np.unique(np.concatenate([one.x, *(_crossings(one.x, values, bottom) for values in (one.y, one.low, one.high))]))
    y, low, high = (np.interp(x, one.x, values) for values in (one.y, one.low, one.high))
    marks: list[Mark] = []
    if np.isfinite(low).all() and np.isfinite(high).all():
        edges = [axes.points(x.tolist(), np.maximum(values, bottom).tolist()) for values in (low, high)]
        marks.append(Area(np.concatenate([edges[0], edges[1][::-1]]), one.role, 0.09))
    above = y >= bottom - 1e-9
    for run in np.split(np.arange(len(x)), np.flatnonzero(np.diff(above.astype(int))) + 1):
        if above[run[0]]:
            marks.append(Line(axes.points(x[run].tolist(), y[run].tolist()), one.role, 2.0, one.is_dashed))
    return marks


def _crossings(
    x: Float64[np.ndarray, " points"], y: Float64[np.ndarray, " points"], level: float
) -> Float64[np.ndarray, " crossings"]:
    """Return where a line crosses a level."""
    at = np.flatnonzero((y[:-1] < level) != (y[1:] < level))
    return np.asarray(x[at] + (level - y[at]) / (y[at + 1] - y[at]) * (x[at + 1] - x[at]), np.float64)
