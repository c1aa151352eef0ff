"""What a person decided about labels, read from a file; and the table of labels to look at, filled in anywhere, extended."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from dataprune import store, tables
from dataprune.data.classes import resolve
from dataprune.errors import InputError, invalid, join_some
from dataprune.noise.audit import Audit
from dataprune.noise.decide import DECISIONS, Decisions
from dataprune.noise.suspects import Suspects
from dataprune.tables.annotations import LABELS, read_annotations
from dataprune.tables.join import key_column, places

FEW = 5  # wrong lines that a message names
SAID = ("decision", "new_label", "label", "given_label", "suggested_label", "reason", "split")  # columns that name no example
TO_LOOK_AT = ("id", "given_label", "suggested_label", "reason", "decision", "new_label")


def read_decisions(
    path: Path, ids: Sequence[str], labels: Int64[np.ndarray, " examples"], classes: tuple[str, ...], found: Suspects | None = None
) -> Decisions:
    """Read what a person decided: columns that name the example and the `decision`; for what is to be relabelled the new label.

    An empty cell, and an example without a row, is kept. Such columns have a file that a person wrote, the table of a finding, what
    `write_cleaned` wrote, and what a page or a review saved; of its column `split` only train counts. In JSON of FiftyOne or Label
    Studio every label relabels. To relabel by the given label is to keep. The new label (a name, or an index where that cannot be a
    name) is looked for in `new_label`; then in `label`, if that is another one than the given, and the file is no table of a
    finding, where it is the given one; then among what is suggested, in the file or in `found`.

    Raises:
        InputError: a missing column; with line numbers: other words, ids that are unknown or twice, given labels that are not the
            run's, no or unknown new labels.
    """
    return read_said(path, ids, labels, classes, found)[0]


def read_said(
    path: Path, ids: Sequence[str], labels: Int64[np.ndarray, " examples"], classes: tuple[str, ...], found: Suspects | None = None
) -> tuple[Decisions, dict[int, str]]:
    """Read as `read_decisions`; return also what the file decides, by the places of its examples, in its order, "" for nothing."""
    table, place, words = _checked(path, ids)
    sheet = _Sheet(path, table, np.array(place, np.int64), classes)
    sheet.check_given(labels)
    decision, after = np.full(len(ids), "keep", dtype=object), labels.copy()
    decision[sheet.where] = [word or "keep" for word in words]
    moved = [row for row, word in enumerate(words) if word == "relabel"]
    after[sheet.where[moved]] = sheet.new_labels(moved, labels, found)
    decision[(decision == "relabel") & (after == labels)] = "keep"
    decided = Decisions(np.asarray(ids, np.dtypes.StringDType()), labels, after, decision, classes)
    return decided, {row: word and str(decision[row]) for row, word in zip(place, words, strict=True)}


def update_table(
    sample: Audit, out: str | Path, decisions: str | Path | None = None, *, only_asked: bool = False
) -> dict[int, str]:
    """Write the labels to look at as .csv or .parquet, in their order, and return the decision about each row ("" is none yet).

    What is in the file already stays: decisions, columns and rows of one's own, examples that the sample does not ask for.

    Args:
        decisions: what a person decided elsewhere, as `read_decisions` takes it; it goes into the table, and overrules it.
        only_asked: take of it what the sample asks for, no more.

    Raises:
        InputError: what `read_decisions` refuses, of what is there already too.
    """
    out, found = tables.check_output(out, tables.TABLES), sample.found

    def read(path: Path) -> tuple[Decisions, dict[int, str]]:
        return read_said(path, ids, found.labels, found.classes, found)

    ids, names = [str(one) for one in found.ids.tolist()], np.array(found.classes, dtype=object)
    lines: dict[int, dict[str, str]] = {row: {} for row in sample.rows.tolist()}
    columns, others = list(TO_LOOK_AT), list[dict[str, str]]()
    if out.exists():
        before = tables.read_table(out, as_text=True).columns
        columns = [*before, *(name for name in TO_LOOK_AT if name not in before)]
        of_train = _of_train(before)
        others = [{name: str(cells[at]) for name, cells in before.items()} for at in np.flatnonzero(~of_train).tolist()]
        for at, row in zip(np.flatnonzero(of_train).tolist(), read(out)[1], strict=True):
            lines.setdefault(row, {}).update({name: str(cells[at]) for name, cells in before.items()})
    if decisions is not None:
        decided, said = read(Path(decisions))
        for row, word in said.items():
            if word and (row in lines or not only_asked):
                new = names[decided.labels[row]] if word == "relabel" else ""
                lines.setdefault(row, {}).update(decision=word, new_label=new)
    for row, line in lines.items():
        fresh = (ids[row], names[found.labels[row]], names[found.suggested_label[row]], found.reason[row], "", "")
        for column, value in zip(TO_LOOK_AT, fresh, strict=True):
            line.setdefault(column, str(value))
    table = {column: np.array([line.get(column, "") for line in (*lines.values(), *others)], dtype=object) for column in columns}
    with store.writing(out) as temporary:
        tables.write_table(temporary, table)
    return read(out)[1]


def _of_train(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return which rows of decisions speak of train: all, but where a column `split` names another."""
    if "split" in table and "decision" in table:
        return np.isin(table["split"].astype(str), ("", "train"))
    return np.ones(len(next(iter(table.values()), ())), bool)


