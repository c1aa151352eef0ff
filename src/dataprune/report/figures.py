"""How do lines, bands and labels become a figure of one page's width, the same bytes each time?"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from dataprune import store
from dataprune.errors import invalid
from dataprune.report.colors import Style
from dataprune.report.text import display_text

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
WIDTH = 7.2  # inches: a page with margins
LETTERS = 32  # of a label in a legend


@dataclass(frozen=True, eq=False)
class Line:
    """Points that belong together, each perhaps with an interval.

    Attributes:
        label: in the legend; "" for none.
        style: colour, marker and line.
        x, y: in the unit of the axes.
        low, high: ends of the intervals, NaN where there is none.
        is_hollow: whether its markers are hollow, to tell it from another of the same colour.
    """

    label: str
    style: Style
    x: Float64[np.ndarray, " points"]
    y: Float64[np.ndarray, " points"]
    low: Float64[np.ndarray, " points"]
    high: Float64[np.ndarray, " points"]
    is_hollow: bool = False


@dataclass(frozen=True, eq=False)
class Level:
    """A line across the whole panel, with an interval as a band."""

    label: str
    style: Style
    y: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes."""

    title: str
    lines: tuple[Line, ...]
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, eq=False)
class Plot:
    """Panels side by side with axes in common, and a legend for all.

    Attributes:
        title, x_label, y_label: in words, with the unit.
        panels: at least one.
        note: what the intervals are, below the figure.
        bands: whether intervals are drawn as bands, as for curves of many points without markers, or as bars.
        bottom: where the vertical axis begins; None shows everything.
        whole_x: whether the horizontal axis counts in whole numbers.
    """

    title: str
    x_label: str
    y_label: str
    panels: tuple[Panel, ...]
    note: str = ""
    bands: bool = False
    bottom: float | None = None
    whole_x: bool = False


def draw_plot(data: Plot, out: Path) -> None:
    """Draw panels side by side into a .png or .svg file; equal data give equal bytes.

    Raises:
        InputError: `out` has another ending.
        MachineError: no room, or no permission.
    """
    figure = page(4.0 if len(data.panels) == 1 else 3.8)
    all_axes = figure.subplots(1, len(data.panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, data.panels, strict=True):
        _draw_panel(axes, panel, data.bands)
        axes.set_title(display_text(panel.title), fontsize=9, parse_math=False)
        axes.set_xlabel(data.x_label, fontsize=9)
        axes.xaxis.get_major_locator().set_params(integer=data.whole_x)
    all_axes[0].set_ylabel(data.y_label, fontsize=9)
    if data.bottom is not None:
        all_axes[0].set_ylim(bottom=data.bottom)
    figure.suptitle(display_text(data.title, 100), fontsize=10, parse_math=False)
    entries: dict[str, Artist] = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        legend = figure.legend(
            list(entries.values()), list(entries), loc="outside right center", fontsize=8, frameon=False, handlelength=2.6
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    write_note(figure, data.note)
    save(figure, out)


def page(height: float) -> "Figure":
    """Return an empty figure of a page's width.

    Args:
        height: in inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=150, layout="constrained")


def write_note(figure: "Figure", note: str) -> None:
    """Write a line in small letters below everything."""
    if note:
        figure.supxlabel(display_text(note, 160), fontsize=6.5, color="#555555", x=0.01, ha="left", parse_math=False)


def save(figure: "Figure", out: Path) -> None:
    """Write a figure as .png or .svg: no date, no random names."""
    check_format(out)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    kind = out.suffix.lower()[1:]
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with store.writing(out) as temporary, warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "dataprune"}):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        (FigureCanvasAgg if kind == "png" else FigureCanvasSVG)(figure)
        figure.savefig(temporary, format=kind, metadata=metadata)


def check_format(out: Path) -> None:
    """Refuse a name that is no picture of ours or lies in no folder."""
    if out.suffix.lower() not in FORMATS:
        raise invalid("out", f"end in {' or '.join(FORMATS)}", repr(str(out)))
    if not out.parent.is_dir():
        raise invalid("out", "lie in a folder that exists", f"{out.parent}")


def _draw_panel(axes: "Axes", panel: Panel, bands: bool) -> None:
    for level in panel.levels:
        axes.axhline(
            level.y, color=level.style.colour, linestyle="--", linewidth=1.2, label=display_text(level.label, LETTERS), zorder=1
        )
        if np.isfinite(level.low):
            axes.axhspan(level.low, level.high, color=level.style.colour, alpha=0.15, linewidth=0, zorder=0)
    for line in panel.lines:
        colour, label = line.style.colour, display_text(line.label, LETTERS) if line.label else "_"
        face = "white" if line.is_hollow else colour
        width = 1.8 if colour == "#000000" else 1.3
        axes.plot(
            line.x,
            line.y,
            color=colour,
            marker="" if bands else line.style.marker,
            linestyle="--" if line.is_hollow else line.style.line,
            linewidth=width,
            markersize=4.5,
            markerfacecolor=face,
            label=label,
            zorder=3,
        )
        if bands:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.12, linewidth=0, zorder=2)
        elif np.isfinite(line.low).any():
            axes.vlines(line.x, line.low, line.high, color=colour, linewidth=1.0, alpha=0.8, zorder=2)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=8)
