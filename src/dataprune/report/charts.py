"""Lines with intervals in panels, rows with intervals, matrices of coloured numbers, and sheets of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, UInt8

from dataprune.errors import invalid
from dataprune.report.colors import BLACK, COLD, HEAT, PAPER, Style
from dataprune.report.figures import WIDTH, canvas, drawing, write_figure
from dataprune.report.text import display_text
from dataprune.tables import check_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


LETTERS = 34  # of a label in a legend
LETTER_INCHES, SAMPLE_INCHES = 0.076, 0.58  # of a legend: a letter, and a piece of line with its room
CHART_INCHES, LEGEND_INCHES = 3.0, 0.19  # the height of panels, and of a row of the legend
ASIDE = 0.004  # of the axis between neighbouring lines, so that their intervals do not cover each other


@dataclass(frozen=True, eq=False)
class Line:
    """Points that belong together, in the unit of the axes; `low` and `high` end their intervals, NaN where there is none."""

    label: str
    style: Style
    x: Float64[np.ndarray, " points"]
    y: Float64[np.ndarray, " points"]
    low: Float64[np.ndarray, " points"]
    high: Float64[np.ndarray, " points"]


@dataclass(frozen=True, eq=False)
class Level:
    """A line across the whole panel, with an interval as a band."""

    label: str
    style: Style
    y: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes; `y_label` where it has an axis of its own."""

    title: str
    lines: tuple[Line, ...]
    levels: tuple[Level, ...] = ()
    y_label: str = ""


@dataclass(frozen=True, eq=False)
class Chart:
    """Panels side by side, and a legend for all above them. Panels share the vertical axis unless they have labels of their own.

    Intervals are drawn as bands, as for curves of many points without markers, or else as strokes. The vertical axis begins at
    `bottom` (None shows everything); with `whole_x` the horizontal one counts in whole numbers.
    """

    title: str
    description: str
    x_label: str
    y_label: str
    panels: tuple[Panel, ...]
    is_band: bool = False
    bottom: float | None = None
    whole_x: bool = False


@dataclass(frozen=True, eq=False)
class Rows:
    """A value with its interval for each row, the first on top; values are percentages."""

    title: str
    description: str
    x_label: str
    names: tuple[str, ...]
    styles: tuple[Style, ...]
    values: Float64[np.ndarray, " rows"]
    low: Float64[np.ndarray, " rows"]
    high: Float64[np.ndarray, " rows"]


@dataclass(frozen=True, eq=False)
class Matrix:
    """Texts in cells, each coloured by its strength in [-1, 1]: below zero in the other colour, NaN for none."""

    title: str
    description: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    strength: Float64[np.ndarray, "rows columns"]
    texts: tuple[tuple[str, ...], ...]


@drawing.register(Chart)
def _chart(data: Chart) -> "Figure":
    given = {one.label for panel in data.panels for part in (panel.levels, panel.lines) for one in part}
    labels = {display_text(label, LETTERS) for label in given if label}
    columns = max(1, min(len(labels), int(WIDTH / (SAMPLE_INCHES + LETTER_INCHES * max(map(len, labels), default=0)))))
    top = LEGEND_INCHES * -(-len(labels) // columns)
    figure = canvas(CHART_INCHES + top)
    shared = not any(panel.y_label for panel in data.panels)
    widths = [1.0] * len(data.panels) if shared else [2.0] + [1.0] * (len(data.panels) - 1)
    grid = figure.add_gridspec(2, len(data.panels), height_ratios=(top or 0.01, CHART_INCHES), width_ratios=widths)
    entries: dict[str, Any] = {}
    first: Axes | None = None
    for place, panel in enumerate(data.panels):
        axes = figure.add_subplot(grid[1, place], sharey=first if shared else None)
        _panel(axes, panel, data.is_band)
        axes.set_title(display_text(panel.title))
        axes.set_xlabel(data.x_label)
        axes.set_ylabel(panel.y_label if first is not None else data.y_label)
        axes.locator_params(axis="x", integer=data.whole_x)
        if data.bottom is not None:
            axes.set_ylim(bottom=data.bottom)
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        first = first or axes
    legend = figure.add_subplot(grid[0, :])
    legend.set_axis_off()
    legend.legend(list(entries.values()), list(entries), loc="lower left", ncols=columns, columnspacing=1.4, borderaxespad=0.0)
    return figure


@drawing.register(Rows)
def _rows(data: Rows) -> "Figure":
    figure = canvas(0.7 + 0.23 * len(data.names))
    axes = figure.add_subplot()
    for row, style in enumerate(data.styles):
        axes.hlines(row, data.low[row], data.high[row], color=style.colour, linewidth=1.6)
        axes.plot(data.values[row], row, color=style.colour, marker=style.marker or "o", markerfacecolor=_face(style))
    axes.set(xlabel=data.x_label, ylim=(len(data.names) - 0.5, -0.5))
    axes.set_yticks(range(len(data.names)), [display_text(name, 36) for name in data.names])
    return figure


@drawing.register(Matrix)
def _matrix(data: Matrix) -> "Figure":
    from matplotlib.patches import Rectangle

    cell = min(0.42, 5.0 / max(len(data.rows), len(data.columns)))
    figure = canvas(1.7 + cell * len(data.rows))
    axes = figure.add_subplot()
    axes.set(xlim=(-0.5, len(data.columns) - 0.5), ylim=(len(data.rows) - 0.5, -0.5), aspect="equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for row, column in np.ndindex(data.strength.shape):
        strength = float(data.strength[row, column])
        if np.isfinite(strength) and strength:
            colour, alpha = HEAT if strength > 0 else COLD, 0.08 + 0.75 * abs(strength)
            axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, alpha=alpha, linewidth=0))
        if cell > 0.3:
            axes.text(column, row, data.texts[row][column], ha="center", va="center", fontsize=7)
    names = [display_text(name, 20) for name in data.columns]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(data.rows)), [display_text(name, 20) for name in data.rows])
    axes.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
    return figure


