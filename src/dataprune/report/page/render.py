"""A page becomes one HTML file that nothing can break out of."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.report.figures import Inline, Plot, inline, plain
from dataprune.report.maps import Cartography, map_inline
from dataprune.report.text import pluralise

if TYPE_CHECKING:
    import jinja2

PLACE = Path(__file__).parent
SHARED = ("theme.js", "parts.js", "marks.js", "viewer.js")  # with the review
SCRIPTS = (*SHARED, "tables.js", "choices.js", "embedded.js", "lists.js", "suspects.js", "map.js")


@dataclass(frozen=True)
class Options:
    """What a person may ask of a page: its headline (None makes one), how many pictures it embeds at most, no script."""

    title: str | None = None
    max_pictures: int = 3000
    is_static: bool = False


@dataclass(frozen=True, eq=False)
class Page:
    """A page before it is HTML: what its template (run or study) says, what its script needs as plain JSON, its plots by name.

    The page shows `tables` as such: they are plots in files only.
    """

    kind: str
    context: dict[str, Any]
    payload: dict[str, Any] = field(default_factory=dict)
    plots: Mapping[str, Plot] = field(default_factory=dict)
    tables: Mapping[str, Plot] = field(default_factory=dict)


def html(page: Page, *, is_static: bool = False) -> str:
    """Write a page as HTML; with `is_static` without any script: pictures and tables are all in the markup then."""
    from markupsafe import Markup

    style, script = (
        "".join((PLACE / "assets" / name).read_text(encoding="utf-8") for name in names)
        for names in (("page.css",), () if is_static else SCRIPTS)
    )
    drawn: dict[str, Inline] = {}
    elements: dict[str, Markup] = {}
    for name, plot in page.plots.items():
        drawn[name] = map_inline(plot, name) if isinstance(plot, Cartography) else inline(plot, name)
        elements[name] = Markup(drawn[name].element(plot, is_picture=is_static or name != "map"))
    beside = {
        name: {"axes": one.axes, "data": None if isinstance(page.plots[name], Cartography) else plain(page.plots[name])}
        for name, one in drawn.items()
    }
    return template(f"{page.kind}.html").render(
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


@cache
def template(name: str, *folders: Path) -> "jinja2.Template":
    """Return a template of ours, or of other folders, which may use ours; whatever it is given is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, PLACE / "templates"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value.replace(" %", "\u00a0%") if type(value) is str else value,  # not at the end of a line
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda value, places=1: _number(value, f".{places}f", 100, " %"),
        "share": partial(_number, form=".1f", unit=100),  # also a difference of shares, in a column of percent
        "value": lambda value, metric: _number(value, ".1f" if metric.is_share else ".4g", metric.times),
        "number": lambda value: _number(value, "," if isinstance(value, int) else ".4g"),
        "whole": partial(_number, form=",.0f"),
        "seconds": partial(_number, form=",.1f"),
        "tera": partial(_number, form=",.3g", unit=1e-12),
        "several": pluralise,
    }
    return environment.get_template(name)


def policy(style: str, script: str) -> str:
    """Return the content-security policy: no network, and no style or script but ours, named by their hashes."""
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (style, script)]
    of_style, of_script = (f"'sha256-{one}'" for one in hashes)
    allowed = f"style-src {of_style}; script-src " + (of_script if script else "'none'")
    return f"default-src 'none'; img-src data: blob:; {allowed}; base-uri 'none'; form-action 'none'"


def script_json(value: Any) -> str:
    r"""Write JSON that is harmless inside a script element, whatever its texts hold.

    Example:
        >>> print(script_json({"name": "</script>&"}))
        {"name":"\u003c/script\u003e\u0026"}
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: line separators are escaped too
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _number(value: float | None, form: str, unit: float = 1, after: str = "") -> str:
    """Write a number with a true minus sign, none and NaN as –, and nothing below zero that is not."""
    if value is None or value != value:
        return "–"
    text = f"{value * unit:{form}}"
    if text.startswith("-"):
        text = text.replace("-", "−", 1) if float(text.replace(",", "")) else text[1:]
    return text + after
