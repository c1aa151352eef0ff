"""A page becomes one HTML file that nothing can break out of."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from dataprune.report.figures import Inline, inline, plain
from dataprune.report.page.build import Page
from dataprune.report.page.map_svg import Cartography, map_element
from dataprune.report.text import pluralise

PLACE = Path(__file__).parent
SCRIPTS = ("theme.js", "tables.js", "choices.js", "examples.js", "galleries.js", "review.js", "map.js")


def html(page: Page, *, is_static: bool = False) -> str:
    """Write a page as HTML.

    Args:
        is_static: without any script; pictures and tables are all in the markup then.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PLACE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "share": _share, "number": _number, "whole": _whole, "tera": _tera}
    environment.filters |= {"seconds": _seconds, "several": pluralise}
    style, script = _text("page.css"), "" if is_static else "".join(map(_text, SCRIPTS))
    drawn: dict[str, Inline] = {}
    elements: dict[str, Markup] = {}
    for name, plot in page.plots.items():
        if isinstance(plot, Cartography):
            elements[name] = Markup(map_element(plot, name, is_picture=is_static))
        else:
            drawn[name] = inline(plot, name)
            elements[name] = Markup(drawn[name].element(plot))
    beside = {name: {"axes": one.axes, "data": plain(page.plots[name])} for name, one in drawn.items()}
    return environment.get_template(f"{page.kind}.html").render(
        **page.context,
        plots=elements,
        about={name: plot.description for name, plot in page.plots.items()},
        titles={name: plot.title for name, plot in page.plots.items()},
        data=page.payload,
        payload=Markup(script_json({**page.payload, "plots": beside})),
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
        is_static=is_static,
    )


def policy(style: str, script: str) -> str:
    """Return the content-security policy: no network, and no style or script but ours, named by their hashes."""
    allowed = f"'sha256-{_hash(script)}'" if script else "'none'"
    return (
        f"default-src 'none'; img-src data: blob:; style-src 'sha256-{_hash(style)}'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )


def script_json(value: Any) -> str:
    r"""Write JSON that is harmless inside a script element, whatever its texts hold.

    Example:
        >>> print(script_json({"name": "</script>&"}))
        {"name":"\u003c/script\u003e\u0026"}
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: line separators are escaped too
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _text(name: str) -> str:
    return (PLACE / "assets" / name).read_text(encoding="utf-8")


def _percent(value: float | None, places: int = 1) -> str:
    return "–" if value is None else f"{_share(value, places)} %"


def _share(value: float | None, places: int = 1) -> str:
    """Write a share, or a difference of shares in points, in a column of percent."""
    return "–" if value is None else _signed(f"{value * 100:.{places}f}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else _signed(f"{value:.4g}")


def _whole(value: float | None) -> str:
    return "–" if value is None else _signed(f"{value:,.0f}")


def _seconds(value: float | None) -> str:
    return "–" if value is None else _signed(f"{value:,.1f}")


def _tera(value: float | None) -> str:
    """Write operations in millions of millions."""
    return "–" if value is None else _signed(f"{value / 1e12:,.3g}")


def _signed(text: str) -> str:
    """Write a number with a true minus sign, and nothing below zero that is not."""
    is_nothing = text.startswith("-") and not float(text.replace(",", ""))
    return text[1:] if is_nothing else text.replace("-", "−", 1) if text.startswith("-") else text
