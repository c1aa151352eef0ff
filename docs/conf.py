"""The site of these pages: `make docs` writes build/site. Pages of scores and strategies, and their pictures, are made on the way."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import gallery  # type: ignore[import-not-found]

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
# Fenced blocks in Markdown are also read where they hang in lists; mermaid is drawn where such pages are shown as files.
suppress_warnings = ["misc.highlighting_failure"]


def setup(app: object) -> None:
    """Make the pages of scores and strategies before the site is read."""
    app.connect("builder-inited", lambda app: None)  # type: ignore[attr-defined]
