"""The site of these pages: `make docs` writes build/site, and on the way the pages and pictures of scores and strategies."""

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import gallery

project = "dataprune"
author = "The dataprune developers"
copyright = f"2026, {author}"
version = release = version_of("dataprune")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["**/.ipynb_checkpoints"]
default_role = "code"
html_theme = "furo"
html_title = "dataprune"
html_show_sourcelink = False
html_static_path = ["assets"]
html_css_files = ["site.css"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Departs"]
napoleon_preprocess_types = False
# Fenced blocks in Markdown are also read where they hang in lists; mermaid is drawn where such pages are shown as files.
suppress_warnings = ["misc.highlighting_failure"]
SECTION = re.compile(r"(Args:|Returns:|Raises:) +(?=\S)")


def setup(app: Any) -> None:
    """Make the pages of scores and strategies before the site is read; what a property says is prose, also before a colon."""
    app.connect("builder-inited", lambda app: gallery.write(Path(app.srcdir) / "gallery"))
    app.connect("autodoc-process-docstring", _keep_colons, priority=100)


def _keep_colons(app: object, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    if what == "property" and lines:
        lines[0] = lines[0].replace(": ", r"\: ", 1)
    lines[:] = [part for line in lines for part in _opened(line)]


def _opened(line: str) -> list[str]:
    """Give a section that begins beside its title the line of its own that napoleon wants."""
    begun = SECTION.match(line)
    return [line] if begun is None else ["", begun[1], line[len(begun[0]) :].rjust(len(line))]
