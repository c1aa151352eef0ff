"""Tables of columns in files of whatever format, by their suffix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import invalid, join_some
from dataprune.tables.csv import csv_rows, read_csv, write_csv
from dataprune.tables.files import chosen, exists, regular, texts, unicode_text
from dataprune.tables.jsonl import read_jsonl
from dataprune.tables.npy import read_npy

JSON_LINES = (".jsonl", ".ndjson")
READABLE = (".csv", ".tsv", *JSON_LINES, ".parquet")
"""Endings of tables of named columns."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name, text as object arrays of str.

    `metadata` holds what a Parquet file says of each; `faults` say which rows of a CSV file, from 0, are left out and why.
    """

    columns: dict[str, Shaped[np.ndarray, " rows"]]
    metadata: dict[str, dict[str, object]]
    faults: dict[int, str] = field(default_factory=dict)


def write_table(
    path: Path,
    columns: Mapping[str, Sequence[object] | Shaped[np.ndarray, "..."]],
    metadata: Mapping[str, Mapping[str, object]] | None = None,
) -> None:
    """Write columns as `.parquet` or `.csv`, by the suffix, in place; equal input gives equal bytes.

    Args:
        columns: booleans, integers, floats (up to 64 bits) or Unicode text, all of one length.
        metadata: what to say of a column, as JSON; kept by Parquet only.
    """
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


def read_table(path: Path, columns: Sequence[str] | None = None, *, as_text: bool = False, allow_faults: bool = False) -> Table:
    """Read `.parquet`, `.csv`, `.tsv`, `.jsonl`, or a one-dimensional `.npy` as the column `value`.

    In CSV and TSV each column becomes integers, floats, booleans or text, whichever fits all its cells (`007` is text, an empty
    cell among numbers NaN); the columns in `TEXT_COLUMNS` are always text. Missing numbers in Parquet become NaN.

    If `columns` are named, only these are read, in this order; `as_text` leaves the cells of CSV as they stand there;
    `allow_faults` leaves out rows of CSV of another length than the header's, as long as they are few, instead of refusing them.
    """
    kind = regular(path).suffix.lower()
    if kind == ".npy":
        values = read_npy(path)
        if values.ndim != 1:
            raise invalid(str(path), "hold one column", f"an array of shape {values.shape}")
        return Table(dict.fromkeys(chosen(path, ["value"], columns), values), {})
    if kind in (".csv", ".tsv"):
        faults: dict[int, str] = {}
        found = Table(read_csv(path, columns, as_text, faults if allow_faults else None), {}, faults)
        if 2 * len(faults) > len(next(iter(found.columns.values()), ())):
            list(csv_rows(path))  # is of no such columns throughout: refused with its first row
        return found
    if kind in JSON_LINES:
        return Table(read_jsonl(path, columns), {})
    if kind == ".parquet":
        from dataprune.tables.parquet import read_parquet

        return Table(*read_parquet(path, columns))
    raise invalid(str(path), f"end in {', '.join(READABLE)} or .npy", repr(path.suffix))


def column_names(path: Path) -> list[str]:
    """List a table's columns; only JSON lines are read for that."""
    kind = regular(path).suffix.lower()
    if kind == ".parquet":
        from dataprune.tables import parquet

        return parquet.column_names(path)
    if kind in JSON_LINES:
        return list(read_jsonl(path, None))
    return next(csv_rows(path)) if kind in (".csv", ".tsv") else ["value"]


def flat_columns(path: Path) -> list[str] | None:
    """List those columns of a table that can be read; None stands for all."""
    if regular(path).suffix.lower() != ".parquet":
        return None
    from dataprune.tables import parquet

    return parquet.column_names(path, flat=True)


def _column(name: str, values: Sequence[object] | Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, " rows"]:
    """Return the column as a native array of numbers, or as an object array of str."""
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


def split_spec(spec: str | Path) -> tuple[Path, str | None]:
    """Tell the file from the column in `FILE` or `FILE:COLUMN`; an existing file of that whole name is meant first."""
    if isinstance(spec, Path) or exists(Path(spec)):
        return Path(spec), None
    for at in range(len(spec) - 1, 0, -1):
        if spec[at] == ":" and exists(Path(spec[:at])):
            return Path(spec[:at]), spec[at + 1 :]
    raise invalid(spec, "be an existing FILE or FILE:COLUMN", "no such file")
