"""One style for all plots, and the three ways out: a PNG file, an SVG file, and SVG inside a page that follows its light and dark.

A plot is a frozen dataclass with its data, a `title` and a `description`; `drawing` knows for each type how it is drawn.
"""

import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import singledispatch
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from dataprune import store
from dataprune.report.colors import INK, LINE, MUTED, PAPER, VARIABLES
from dataprune.report.text import display_text
from dataprune.tables import check_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
MARK = b"dataprune"  # near the begin of each file that is drawn, and of a page
WIDTH = 7.2  # inches: a page with margins
POINTS = 72  # an inch; the unit of SVG
DOTS_AN_INCH = 150
NOTE_LETTERS = 125  # in one line
BLANK = "var(--c8)"  # matplotlib leaves out a fill that is black
RC: dict[str, Any] = {
    **{"svg.fonttype": "none", "text.parse_math": False, "font.sans-serif": ["DejaVu Sans", "sans-serif"], "font.size": 8.5},
    **{"axes.labelsize": 8.5, "axes.titlesize": 9.0, "xtick.labelsize": 8.0, "ytick.labelsize": 8.0, "legend.fontsize": 8.5},
    **{"text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "xtick.color": MUTED, "ytick.color": MUTED},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.edgecolor": MUTED},
    **{"axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": LINE, "grid.linewidth": 0.7},
    **{"xtick.major.size": 3.0, "ytick.major.size": 0.0, "legend.frameon": False, "legend.handlelength": 2.6},
    **{"lines.linewidth": 1.4, "lines.markersize": 4.5, "axes.facecolor": "none", "figure.facecolor": PAPER},
    **{"savefig.facecolor": "auto", "figure.constrained_layout.h_pad": 0.03, "figure.constrained_layout.w_pad": 0.03},
}


@runtime_checkable
class Plot(Protocol):
    """What every plot says of itself, in words: what it is and what it shows."""

    @property
    def title(self) -> str: ...

    @property
    def description(self) -> str: ...


@singledispatch
def drawing(data: Any) -> "Figure":
    """Draw the data of a plot, without its title and description. Each type of data registers its own function."""
    raise TypeError(f"nothing says how {type(data).__name__} is drawn")


def draw(data: Plot) -> "Figure":
    """Draw a plot with its title above and its description below."""
    with _styled():
        figure = drawing(data)
        figure.suptitle(display_text(data.title, 100), fontsize=9.5)
        if data.description:
            note = "\n".join(textwrap.wrap(display_text(data.description, 600), NOTE_LETTERS))
            figure.supxlabel(note, fontsize=6.5, color=MUTED, x=0.01, ha="left", linespacing=1.3)
    return figure


