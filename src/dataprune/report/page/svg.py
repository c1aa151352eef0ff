"""How does a scene become SVG?

In the page colours are classes of the style sheet, so that light and dark follow it, and no style attribute is used, which a strict
content-security policy would ignore. A file of its own carries its colours in itself.
"""

from html import escape

import numpy as np

from dataprune.report.page.scene import INK, Area, Box, Dot, Line, Mark, Scene


def inline(scene: Scene, *, is_picture: bool = True) -> str:
    """Return a scene as an SVG element of a page; with `is_picture` it says its title and description to who cannot see it."""
    about = f'role="img" aria-label="{escape(scene.title)}. {escape(scene.description)}"' if is_picture else 'aria-hidden="true"'
    body = "".join(_mark(mark, in_page=True) for mark in scene.marks)
    return f'<svg class="plot" viewBox="0 0 {_n(scene.width)} {_n(scene.height)}" width="{_n(scene.width)}" {about}>{body}</svg>'


def standalone(scene: Scene) -> str:
    """Return a scene as an SVG file."""
    body = "\n".join(_mark(mark, in_page=False) for mark in scene.marks)
    size = f'width="{_n(scene.width)}" height="{_n(scene.height)}" viewBox="0 0 {_n(scene.width)} {_n(scene.height)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">\n<title>{escape(scene.title)}</title>\n'
        f'<desc>{escape(scene.description)}</desc>\n<rect width="100%" height="100%" fill="{INK["paper"]}"/>\n{body}\n</svg>\n'
    )


def _mark(mark: Mark, in_page: bool) -> str:
    if isinstance(mark, Line):
        dashed = ' stroke-dasharray="5 4"' if mark.is_dashed else ""
        width = f' stroke-width="{_n(mark.width)}" fill="none"{dashed}'
        return f'<path d="{_path(mark.points)}"{_stroke(mark.role, in_page)}{width}/>'
    if isinstance(mark, Area):
        return f'<path d="{_path(mark.points)}Z"{_fill(mark.role, in_page, mark.opacity)}/>'
    if isinstance(mark, Box):
        return _rectangle(mark.x, mark.y, mark.width, mark.height) + _fill(mark.role, in_page, mark.opacity, mark.key) + "/>"
    if isinstance(mark, Dot) and mark.is_square:
        side = mark.radius * 1.8
        corner = (mark.x - side / 2, mark.y - side / 2)
        return _rectangle(*corner, side, side) + _fill(mark.role, in_page, mark.opacity, mark.key) + "/>"
    if isinstance(mark, Dot):
        circle = f'<circle cx="{_n(mark.x)}" cy="{_n(mark.y)}" r="{_n(mark.radius)}"'
        return circle + _fill(mark.role, in_page, mark.opacity, mark.key) + "/>"
    turned = f' transform="rotate(-90 {_n(mark.x)} {_n(mark.y)})"' if mark.is_turned else ""
    anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
    place = f'x="{_n(mark.x)}" y="{_n(mark.y)}" font-size="{_n(mark.size)}"{anchor}{turned}'
    return f"<text {place}{_fill(mark.role, in_page)}>{escape(mark.text)}</text>"


def _rectangle(x: float, y: float, width: float, height: float) -> str:
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'


def _fill(role: str, in_page: bool, opacity: float = 1.0, key: int = -1) -> str:
    colour = f' class="f-{role}"' if in_page else f' fill="{INK[role]}"'
    faint = "" if opacity >= 1 else f' fill-opacity="{_n(opacity, 3)}"'
    return colour + faint + (f' data-k="{key}"' if in_page and key >= 0 else "")


def _stroke(role: str, in_page: bool) -> str:
    return f' class="s-{role}"' if in_page else f' stroke="{INK[role]}"'


def _path(points: np.ndarray) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points.tolist())


def _n(value: float, places: int = 1) -> str:
    """Write a length with what an eye can tell apart."""
    return f"{value:.{places}f}".rstrip("0").rstrip(".") if "." in f"{value:.{places}f}" else f"{value:.{places}f}"
