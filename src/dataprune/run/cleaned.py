"""How does what was decided about suspects get in from a person's file, and out as a cleaned set?

Knows the columns of both files and their line numbers. What is decided without a person is in `noise.decide`; folders are written
by `kept`. The source is only read.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from dataprune import store, tables
from dataprune.data import Dataset
from dataprune.data.labels import resolve
from dataprune.errors import InputError, listed, must
from dataprune.noise.decide import DECISIONS, Decisions
from dataprune.noise.suspects import Suspects
from dataprune.run.kept import write_folder
from dataprune.selection import Kept
from dataprune.selection.ids import ids_sha256
from dataprune.tables import write_table

FEW = 5  # wrong lines that a message names


def read_decisions(
    path: Path,
    ids: Sequence[str],
    labels: Int64[np.ndarray, " examples"],
    classes: tuple[str, ...],
    found: Suspects | None = None,
) -> Decisions:
    """Read what a person decided: columns `id` and `decision`, and where one is to be relabelled the new label.

    An empty cell, and an example without a row, is kept. The new label (a name or an index) is looked for in the column
    `new_label`, then in `label` if there is a column `given_label` (as in the files that `write_labels` makes), then in
    `suggested_label`, and at last in `found`.

    Args:
        path: .csv or .parquet.
        ids: the examples', in source order.
        labels: their given labels.
        classes: names of the classes.
        found: what was suggested for each example.

    Raises:
        InputError: a missing column; with line numbers: other words, ids that are unknown or twice, no or unknown new labels.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise must("decisions", "end in .csv or .parquet", repr(str(path)))
    table = tables.read_table(path).columns
    for name in ("id", "decision"):
        if name not in table:
            cure = f"It has {listed(table, most=20)}."
            raise must("decisions", f"have a column `{name}` in {path}", "none", cure)
    names = [str(one) for one in table["id"].tolist()]
    words = [_text(cell).lower() or "keep" for cell in table["decision"].tolist()]
    wrong = [row for row, word in enumerate(words) if word not in DECISIONS]
    _refuse(path, wrong, f"decisions must be one of {', '.join(DECISIONS)}", table["decision"])
    place = {str(name): row for row, name in enumerate(ids)}
    _refuse(path, [row for row, name in enumerate(names) if name not in place], "ids must be those of the run", table["id"])
    seen: set[str] = set()
    twice = [row for row, name in enumerate(names) if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    _refuse(path, twice, "each id must have one row", table["id"])
    decision = np.full(len(ids), "keep", dtype=object)
    where = np.array([place[name] for name in names], np.int64)
    decision[where] = words
    after = labels.copy()
    moved = [row for row, word in enumerate(words) if word == "relabel"]
    for row, label in zip(moved, _new_labels(path, table, moved, where, classes, found), strict=True):
        after[where[row]] = label
    return Decisions(np.asarray(ids, np.dtypes.StringDType()), labels, after, decision, classes)


def write_labels(decided: Decisions, out: Path) -> None:
    """Write `id, label, given_label, decision`, a row for each example, dropped ones too; labels are class names.

    `--labels` takes the file and leaves out the examples that it drops.

    Raises:
        InputError: another ending, no such folder, or there is something at `out`.
        MachineError: no room, or no permission.
    """
    check_labels_file(out)
    names = np.array(decided.classes, dtype=object)
    table = {"id": decided.ids, "label": names[decided.labels], "given_label": names[decided.given], "decision": decided.decision}
    with store.writing(out) as temporary:
        write_table(temporary, table)


def check_labels_file(out: Path) -> None:
    """Refuse a name that could not be written, or that is taken, before any work."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise must("out", "end in .csv or .parquet", repr(str(out)), "A folder of pictures is written by --copy-to or --link-to.")
    if not out.parent.is_dir():
        raise must("out", "lie in a folder that exists", str(out.parent))
    if os.path.lexists(out):
        raise must("out", "not exist yet", str(out), "Choose another name, or remove it.")


def write_cleaned(decided: Decisions, dataset: Dataset, out: Path, how: Literal["copy", "link"]) -> None:
    """Make a folder `class/file` of the examples that stay, under their labels after it, by copy or by symbolic link.

    Raises:
        InputError: `out` exists, nothing stays, or the data are no pictures or have no files to link to.
        MachineError: no room, or no permission.
    """
    write_folder(_kept(decided), dataset.with_labels(decided.labels, decided.classes), out, how)


def _kept(decided: Decisions) -> Kept:
    rows = decided.rows
    if not len(rows):
        raise InputError("every example would be dropped. Keep some.")
    ids = decided.ids[rows]
    return Kept(
        rows=rows,
        ids=ids,
        labels=decided.labels[rows],
        scores=None,
        n_total=len(decided),
        strategy="decisions",
        keep=len(rows) / len(decided),
        spec={"strategy": "decisions", "ids_sha256": ids_sha256(ids.tolist())},
    )


def _new_labels(
    path: Path,
    table: dict[str, np.ndarray],
    moved: list[int],
    where: Int64[np.ndarray, " rows"],
    classes: tuple[str, ...],
    found: Suspects | None,
) -> list[int]:
    """Give the new label of each row that is relabelled."""
    columns = ["new_label", *(["label"] if "given_label" in table else []), "suggested_label"]
    texts = [[_text(table[name][row]) for name in columns if name in table] for row in moved]
    cells = [next((text for text in row if text), "") for row in texts]
    if found is not None:
        cells = [cell or classes[int(found.suggested_label[where[row]])] for row, cell in zip(moved, cells, strict=True)]
    missing = [row for row, cell in zip(moved, cells, strict=True) if not cell]
    _refuse(path, missing, "to relabel, give the new label in the column new_label", table["decision"])
    labels = [_label(cell, classes) for cell in cells]
    unclear = [row for row, label in zip(moved, labels, strict=True) if label is None]
    shown = np.array([""] * len(where), dtype=object)
    shown[moved] = cells
    _refuse(path, unclear, f"new labels must be names or indices of the classes ({listed(classes)})", shown)
    return [label for label in labels if label is not None]


def _label(cell: str, classes: tuple[str, ...]) -> int | None:
    """Read a class name, or an index where no class is called by it."""
    if cell in classes:
        return classes.index(cell)
    try:
        return int(resolve(np.array([int(cell)]), classes)[0][0])
    except (ValueError, OverflowError):  # InputError is a ValueError
        return None


def _refuse(path: Path, rows: list[int], requirement: str, cells: np.ndarray) -> None:
    """Raise with the lines of the first few wrong rows, if there are any."""
    if rows:
        lines = _lines(path, rows[:FEW])
        shown = listed((f"{str(cells[row])[:40]!r} in {line}" for row, line in zip(rows, lines, strict=False)), len(rows), FEW)
        raise InputError(f"{path}: {requirement}, got {shown}.")


def _lines(path: Path, rows: list[int]) -> list[str]:
    """Name rows as an editor does: by the line of a CSV file where they begin, which cells with line ends move down."""
    if path.suffix.lower() != ".csv":
        return [f"row {row}" for row in rows]
    starts, before = [], 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        for cells in reader:
            if cells:
                starts.append(before + 1)
            before = reader.line_num
    return [f"line {starts[row + 1]}" for row in rows]


def _text(cell: Any) -> str:
    """Read a cell as a person wrote it; a number that became a float among empty cells is whole again."""
    if isinstance(cell, float):
        return "" if np.isnan(cell) else str(int(cell)) if cell.is_integer() else str(cell)
    return str(cell).strip()