def canvas(height: float) -> "Figure":
    """Return an empty figure of a page's width, `height` inches high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=DOTS_AN_INCH, layout="constrained")


def write_plot(data: Plot, out: Path) -> None:
    """Draw a plot into a .png or .svg file; equal data give equal bytes."""
    check_output(out, FORMATS)
    write_figure(draw(data), out)


def check_ours(*files: Path, overwrite: bool = False) -> None:
    """Refuse to replace a file that dataprune has not drawn or written as a page, unless that is asked for."""
    for file in files:
        if not overwrite and file.is_file() and MARK not in file.read_bytes()[:4096]:
            raise store.taken(file)


def write_plots(plots: Mapping[str, Plot], folder: Path, *, overwrite: bool = True) -> tuple[Path, ...]:
    """Draw plots as NAME.png and NAME.svg into a folder, which is made if need be; files of the same names are replaced."""
    store.check_writable(folder)
    # A name may hold a score that somebody named.
    stems = ["".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80] for name in plots]
    written = [folder / f"{stem}{ending}" for stem in stems for ending in FORMATS]
    check_ours(*written, overwrite=overwrite)
    for number, data in enumerate(plots.values()):
        figure = draw(data)
        for file in written[len(FORMATS) * number :][: len(FORMATS)]:
            write_figure(figure, file)
    return tuple(written)


def write_figure(figure: "Figure", out: Path) -> None:
    """Write a figure into a file: no date, no random names, and by whom."""
    kind = out.suffix.lower()[1:]
    metadata = {"Software": "dataprune"} if kind == "png" else {"Date": None, "Creator": "dataprune"}
    with store.writing(out) as temporary, _styled("dataprune"):
        figure.savefig(temporary, format=kind, metadata=metadata)


@dataclass(frozen=True)
class Inline:
    """A plot for a page: its size, the elements of its SVG, and of each pair of axes its `box` in it and its limits `x` and `y`.

    Colours are variables of the page's style sheet; nothing is a style attribute. A box is left, top, width, height.
    """

    width: float
    height: float
    body: str
    axes: list[dict[str, list[float]]]

    def element(self, plot: Plot, *, is_picture: bool = True) -> str:
        """Return the SVG element; with `is_picture` it says its title and description to who cannot see it."""
        about = f'role="img" aria-label="{escape(plot.title)}. {escape(plot.description)}"' if is_picture else 'aria-hidden="true"'
        return f'<svg class="plot" viewBox="0 0 {self.width:g} {self.height:g}" fill="{BLANK}" {about}>{self.body}</svg>'


def inline(data: Plot, name: str) -> Inline:
    """Draw a plot for a page, where no other has its name: title and description are left to the page."""
    text = StringIO()
    with _styled(name):
        figure = drawing(data)
        figure.savefig(text, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    body = svg[svg.index("</metadata>") + len("</metadata>") : svg.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>|<!--.*?-->|(?<=>)\s+(?=<)", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^/>][^>]*>", _page_tag, body)  # texts and attributes are escaped: what looks like a tag is one
    wide, tall = (float(inches) * POINTS for inches in figure.get_size_inches())
    axes = []
    for one in filter(lambda one: one.axison, figure.axes):
        box = one.get_position()
        place = (box.x0 * wide, (1 - box.y1) * tall, box.width * wide, box.height * tall)
        x, y = (list(map(float, limits)) for limits in (one.get_xlim(), one.get_ylim()))
        axes.append({"box": [round(float(value), 2) for value in place], "x": x, "y": y})
    return Inline(round(wide, 2), round(tall, 2), re.sub("<g></g>|<defs></defs>", "", body), axes)


def plain(data: Any) -> Any:
    """Return the data of a plot as plain JSON, numbers with four digits: what stands beside it on a page."""
    if is_dataclass(data) and not isinstance(data, type):
        return {one.name: plain(getattr(data, one.name)) for one in fields(data)}
    if isinstance(data, np.ndarray):
        return plain(data.tolist())
    if isinstance(data, list | tuple):
        return [plain(one) for one in data]
    if isinstance(data, float):
        return float(f"{data:.4g}") if np.isfinite(data) else None
    return data


@contextmanager
def _styled(salt: str = "") -> Iterator[None]:
    """Draw in our style; the salt makes the names inside an SVG its own, and the same each time."""
    import matplotlib

    style: Any = RC | {"svg.hashsalt": salt}  # matplotlib's types name each key
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        yield


def _page_tag(found: re.Match[str]) -> str:
    tag = found[0].replace("\n", "").replace("xlink:href", "href")
    tag = re.sub(r' style="([^"]*)"', _attributes, tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*"' + (r'| id="[^"]*"' if tag.startswith("<g") else ""), "", tag)
    return re.sub(r"-?\d+\.\d+", lambda number: f"{round(float(number[0]), 2) + 0.0:g}", tag)


def _attributes(found: re.Match[str]) -> str:
    """Turn a style into attributes; the font is the page's."""
    said = dict(part.strip().split(": ", 1) for part in found[1].split(";") if ": " in part)
    size = re.search(r"([\d.]+)px", said.pop("font", said.pop("font-size", "")))
    if size is not None:
        said["font-size"] = size[1]
    for name in ("font-family", "stroke-linejoin", "stroke-linecap"):
        said.pop(name, None)
    variables = {name: f"var(--{VARIABLES[value]})" if value in VARIABLES else value for name, value in said.items()}
    return "".join(f' {name}="{value}"' for name, value in variables.items())
