"""Columns in files of lines: CSV, TSV (whose cells tabulators separate), and JSON lines, one object a line."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import invalid
from dataprune.tables.files import chosen, reading, texts, unicode_text

TEXT_COLUMNS = frozenset({"id", "reason", "other_id"})  # columns of a CSV file that are text whatever they look like
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,19})", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:(?:(?:0|[1-9]\d{0,19})(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|nan|inf)", re.ASCII | re.IGNORECASE)
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def write_csv(path: Path, table: Mapping[str, Shaped[np.ndarray, " rows"]]) -> None:
    """Write a header and the rows: text quoted, numbers so that they are read back exactly."""
    cells: list[Iterable[str]] = [
        # Of a NumPy scalar, str is the shortest text that gives the same value back in that precision.
        np.where(values, "true", "false") if values.dtype == bool else map(_quoted if values.dtype == object else str, values)
        for values in table.values()
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(name if re.fullmatch(r"\w+", name) else _quoted(unicode_text(name, "column")) for name in table) + "\n")
        file.writelines(",".join(row) + "\n" for row in zip(*cells, strict=True))


def _quoted(text: str) -> str:
    # Always, so that an empty text is not an empty cell and no reader takes a formula for more than text.
    return '"' + text.replace('"', '""') + '"'


def csv_rows(path: Path, faults: dict[int, str] | None = None) -> Iterator[list[str]]:
    """Yield the header, then the rows, each of the header's length. A row of another length is refused or, given `faults`, said
    there by its number from 0 and left out."""
    mark, called = ("\t", "tabulators") if path.suffix.lower() == ".tsv" else (",", "commas")
    with reading(path, "CSV file in UTF-8", csv.Error), path.open(encoding="utf-8-sig", newline="") as file:
        if file.buffer.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise invalid(str(path), "be text in UTF-8", "UTF-16", "Save it as UTF-8: iconv -f UTF-16 -t UTF-8.")
        file.seek(0)
        reader = csv.reader(file, delimiter=mark, skipinitialspace=True, strict=True)
        rows = (row for row in reader if row)
        header = next(rows, None)
        if header is None or len(set(header)) < len(header):
            raise invalid(str(path), "begin with a header that names each column once", header or "an empty file")
        if len(header) == 1 and (other := next((one for one in ",;|\t" if one in header[0]), None)):
            cure = "Save it so; a table with tabulators is called .tsv."
            raise invalid(str(path), f"have cells separated by {called}", f"{other!r} in its header", cure)
        yield header
        for number, row in enumerate(rows):
            if len(row) == len(header):
                yield row
            elif faults is None:
                raise invalid(str(path), f"have {len(header)} cells in each row, as its header", f"{len(row)} in row {number + 1}")
            else:
                faults[number] = f"has {len(row)} of {len(header)} cells, in line {reader.line_num:,} of {path.name}"


def read_csv(
    path: Path, columns: Sequence[str] | None, as_text: bool = False, faults: dict[int, str] | None = None
) -> dict[str, Shaped[np.ndarray, " rows"]]:
    """Read columns, each as the simplest type that fits all its cells, or as text; `faults` as of `csv_rows`."""
    rows = csv_rows(path, faults)
    header = next(rows)
    places = {name: header.index(name) for name in chosen(path, header, columns)}
    picked: dict[str, list[str]] = {name: [] for name in places}
    for row in rows:
        for name, at in places.items():
            picked[name].append(row[at])
    return {name: texts(cells) if as_text else inferred(name, cells) for name, cells in picked.items()}


def inferred(name: str, cells: list[str]) -> Shaped[np.ndarray, " rows"]:
    """Read a column's cells as integers, floats, booleans or text: the first that fits them all."""
    filled = [cell for cell in cells if cell]
    if name in TEXT_COLUMNS or not filled:
        return texts(cells)
    if all(map(_INTEGER.fullmatch, cells)):
        integers = [int(cell) for cell in cells]
        for dtype in (np.int64, np.uint64):
            if np.iinfo(dtype).min <= min(integers) and max(integers) <= np.iinfo(dtype).max:
                return np.array(integers, dtype)
        return texts(cells)
    if all(map(_FLOAT.fullmatch, filled)):
        return np.array([float(cell or "nan") for cell in cells])
    return np.array([_BOOLEANS[cell] for cell in cells]) if _BOOLEANS.keys() >= set(cells) else texts(cells)


def read_jsonl(path: Path, columns: Sequence[str] | None) -> dict[str, Shaped[np.ndarray, " rows"]]:
    """Read columns, each as integers, floats, booleans or text if all its cells are; others, lists say, stay Python's objects. What
    is missing or null is NaN among numbers, an empty text among texts, else None."""
    rows: list[dict[str, Any]] = []
    with reading(path, "JSON-lines file in UTF-8"), path.open(encoding="utf-8-sig") as file:
        for number, line in ((number, line) for number, line in enumerate(file, start=1) if line.strip()):
            row = json.loads(line, object_pairs_hook=lambda pairs, number=number: _object(pairs, path, number))
            if not isinstance(row, dict):
                raise invalid(str(path), "hold an object in each line", f"a {type(row).__name__} in line {number}")
            rows.append(row)
    names = chosen(path, dict.fromkeys(name for row in rows for name in row), columns)
    return {name: _typed(name, [row.get(name) for row in rows]) for name in names}


def _object(pairs: list[tuple[str, Any]], path: Path, number: int) -> dict[str, Any]:
    """Return an object each of whose names stands once, and whose texts are Unicode."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise invalid(str(path), "name each value once", f"{[name for name, _ in pairs]} in line {number}")
    for text in (*found, *found.values()):
        if isinstance(text, str):
            unicode_text(text, f"line {number} of {path}")
    return found


def _typed(name: str, cells: list[Any]) -> Shaped[np.ndarray, " rows"]:
    filled = {type(cell) for cell in cells if cell is not None}
    if filled == {str} or (name in TEXT_COLUMNS and filled <= {str, int}):
        return texts(["" if cell is None else str(cell) for cell in cells])
    if None not in cells and (filled == {bool} or (filled == {int} and all(-(2**63) <= cell < 2**63 for cell in cells))):
        return np.array(cells, bool if filled == {bool} else np.int64)
    if filled and filled <= {int, float}:
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    return np.fromiter(cells, object, len(cells))
