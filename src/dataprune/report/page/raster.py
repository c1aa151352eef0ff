"""How does a scene become a PNG file?"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dataprune import store
from dataprune.report.page.scene import INK, Area, Box, Dot, Line, Mark, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNITS_AN_INCH = 100
DOTS_AN_INCH = 200


def write_png(scene: Scene, out: Path) -> None:
    """Draw a scene into a file; equal scenes give equal bytes.

    Raises:
        MachineError: no room, or no permission.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(scene.width / UNITS_AN_INCH, scene.height / UNITS_AN_INCH), dpi=DOTS_AN_INCH)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, scene.width), ylim=(scene.height, 0))
    axes.set_axis_off()
    for order, mark in enumerate(scene.marks):
        _draw(axes, mark, order)
    with store.writing(out) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        FigureCanvasAgg(figure)
        figure.savefig(temporary, format="png", metadata={"Software": None}, facecolor=INK["paper"])


def _draw(axes: "Axes", mark: Mark, order: int) -> None:
    from matplotlib.patches import Circle, Polygon, Rectangle

    points_a_unit = 72 / UNITS_AN_INCH
    colour = INK[mark.role]
    if isinstance(mark, Line):
        style = (0, (5, 4)) if mark.is_dashed else "solid"
        axes.plot(
            mark.points[:, 0], mark.points[:, 1], color=colour, linewidth=mark.width * points_a_unit, linestyle=style, zorder=order
        )
    elif isinstance(mark, Area):
        axes.add_patch(Polygon(mark.points, facecolor=colour, alpha=mark.opacity, linewidth=0, zorder=order))
    elif isinstance(mark, Box):
        corner = (mark.x, mark.y)
        box = Rectangle(corner, mark.width, mark.height, facecolor=colour, alpha=mark.opacity, linewidth=0, zorder=order)
        axes.add_patch(box)
    elif isinstance(mark, Dot):
        side = mark.radius * 1.8
        square = Rectangle((mark.x - side / 2, mark.y - side / 2), side, side)
        dot = square if mark.is_square else Circle((mark.x, mark.y), mark.radius)
        dot.set(facecolor=colour, alpha=mark.opacity, linewidth=0, zorder=order)
        axes.add_patch(dot)
    else:
        aligned = {"start": "left", "middle": "center", "end": "right"}[mark.anchor]
        axes.text(
            mark.x,
            mark.y,
            mark.text,
            color=colour,
            fontsize=mark.size * points_a_unit,
            ha=aligned,
            va="baseline",
            rotation=90 if mark.is_turned else 0,
            rotation_mode="anchor",
            parse_math=False,
            zorder=order,
        )
