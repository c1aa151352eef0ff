"""Columns in JSON-lines files: one object a line."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import invalid
from dataprune.tables.csv import TEXT_COLUMNS
from dataprune.tables.files import chosen, reading, texts, unicode_text


def read_jsonl(path: Path, columns: Sequence[str] | None) -> dict[str, Shaped[np.ndarray, " rows"]]:
    """Read columns, each as integers, floats, booleans or text if all its cells are; others, lists say, stay Python's objects.

    What is missing or null is NaN among numbers, an empty text among texts, else None.
    """
    rows: list[dict[str, Any]] = []
    with reading(path, "JSON-lines file in UTF-8"), path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
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
    if name in TEXT_COLUMNS and filled <= {str, int}:
        return texts(["" if cell is None else str(cell) for cell in cells])
    if filled == {str}:
        return texts(["" if cell is None else cell for cell in cells])
    if filled == {bool} and None not in cells:
        return np.array(cells)
    if filled == {int} and None not in cells and all(-(2**63) <= cell < 2**63 for cell in cells):
        return np.array(cells, np.int64)
    if filled and filled <= {int, float}:
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    return np.fromiter(cells, object, len(cells))
