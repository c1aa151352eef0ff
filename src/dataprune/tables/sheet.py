"""One column of a file, with the columns that may name its rows: what labels, truth, scores and decisions are read through."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import invalid, join_some, unknown_choice
from dataprune.tables.annotations import LABELS, read_annotations
from dataprune.tables.columns import column_names, flat_columns, read_table, split_spec
from dataprune.tables.csv import csv_rows, inferred
from dataprune.tables.files import texts
from dataprune.tables.join import Joined, align, is_key

_FRACTION = re.compile(r"-?\d+\.\d*(e-?\d+)?")
_CELL = re.compile(r'(?:^|[,\t])("(?:[^"]|"")*"|[^",\t\r\n]*)')


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table from which one column is wanted.

    Attributes:
        source: how it was named, for messages.
        names: of all columns there are.
        columns: those that were read: the cells of a CSV file as they stand there, of other files numbers as numbers.
        column: the one that is wanted; None where that depends on which of them names the rows.
        quoted: columns that say they are text: of a CSV file those whose first cell stands in quotes.
    """

    source: str
    names: tuple[str, ...]
    columns: Mapping[str, Shaped[np.ndarray, " rows"]]
    column: str | None = None
    quoted: frozenset[str] = frozenset()

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values())))

    def join(self, ids: Sequence[str], called: str) -> Joined:
        """Find the row of each example, by the column that names them, else by row; `called` is the table in the call."""
        return align(self._keys(), self.n_rows, ids, called, self.source)

    def own_names(self) -> tuple[str | None, list[str]]:
        """Return the column that names the rows, by what it is called, and its names; or None and row numbers."""
        for name, keys in sorted(self._keys().items(), key=lambda item: item[0].lower() != "id"):
            if is_key(name) and len(set(keys)) == len(keys):
                return name, keys
        return None, [str(row) for row in range(self.n_rows)]

    def wanted(self, key: str | None) -> str:
        """Return the column that is wanted, or that alone is left beside the key."""
        others = [name for name in self.names if name != key]
        if self.column is None and len(others) != 1:
            raise invalid(self.source, "be followed by :COLUMN", "none", f"It has the columns {join_some(self.names, most=30)}.")
        return others[0] if self.column is None else self.column

    def typed(self, name: str) -> Shaped[np.ndarray, " rows"]:
        """Return a column with cells of a CSV file as the simplest type that fits them all."""
        values = self.columns[name]
        is_text = values.dtype == object and all(isinstance(cell, str) for cell in values)
        return inferred(name, values.tolist()) if is_text else values

    def _keys(self) -> dict[str, list[str]]:
        others = {name: values for name, values in self.columns.items() if name != self.column and values.dtype.kind in "iuOT"}
        return {name: [str(value) for value in values.tolist()] for name, values in others.items()}


def read_sheet(spec: str | Path, default: str | None = None) -> Sheet:
    """Read the column that `FILE:COLUMN` names, with those that may name its rows.

    Args:
        spec: an existing file of that whole name is meant before a part of it is taken for a column.
        default: the column to take from a bare `FILE`; where it is absent, the only one beside the key. FILE may also be JSON of
            FiftyOne or Label Studio.
    """
    path, column = split_spec(spec)
    if path.suffix.lower() == ".json":
        said = read_annotations(path)
        default = next((name for name in (default, *LABELS) if name in said), None)
        if column is not None and column not in said:
            raise unknown_choice(f"column of {path}", column, said)
        cells = {name: texts(values) for name, values in said.items()}
        return Sheet(str(spec), tuple(said), cells, column or default, frozenset(said))
    names = column_names(path)
    if column is not None and column not in names:
        raise unknown_choice(f"column of {path}", column, names)
    column = column or (default if default in names else None)
    kind, quoted = path.suffix.lower(), frozenset[str]()
    if kind == ".parquet":
        from dataprune.tables.parquet import key_columns

        wanted = key_columns(path) if column else flat_columns(path)
    elif kind in (".csv", ".tsv") and column:
        first = zip(names, next(csv_rows(path, skip=1), []), strict=False)
        wanted = [name for name, cell in first if name == column or is_key(name) or not _FRACTION.fullmatch(cell)]
    else:
        wanted = None
    if column and wanted is not None and column not in wanted:
        wanted.append(column)
    columns = read_table(path, wanted, as_text=True).columns
    if not columns:
        raise invalid(str(spec), "have a column of numbers or text", join_some(names, most=30))
    if kind in (".csv", ".tsv"):
        quoted = _quoted(path, names)
    else:
        quoted = frozenset(name for name, values in columns.items() if values.dtype == object)
    return Sheet(str(spec), tuple(names), columns, column, quoted)


def _quoted(path: Path, names: Sequence[str]) -> frozenset[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        file.readline()
        cells = _CELL.findall("".join(line for _, line in zip(range(100), file, strict=False)))
    return frozenset(name for name, cell in zip(names, cells, strict=False) if cell.startswith('"'))
