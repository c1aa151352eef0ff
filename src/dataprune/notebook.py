"""How results look in a notebook: a short HTML table of columns, and the same columns as a pandas DataFrame."""

from collections.abc import Mapping
from html import escape
from typing import Any, ClassVar

from dataprune.errors import MachineError

MOST_ROWS = 10


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