def _checked(path: Path, ids: Sequence[str]) -> tuple[dict[str, np.ndarray], list[int], list[str]]:
    """Return a table, of each row the place of its example, and what is decided about it."""
    if path.suffix.lower() not in (*tables.TABLES, ".json"):
        raise invalid("decisions", f"end in {', '.join(tables.TABLES)} or .json", repr(str(path)))
    table = _annotated(path) if path.suffix.lower() == ".json" else tables.read_table(path, as_text=True).columns
    of_train = _of_train(table)
    table = {name: cells[of_train] for name, cells in table.items()}
    key = key_column({name: list(map(str, cells.tolist())) for name, cells in table.items() if name not in SAID}, ids, path)
    for name in (key or "id", "decision"):
        if name not in table:
            raise invalid("decisions", f"have a column `{name}` in {path}", "none", f"It has {join_some(table, most=20)}.")
    assert key is not None
    words = [_text(cell).lower() for cell in table["decision"].tolist()]
    place = places(ids, list(map(str, table[key].tolist()))).places
    seen: set[int] = set()
    wrong = [row for row, word in enumerate(words) if word not in ("", *DECISIONS)]
    _refuse(path, wrong, f"decisions must be one of {', '.join(DECISIONS)}", table["decision"])
    _refuse(path, [row for row, one in enumerate(place) if one < 0], "ids must be those of the run", table[key])
    twice = [row for row, one in enumerate(place) if one in seen or seen.add(one)]  # type: ignore[func-returns-value]
    _refuse(path, twice, "each id must have one row", table[key])
    return table, place, words


def _annotated(path: Path) -> dict[str, np.ndarray]:
    """Read the labels that a person gave in FiftyOne or Label Studio: each is the new one."""
    name, *said = (columns := read_annotations(path))
    label = next((one for one in LABELS if one in said), said[0])
    found = {"id": columns[name], "new_label": columns[label], "decision": ["relabel" if one else "" for one in columns[label]]}
    return {column: np.array(cells, object) for column, cells in found.items()}


@dataclass(frozen=True, eq=False)
class _Sheet:
    """The table that a person filled in, and of each of its rows the example."""

    path: Path
    table: dict[str, np.ndarray]
    where: Int64[np.ndarray, " rows"]
    classes: tuple[str, ...]

    @property
    def given(self) -> str:
        """The column of given labels; "" where none says. That of a finding is `label`, which elsewhere is the new one."""
        is_finding = "suggested_label" in self.table and "label" in self.table
        return "given_label" if "given_label" in self.table else "label" if is_finding else ""

    def check_given(self, labels: Int64[np.ndarray, " examples"]) -> None:
        """Refuse a table about other labels than the run's, where it says which it is about."""
        if self.given:
            cells = self.table[self.given]
            texts = [self._label(cell) for cell in cells.tolist()]
            other = [row for row, text in enumerate(texts) if text and self._class(text) != labels[self.where[row]]]
            cure = " It is about other labels: take another file."
            _refuse(self.path, other, f"the column {self.given} must hold the labels of the run", cells, cure)

    def new_labels(
        self, moved: list[int], labels: Int64[np.ndarray, " examples"], found: Suspects | None
    ) -> Int64[np.ndarray, " moved"]:
        """Return the new label of each row that is relabelled."""
        cells = [self._new(row, int(labels[self.where[row]]), found) for row in moved]
        shown = np.full(len(self.where), "", dtype=object)
        shown[moved] = [text for text, _ in cells]
        missing = [row for row in moved if not shown[row]]
        _refuse(self.path, missing, "to relabel, give the new label in the column new_label", self.table["decision"])
        unclear = [row for row, (_, label) in zip(moved, cells, strict=True) if label is None]
        _refuse(self.path, unclear, f"new labels must be names or indices of the classes ({join_some(self.classes)})", shown)
        return np.array([label for _, label in cells], np.int64)

    def _new(self, row: int, given: int, found: Suspects | None) -> tuple[str, int | None]:
        """Return the text of a row's new label and which class that is; an empty text where there is none."""
        for column in ("new_label", "label", "suggested_label"):
            text = self._label(self.table[column][row]) if column in self.table else ""
            if text and not (column == "label" and (self.given == "label" or self._class(text) == given)):
                return text, self._class(text)
        if found is None:
            return "", None
        label = int(found.suggested_label[self.where[row]])
        return self.classes[label], label

    def _label(self, cell: Any) -> str:
        """Read a cell that holds a label: as it stands, where a class is called so, spaces and all."""
        return str(cell) if str(cell) in self.classes else _text(cell)

    def _class(self, text: str) -> int | None:
        """Read a class name, or an index where no class is called by it."""
        if text in self.classes:
            return self.classes.index(text)
        try:  # a number among empty cells became 2.0 in other programs
            return int(resolve(np.array([int(text.removesuffix(".0"))]), self.classes)[0][0])
        except (ValueError, OverflowError):  # InputError is a ValueError
            return None


def _refuse(path: Path, rows: list[int], requirement: str, cells: np.ndarray, cure: str = "") -> None:
    """Raise with the lines of the first few wrong rows, if there are any."""
    if rows:
        lines = _lines(path, rows[:FEW])
        shown = join_some((f"{str(cells[row])[:40]!r} in {line}" for row, line in zip(rows, lines, strict=False)), len(rows), FEW)
        raise InputError(f"{path}: {requirement}, got {shown}.{cure}")


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
