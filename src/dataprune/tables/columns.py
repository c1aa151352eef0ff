"""Tables of columns in files of whatever format, by their suffix; and one column of a file with those that may name its rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import invalid, join_some, unknown_choice
from dataprune.tables.annotations import LABELS, read_annotations
from dataprune.tables.files import chosen, exists, regular, texts, unicode_text
from dataprune.tables.join import Joined, align, is_key
from dataprune.tables.lines import csv_rows, inferred, read_csv, read_jsonl, write_csv
from dataprune.tables.npy import read_npy

CSV, JSON_LINES = (".csv", ".tsv"), (".jsonl", ".ndjson")
READABLE = (*CSV, *JSON_LINES, ".parquet")  # endings of tables of named columns
_FRACTION = re.compile(r"-?\d+\.\d*(e-?\d+)?")
_CELL = re.compile(r'(?:^|[,\t])("(?:[^"]|"")*"|[^",\t\r\n]*)')


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name, text as object arrays of str. `metadata` holds what a Parquet file says of each; `faults`
    say which rows of a CSV file, from 0, are left out and why, `unread` which columns of a Parquet file, with their types."""

    columns: dict[str, Shaped[np.ndarray, " rows"]]
    metadata: dict[str, dict[str, object]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def write_table(
    path: Path,
    columns: Mapping[str, Sequence[object] | Shaped[np.ndarray, "..."]],
    metadata: Mapping[str, Mapping[str, object]] | None = None,
) -> None:
    """Write columns as `.parquet` or `.csv`, by the suffix, in place; equal input gives equal bytes. They are booleans, integers,
    floats (up to 64 bits) or Unicode text. What `metadata` say of one (JSON) is kept by Parquet only."""
    table = {name: _column(name, values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in table.items()}
    if len(set(lengths.values())) > 1:
        raise invalid("columns", "have one length", lengths)
    if not set(metadata or {}) <= set(table):
        raise invalid("metadata", "be of columns of the table", join_some(metadata or {}))
    if path.suffix.lower() == ".parquet":
        from dataprune.tables.parquet import write_parquet

        write_parquet(path, table, metadata or {})
    elif path.suffix.lower() == ".csv":
        write_csv(path, table)
    else:
        raise invalid(str(path), "end in .parquet or .csv", repr(path.suffix))


def read_table(path: Path, columns: Sequence[str] | None = None, *, as_text: bool = False, lenient: bool = False) -> Table:
    """Read `.parquet`, `.csv`, `.tsv`, `.jsonl`, or `.npy` of one column as the column `value`.

    In CSV and TSV each column becomes integers, floats, booleans or text, whichever fits all its cells (`007` is text, an empty
    cell among numbers NaN); the columns in `TEXT_COLUMNS` are always text. Missing numbers in Parquet become NaN.

    If `columns` are named, only these are read, in this order; `as_text` leaves the cells of CSV as they stand there. What is
    `lenient` leaves out what cannot be read: columns of lists in Parquet, rows of CSV of another length than the header's, if few.
    """
    kind = regular(path).suffix.lower()
    if kind == ".npy":
        values = read_npy(path)
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.ndim != 1:
            raise invalid(str(path), "hold one column", f"an array of shape {values.shape}")
        return Table(dict.fromkeys(chosen(path, ["value"], columns), values))
    if kind in CSV:
        faults: dict[int, str] = {}
        found = Table(read_csv(path, columns, as_text, faults if lenient else None), faults=faults)
        if 2 * len(faults) > len(next(iter(found.columns.values()), ())):
            return read_table(path, columns)  # which refuses the first: the header is of another table
        return found
    if kind in JSON_LINES:
        return Table(read_jsonl(path, columns))
    if kind == ".parquet":
        from dataprune.tables.parquet import read_parquet

        cells, metadata, unread = read_parquet(path, columns, lenient)
        return Table(cells, metadata, unread=unread)
    raise invalid(str(path), f"end in {', '.join(READABLE)} or .npy", repr(path.suffix))


def column_names(path: Path) -> list[str]:
    """List a table's columns; only JSON lines are read for that."""
    kind = regular(path).suffix.lower()
    if kind == ".parquet":
        return list(_parquet_kinds(path))
    if kind in JSON_LINES:
        return list(read_jsonl(path, None))
    return next(csv_rows(path)) if kind in CSV else ["value"]


def _parquet_kinds(path: Path) -> dict[str, str]:
    from dataprune.tables.parquet import kinds_of, opened

    with opened(path) as file:
        return kinds_of(file.schema_arrow)


def _column(name: str, values: Sequence[object] | Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, " rows"]:
    array = values if isinstance(values, np.ndarray) else np.fromiter(values, object, len(values))
    if array.ndim != 1:
        raise invalid(name, "be a column", f"an array of shape {array.shape}")
    if array.dtype.kind in "UOT":
        cells: list[Any] = array.tolist()
        is_text = not cells or isinstance(cells[0], str)
        for row, cell in enumerate(cells):
            if not isinstance(cell, str if is_text else (int, float, np.number, np.bool_)):
                raise invalid(name, "hold only numbers or only text", f"{cell!r} in row {row}")
            if isinstance(cell, str):
                unicode_text(cell, name)
        if is_text:
            return texts(cells)
        array = np.array(cells)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise invalid(name, "hold numbers of at most 64 bits or text", array.dtype)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table from which one column is wanted."""

    source: str  # as it was named, for messages
    names: tuple[str, ...]  # of all columns there are
    columns: Mapping[str, Shaped[np.ndarray, " rows"]]  # as read: the cells of CSV as they stand there, of others numbers as such
    column: str | None = None  # the one that is wanted; None where that depends on which of them names the rows
    quoted: frozenset[str] = frozenset()  # columns that say they are text: of CSV those whose first cell stands in quotes

    @property
    def n_rows(self) -> int:
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
        if self.column is None and (len(others) != 1 or others[0] not in self.columns):  # of lists, say
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
    """Read the column that `FILE:COLUMN` names, with those that may name its rows; also of JSON of FiftyOne or Label Studio. Of a
    bare `FILE` it is the `default` or, where that is absent, the only column beside the key."""
    path, column = split_spec(spec)
    kind = path.suffix.lower()
    said = read_annotations(path) if kind == ".json" else None
    names = column_names(path) if said is None else list(said)
    if column is not None and column not in names:
        raise unknown_choice(f"column of {path}", column, names)
    column = column or next((name for name in (default, *(LABELS if said else ())) if name in names), None)
    wanted = None
    if kind == ".parquet":
        flat = ("text", "integer", "boolean", *(() if column else ("float", "date")))
        wanted = [name for name, kind in _parquet_kinds(path).items() if kind in flat]
    elif kind in CSV and column:
        first = zip(names, next(islice(csv_rows(path), 1, None), []), strict=False)
        wanted = [name for name, cell in first if name == column or is_key(name) or not _FRACTION.fullmatch(cell)]
    if column and wanted is not None and column not in wanted:
        wanted.append(column)
    columns = read_table(path, wanted, as_text=True).columns if said is None else {name: texts(one) for name, one in said.items()}
    if not columns:
        raise invalid(str(spec), "have a column of numbers or text", join_some(names, most=30))
    if kind not in CSV:
        quoted = frozenset(name for name, values in columns.items() if values.dtype == object)
        return Sheet(str(spec), tuple(names), columns, column, quoted)
    with path.open(encoding="utf-8-sig", newline="") as file:
        file.readline()
        cells = _CELL.findall("".join(line for _, line in zip(range(100), file, strict=False)))
    quoted = frozenset(name for name, cell in zip(names, cells, strict=False) if cell.startswith('"'))
    return Sheet(str(spec), tuple(names), columns, column, quoted)


def split_spec(spec: str | Path) -> tuple[Path, str | None]:
    """Tell the file from the column in `FILE` or `FILE:COLUMN`; an existing file of that whole name is meant first."""
    if isinstance(spec, Path) or exists(Path(spec)):
        return Path(spec), None
    for at in range(len(spec) - 1, 0, -1):
        if spec[at] == ":" and exists(Path(spec[:at])):
            return Path(spec[:at]), spec[at + 1 :]
    raise invalid(spec, "be an existing FILE or FILE:COLUMN", "no such file")
