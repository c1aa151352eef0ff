"""Sheets of pictures: side by side in rows, each with a caption."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dataprune.errors import invalid
from dataprune.report.figures import write_figure
from dataprune.report.text import display_text
from dataprune.tables import check_output

MOST_PICTURES = 1000
CELL_INCHES, CAPTION_INCHES, HEADING_INCHES = 1.1, 0.25, 0.35
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
    total, widest = sum(heights), max(len(row.captions) for row in rows)
    figure = Figure(figsize=(widest * CELL_INCHES, total), dpi=100)
    top = total
    for row, height in zip(rows, heights, strict=True):
        if row.heading:
            figure.text(0.05 / widest, (top - 0.08) / total, row.heading, fontsize=9, va="top", weight="bold", parse_math=False)
        for place, (pixels, caption) in enumerate(zip(row.pictures, row.captions, strict=True)):
            box = (place / widest + 0.03 / widest, (top - height + 0.03) / total, 0.94 / widest, (CELL_INCHES - 0.06) / total)
            axes = figure.add_axes(box)
            axes.set_axis_off()
            if pixels.shape[2] in (3, 4):
                axes.imshow(pixels, interpolation="auto")
            else:  # one channel, or so many that only the first can be shown
                axes.imshow(pixels[:, :, 0], cmap="gray", vmin=0, vmax=255, interpolation="auto")
            axes.set_title(caption, fontsize=7, pad=2, parse_math=False)
        top -= height
    write_figure(figure, out)