def _panel(axes: "Axes", panel: Panel, is_band: bool) -> None:
    for level in panel.levels:
        axes.axhline(level.y, color=level.style.colour, linestyle="--", linewidth=1.2, label=_label(level.label), zorder=1)
        if np.isfinite(level.low):
            axes.axhspan(level.low, level.high, color=level.style.colour, alpha=0.12, linewidth=0, zorder=0)
    has_strokes = not is_band and any(np.isfinite(line.low).any() for line in panel.lines)
    step = ASIDE * float(np.ptp(np.concatenate([line.x for line in panel.lines]))) if has_strokes else 0.0
    for place, line in enumerate(panel.lines):
        colour = line.style.colour
        x = line.x + (place - (len(panel.lines) - 1) / 2) * step
        (drawn,) = axes.plot(x, line.y, line.style.line, color=colour, label=_label(line.label), zorder=3)
        drawn.set(linewidth=1.8 if colour == BLACK else 1.4, markerfacecolor=_face(line.style))
        drawn.set_marker("" if is_band else line.style.marker)
        if is_band and np.isfinite(line.low).any():
            axes.fill_between(x, line.low, line.high, color=colour, alpha=0.1, linewidth=0, zorder=2)
        elif np.isfinite(line.low).any():
            axes.vlines(x, line.low, line.high, color=colour, linewidth=1.0, alpha=0.8, zorder=2)


def _face(style: Style) -> str:
    return PAPER if style.is_hollow else style.colour


def _label(label: str) -> str:
    """Shorten a label; matplotlib leaves out what begins with an underscore."""
    return display_text(label, LETTERS).lstrip("_") or "_"


MOST_PICTURES = 1000
CELL_INCHES, CAPTION_INCHES, HEADING_INCHES, EDGE_INCHES = 1.1, 0.25, 0.35, 0.03
CAPTION_LETTERS = 16  # what fits above a cell at 7 points


@dataclass(frozen=True, eq=False)
class SheetRow:
    """Pictures side by side, each with a caption, and what stands above the row (perhaps nothing)."""

    heading: str
    pictures: UInt8[np.ndarray, "pictures height width channels"]
    captions: tuple[str, ...]


def sheet_data(
    images: UInt8[np.ndarray, "pictures height width channels"],
    captions: Sequence[str] | None = None,
    columns: int = 8,
    heading: str = "",
) -> tuple[SheetRow, ...]:
    """Lay 1 to 1,000 pictures out in rows of `columns`; captions are cut where too long. Sheets are joined by adding them.

    Example:
        >>> rows = sheet_data(np.zeros((3, 8, 8, 1), np.uint8), ["a", "b", "c"], columns=2, heading="zeros")
        >>> [(row.heading, row.captions) for row in rows]
        [('zeros', ('a', 'b')), ('', ('c',))]
    """
    if not 1 <= len(images) <= MOST_PICTURES:
        raise invalid("count", f"be in 1 ... {MOST_PICTURES} pictures of one sheet", len(images))
    if columns < 1:
        raise invalid("columns", "be at least 1", columns)
    names = [""] * len(images) if captions is None else [display_text(name, CAPTION_LETTERS) for name in captions]
    if len(names) != len(images):
        raise invalid("captions", f"be one for each of {len(images)} pictures", len(names))
    parts = [slice(first, first + columns) for first in range(0, len(images), columns)]
    headings = (display_text(heading), *[""] * (len(parts) - 1))
    return tuple(SheetRow(head, np.asarray(images[part]), tuple(names[part])) for head, part in zip(headings, parts, strict=True))


def draw_sheet(rows: Sequence[SheetRow], out: Path) -> None:
    """Draw a sheet of pictures into a .png file; equal rows give equal bytes."""
    check_output(out, (".png",))
    if not rows:
        raise invalid("rows", "hold at least one row", "none")
    from matplotlib.figure import Figure

    heights = [CELL_INCHES + CAPTION_INCHES + (HEADING_INCHES if row.heading else 0.0) for row in rows]
    total, width = sum(heights), max(len(row.captions) for row in rows) * CELL_INCHES
    figure, top = Figure(figsize=(width, total), dpi=100), total
    axes = figure.add_axes((0, 0, 1, 1))  # in inches; axes for each picture would take seconds
    axes.set_axis_off()
    for row, height in zip(rows, heights, strict=True):
        if row.heading:
            axes.text(0.05 * CELL_INCHES, top - 0.08, row.heading, fontsize=9, va="top", weight="bold", parse_math=False)
        tall, wide = row.pictures.shape[1:3]
        scale = (CELL_INCHES - 2 * EDGE_INCHES) / max(tall, wide)
        for place, (pixels, caption) in enumerate(zip(row.pictures, row.captions, strict=True)):
            x, y = (place + 0.5) * CELL_INCHES, top - height + CELL_INCHES / 2
            extent = (x - wide * scale / 2, x + wide * scale / 2, y - tall * scale / 2, y + tall * scale / 2)
            is_colour = pixels.shape[2] in (3, 4)  # else one channel, or so many that only the first can be shown
            gray: dict[str, Any] = {} if is_colour else {"cmap": "gray", "vmin": 0, "vmax": 255}
            axes.imshow(pixels if is_colour else pixels[:, :, 0], aspect="auto", extent=extent, interpolation="auto", **gray)
            axes.text(x, extent[3] + 0.03, caption, fontsize=7, ha="center", va="bottom", parse_math=False)
        top -= height
    axes.set(xlim=(0, width), ylim=(0, total))
    write_figure(figure, out)
