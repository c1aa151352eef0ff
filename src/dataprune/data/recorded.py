"""Tables whose rows are the examples themselves: texts with labels, or rows of numbers, categories and dates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import numpy as np

from dataprune.data.classes import Listing, gather, sole_is_train
from dataprune.data.dataset import Records, Skipped
from dataprune.data.decode import SUFFIXES
from dataprune.data.labels import Reading, label_column, plain_name, split_column
from dataprune.data.source import SPLIT_NAMES, SPLITS, Source
from dataprune.data.vectors import kind_of
from dataprune.errors import invalid, join_some, unknown_choice
from dataprune.tables import Table

_TEXTS = {
    *("text", "texts", "sentence", "content", "review", "reviewtext", "reviewbody", "question", "query", "title", "headline"),
    *("utterance", "comment", "document", "body", "message", "tweet", "abstract", "prompt", "instruction", "post"),
}
"""What a column of texts is called, in lower case and without separators."""
_IDS = frozenset(("id", "index", "rowid", "rownumber", "uuid", "unnamed:0", ""))
FEW = 20  # rows or values below which nothing is guessed of labels
SAMPLE = 200
_MEASURED = "a measured number: a regression?"
_REGRESSION = "Regression is not supported: cut the numbers into classes. "

Cells = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Roles:
    """Which columns hold what."""

    label: str | None
    split: str | None
    content: tuple[str, ...]
    ids: str | None
    is_text: bool


def records_source(
    kind: str, path: str, given: Mapping[str, Table], how: Reading, classes: tuple[str, ...] = (), notes: Sequence[str] = ()
) -> Source | None:
    """Return texts or rows with their labels; None where a table seems to be of something else, pictures say. Given is the table of
    each split, or one that may have a column of splits; `classes` are those that indices stand for."""
    sheets = {
        split: Table({name: _typed(cells) for name, cells in one.columns.items()}, {}, one.faults) for split, one in given.items()
    }
    first = next(iter(sheets.values()))
    roles, said = _roles(first.columns, how, len(sheets) == 1, next(iter(given.values())).unread)
    if roles is None:
        return None
    rows = {split: _numbers(one) for split, one in sheets.items()}
    if roles.split is not None:
        words = np.array([SPLIT_NAMES[str(cell).casefold()] for cell in first.columns[roles.split].tolist()])
        rows = {split: _numbers(first)[words == split] for split in SPLITS if split in words}
        found = {split: {name: one[words == split] for name, one in first.columns.items()} for split in rows}
        sheets = {split: Table(cells, {}, {} if at else first.faults) for at, (split, cells) in enumerate(found.items())}

    def named(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if roles.label is None or classes or "train" not in values:
            return values
        _refuse_no_classes(roles.label, values["train"])
        is_one = len({one.dtype.kind for one in values.values()}) == 1
        every = np.concatenate(list(values.values())) if is_one else np.zeros(0)
        are_whole = every.dtype.kind in "iub" and _are_indices(every)  # the indices of classes; all else becomes text
        return values if are_whole else {split: as_text(array) for split, array in values.items()}

    listings = sole_is_train({split: _listing(sheet, rows[split].tolist(), roles) for split, sheet in sheets.items()})
    return gather(kind, path, listings, (*notes, *said), classes, named)


def _roles(cells: Cells, how: Reading, is_one: bool, unread: Mapping[str, str]) -> tuple[_Roles | None, list[str]]:
    if how.text_column is not None and how.text_column not in cells:
        raise unknown_choice("text_column", how.text_column, list(cells))
    if how.text_column is None and any(map(_names_pictures, cells.values())):
        return None, []
    split = split_column(cells, [name for name in (how.text_column, how.label_column) if name]) if is_one else None
    rest = [name for name in cells if name not in (how.text_column, split)]
    label, notes = label_column(rest, cells.__getitem__, how.label_column)
    ids = _id_column({name: cells[name] for name in rest if name != label})
    rest = [name for name in rest if name != label]
    text = how.text_column or _text_column({name: cells[name] for name in rest})
    rest = [name for name in rest if name != text and not _is_id(name, cells[name])]
    if text is not None:
        if cells[text].dtype != object:
            raise invalid("text_column", "name a column of texts", f"numbers in {text}")
        if label is None and len(rest) == 1:
            label, rest = rest[0], []
            notes.append(f"the labels are taken from the column {label}")
        used = [text]
        notes.append(f"the texts are taken from the column {text}")
    else:
        used = [name for name in rest if cells[name].dtype != object or all(type(one) is str for one in cells[name].tolist())]
        used = [name for name in used if kind_of(cells[name]) != "nothing" and not _are_names(cells[name])]
        if label is None or not used:
            return None, []
        rest = [name for name in cells if name not in (*used, label, split, ids)]
        notes.append(f"each row is an example of the columns {join_some(used)}")
        infinite = [name for name in used if cells[name].dtype.kind == "f" and np.isinf(cells[name]).any()]
        notes += [f"infinite values of the columns {join_some(infinite)} count as missing"] if infinite else []
    notes += [f"the ids are taken from the column {ids}"] if ids not in (None, "id") else []
    rest += [f"{name} (of type {kind[:40]})" for name, kind in unread.items()]
    notes += [f"not used: the column{'s' if len(rest) > 1 else ''} {join_some(rest)}"] if rest else []
    notes += [f"the splits are taken from the column {split}"] if split is not None else []
    return _Roles(label, split, tuple(used), ids, is_text=text is not None), notes


def _typed(column: np.ndarray) -> np.ndarray:
    """Return numbers with gaps as floats, texts with gaps as texts, and dates in words; other objects stay."""
    cells = column.tolist() if column.dtype == object else []
    filled = {type(cell) for cell in cells if cell is not None}
    if filled and filled <= {int, float, bool}:
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    if filled and all(issubclass(kind, str | date) for kind in filled):
        return np.fromiter(("" if cell is None else str(cell) for cell in cells), object, len(cells))
    return column


def _text_column(cells: Cells) -> str | None:
    """Return the column that is called as one of texts, else the only one of sentences."""
    worded = [name for name, column in cells.items() if column.dtype == object]
    known = [name for name in worded if plain_name(name) in _TEXTS]
    if len(known) > 1:
        both = join_some(f"{name}: {str(cells[name][0])[:60]!r}" for name in known)
        raise invalid("text_column", f"name one of the columns {join_some(known)}", f"none; the first row is {both}")
    others = [name for name in cells if not _is_id(name, cells[name])]
    sentences = known or [name for name in others if name in worded and _are_sentences(cells[name])]
    return sentences[0] if known or (len(sentences) == 1 and len(others) <= 2) else None


def _are_sentences(column: np.ndarray) -> bool:
    """Return whether most cells are long, different and of several words: not so dates, hashes and links."""
    some = [str(cell) for cell in column[:SAMPLE].tolist()]
    # Scripts without spaces are beyond ASCII.
    long = sum(len(cell) > FEW and (len(cell.split()) > 1 or not cell.isascii()) for cell in some)
    return 2 * len(set(some)) > len(some) and 2 * long > len(some) and kind_of(column) != "dates"


def _are_names(column: np.ndarray) -> bool:
    """Return whether words mostly differ between rows: names and notes, of which a category tells nothing."""
    return column.dtype == object and kind_of(column) == "categories" and 2 * len(set(column.tolist())) > max(len(column), FEW)


def _is_id(name: str, column: np.ndarray) -> bool:
    is_called = plain_name(name) in _IDS or plain_name(name).endswith("id")
    return is_called and column.dtype.kind in "iuO" and len(set(map(str, column.tolist()))) == len(column)


def _id_column(cells: Cells) -> str | None:
    """Return the column that names the examples: the one called id, else the first that is called some id; no column of numbers of
    the rows."""
    named = [name for name in cells if plain_name(name).endswith("id") and plain_name(name) != "rowid"]
    found = [name for name in named if _is_id(name, cells[name])]
    return min(found, key=lambda name: plain_name(name) != "id", default=None)


def _names_pictures(column: np.ndarray) -> bool:
    cells = [cell for cell in column[:SAMPLE].tolist() if isinstance(cell, str)] if column.dtype == object else []
    return bool(cells) and 2 * sum(cell.lower().endswith(tuple(SUFFIXES)) for cell in cells) > len(cells)


def _numbers(table: Table) -> np.ndarray:
    """Return which rows of its file a table holds."""
    count = len(next(iter(table.columns.values()), ())) + len(table.faults)
    return np.delete(np.arange(count), list(table.faults))


def _listing(table: Table, numbers: list[int], roles: _Roles) -> Listing:
    """List a split, whose rows have these numbers in the table of all splits."""
    cells = table.columns
    if missing := [name for name in (*roles.content, roles.label) if name is not None and name not in cells]:
        raise invalid("splits", "have the columns of train", f"one without {join_some(missing)}")
    texts = cells[roles.content[0]].tolist()
    own = cells[roles.ids].tolist() if roles.ids in cells and _is_id(roles.ids, cells[roles.ids]) else numbers
    are_empty = {row: one for row, one in enumerate(texts) if roles.is_text and (not isinstance(one, str) or not one.strip())}
    return Listing(
        ids=list(map(str, own)),
        labels=None if roles.label is None else cells[roles.label].tolist(),
        content=partial(_content, cells, roles),
        faults={row: "is not text" if one and not isinstance(one, str) else "has no text" for row, one in are_empty.items()},
        called=[f"row {row}" for row in numbers] if own is numbers else None,
        bad=tuple(Skipped(f"row {row}", fault) for row, fault in table.faults.items()),
    )


def _content(cells: Cells, roles: _Roles, rows: list[int]) -> dict[str, Records]:
    kept = np.array(rows, np.int64)
    return {"records": Records("texts" if roles.is_text else "rows", {name: cells[name][kept] for name in roles.content})}


def _refuse_no_classes(name: str, values: np.ndarray) -> None:
    """Refuse labels that are measured numbers, dates or names of the examples, with that guess."""
    distinct, n = set(map(str, values.tolist())), len(values)
    if len(distinct) <= FEW:
        return
    if values.dtype == object and kind_of(as_text(values)) == "dates":
        guess = "a date"
    elif values.dtype.kind == "f" and (values != np.floor(values)).any():
        guess = _MEASURED
    elif 2 * len(distinct) > n:
        guess = "an id, or a measured number?" if values.dtype.kind in "iuf" else "an id?"
    elif values.dtype.kind in "iuf" and len(distinct) > 50 and not _are_indices(values):
        guess = _MEASURED
    else:
        return
    got = f"{len(distinct):,} values in {n:,} rows ({guess})"
    cure = f"{_REGRESSION if guess == _MEASURED else ''}Name another label_column (--label-column)."
    raise invalid(f"labels ({name})", "be classes, each of several examples", got, cure)


def _are_indices(values: np.ndarray) -> bool:
    return bool(np.array_equal(np.unique(values), np.arange(len(np.unique(values)))))


def as_text(values: np.ndarray) -> np.ndarray:
    """Return labels as their names; whole numbers without a fraction."""
    cells: list[Any] = [int(one) if isinstance(one, float) and one.is_integer() else one for one in values.tolist()]
    return np.fromiter(map(str, cells), object, len(cells))
