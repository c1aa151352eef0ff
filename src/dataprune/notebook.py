"""How results look in a notebook: a short HTML table, a pandas DataFrame, a plot; and a bar while they are made."""

import sys
from collections.abc import Callable, Mapping
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from dataprune.errors import MachineError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 10


class Drawable:
    """A result that is also a plot. The room that draws lies above all results, so it is imported by name when it is asked."""

    def plot(self) -> "Figure":
        """Draw the result as a matplotlib figure, which a notebook shows and `savefig` writes.

        A score: how it is spread. Scores: how they correlate. Suspects: which labels look like which. A trace: accuracy by epoch.
        A run: its map of confidence against variability. A study or its summary: accuracy by size or by window.
        """
        figure: Figure = import_module("dataprune.report.plot").plot(self)
        return figure


class Reported(Drawable):
    """What lies in a folder and has a page."""

    path: Any

    def report(self, out: Any, **options: Any) -> Any:
        """Write the page, one HTML file that needs no network, as `dataprune report` does.

        Args:
            out: ends in .html.
            options: `data`, where the data lie now; `features`; `figures`, a folder for the plots as PNG and SVG; `overwrite`.
        """
        return import_module("dataprune.report.page.write").write_report(self.path, out, **options)


class Tabular:
    """A result that is also a table: `_columns` has its rows, `_shown` those of which a notebook shows the first."""

    most_shown: ClassVar = MOST_ROWS

    def _columns(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def _shown(self) -> Mapping[str, Any]:
        return self._columns()

    def _repr_html_(self) -> str:
        return html_table(repr(self).splitlines()[0], self._shown(), self.most_shown)

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame`."""
        return data_frame(self._columns())


def html_table(title: str, columns: Mapping[str, Any], most: int = MOST_ROWS) -> str:
    """Return the first rows of some columns of one length as HTML; everything in them is escaped, floats have four digits.

    Example:
        >>> html_table("1 label", {"id": ["a<b"], "probability": [0.98765]})
        '<table><caption>1 label</caption><tr><th>id</th><th>probability</th></tr><tr><td>a&lt;b</td><td>0.9877</td></tr></table>'
    """
    length = max((len(values) for values in columns.values()), default=0)
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    rows = ["".join(f"<td>{_cell(values[row])}</td>" for values in columns.values()) for row in range(min(most, length))]
    rest = f'<tr><td colspan="{len(columns)}">… {length - most:,} more</td></tr>' if length > most else ""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><caption>{escape(title)}</caption><tr>{head}</tr>{body}{rest}</table>"


def data_frame(columns: Mapping[str, Any]) -> Any:
    """Return columns as a `pandas.DataFrame`.

    Raises:
        MachineError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MachineError("`to_pandas` needs pandas, which is not installed: pip install pandas.") from None
    return pandas.DataFrame(
        {
            name: list(values) if str(getattr(values, "dtype", "")).startswith("StringDType") else values
            for name, values in columns.items()
        }
    )


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def bar() -> Callable[[Any], None] | None:
    """Return a listener that shows how much is done of how much as a bar, in a notebook; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if not hasattr(shell, "kernel"):
        return None
    display = import_module("IPython.display")
    shown: Any = None

    def hear(progress: Any) -> None:
        nonlocal shown
        done, total = progress.done, progress.total
        line = display.HTML(f'<progress value="{done}" max="{total}"></progress> {done:,} of {total:,}')
        if shown is None:
            shown = display.display(line, display_id=True)
        else:
            shown.update(line)

    return hear
