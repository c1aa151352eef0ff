"""Tables whose rows are the examples themselves: texts with labels, or rows of numbers, categories and dates."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from dataprune.data.columns import Columns, label_column, plain_name, split_column
from dataprune.data.dataset import Skipped
from dataprune.data.decode import SUFFIXES
from dataprune.data.labels import as_column, encode_splits, is_missing
from dataprune.data.records import Records
from dataprune.data.source import SPLIT_NAMES, Part, Source, row_ids
from dataprune.data.vectors import kind_of
from dataprune.errors import invalid, join_some, unknown_choice

_TEXTS = frozenset(
    (
        *("text", "texts", "sentence", "content", "review", "reviewtext", "reviewbody", "question", "query", "title", "headline"),
        *("utterance", "comment", "document", "body", "message", "tweet", "abstract", "prompt", "instruction", "post"),
    )
)
"""What a column of texts is called, in lower case and without separators."""
_IDS = frozenset(("id", "index", "rowid", "rownumber", "uuid", "unnamed:0", ""))
FEW = 20  # rows or values below which nothing is guessed of labels
SAMPLE = 200

Cells = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Roles:
    """Which columns hold what."""

    label: str | None
    split: str | None
    content: tuple[str, ...]
    is_text: bool


def records_source(
    kind: str, path: str, splits: Mapping[str, Cells], columns: Columns, classes: tuple[str, ...] = ()
) -> Source | None:
    """Return texts or rows with their labels; None where a table seems to be of something else, pictures say.

    Args:     splits: the columns of each split, or of a table that may have one of splits. classes: those that indices stand for.
    Raises:   InputError if columns that were asked for are not there, more than one may be meant, or labels are no classes.
    """
    splits = {split: {name: _typed(column) for name, column in cells.items()} for split, cells in splits.items()}
    first = next(iter(splits.values()))
    roles, notes = _roles(first, columns, len(splits) == 1)
    if roles is None:
        return None
    sheets = dict(splits)
    if roles.split is not None:
        words = np.array([SPLIT_NAMES[str(cell).casefold()] for cell in first[roles.split].tolist()])
        sheets = {word: {name: column[words == word] for name, column in first.items()} for word in dict.fromkeys(words.tolist())}
    if "train" not in sheets:
        sheets = {"train": next(iter(sheets.values()))} if len(sheets) == 1 else sheets
    parts, values = dict[str, Part](), dict[str, np.ndarray]()
    for split, cells in sheets.items():
        parts[split], found = _part(cells, roles)
        if found is not None:
            values[split] = found
    if roles.label is not None and "train" in values and not classes:
        _refuse_no_classes(roles.label, values["train"])
        values = _named(values)
    labels, names = encode_splits(values, classes)
    labelled = {split: Part(part.ids, labels.get(split), records=part.records, bad=part.bad) for split, part in parts.items()}
    return Source(kind, path, labelled, names, tuple(notes))


def _roles(cells: Cells, columns: Columns, is_one: bool) -> tuple[_Roles | None, list[str]]:
    """Choose the columns by what was asked, by their names, and by what they hold."""
    if columns.text is not None and columns.text not in cells:
        raise unknown_choice("text_column", columns.text, list(cells))
    if columns.text is None and any(map(_names_pictures, cells.values())):
        return None, []
    split = split_column(cells, [name for name in (columns.text, columns.label) if name]) if is_one else None
    rest = [name for name in cells if name not in (columns.text, split)]
    label, notes = label_column(rest, cells.__getitem__, columns.label)
    rest = [name for name in rest if name != label]
    text = columns.text or _text_column({name: cells[name] for name in rest})
    ids = [name for name in rest if _is_id(name, cells[name])]
    rest = [name for name in rest if name not in (*ids, text)]
    if text is not None:
        if cells[text].dtype != object:
            raise invalid("text_column", "name a column of texts", f"numbers in {text}")
        if label is None and len(rest) == 1:
            label, rest = rest[0], []
            notes.append(f"the labels are taken from the column {label}")
        notes.append(f"the texts are taken from the column {text}")
        notes += [f"not used: the columns {join_some(rest)}"] if rest else []
        roles = _Roles(label, split, (text,), is_text=True)
    else:
        used = [name for name in rest if cells[name].dtype != object or all(type(one) is str for one in cells[name].tolist())]
        used = [name for name in used if kind_of(cells[name]) != "nothing" and not _are_names(cells[name])]
        if label is None or not used:
            return None, []
        left = [name for name in cells if name not in (*used, label, split)]
        notes.append(f"each row is an example of the columns {join_some(used)}")
        notes += [f"not used: the columns {join_some(left)}"] if left else []
        roles = _Roles(label, split, tuple(used), is_text=False)
    notes += [f"the splits are taken from the column {split}"] if split is not None else []
    return roles, notes


def _typed(column: np.ndarray) -> np.ndarray:
    """Return numbers with gaps as floats, texts with gaps as texts, and dates in words; other objects stay."""
    if column.dtype != object:
        return column
    cells = column.tolist()
    filled = {type(cell) for cell in cells if cell is not None}
    if filled and filled <= {int, float, bool}:
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    if filled and all(issubclass(kind, str | date) for kind in filled):
        return np.fromiter(("" if cell is None else str(cell) for cell in cells), object, len(cells))
    return column


def _text_column(cells: Cells) -> str | None:
    """Return the column that is called as one of texts, else the only one of sentences."""
    worded = {name: column for name, column in cells.items() if column.dtype == object}
    known = [name for name in worded if plain_name(name) in _TEXTS]
    if len(known) > 1:
        both = join_some(f"{name}: {str(cells[name][0])[:60]!r}" for name in known)
        raise invalid("text_column", f"name one of the columns {join_some(known)}", f"none; the first row is {both}")
    if known:
        return known[0]
    others = [name for name in cells if not _is_id(name, cells[name])]
    sentences = [name for name in others if name in worded and _are_sentences(cells[name])]
    return sentences[0] if len(sentences) == 1 and len(others) <= 2 else None


def _are_sentences(column: np.ndarray) -> bool:
    some = [str(cell) for cell in column[:SAMPLE].tolist()]
    return 2 * len(set(some)) > len(some) and sum(len(cell) > FEW for cell in some) * 2 > len(some)


def _are_names(column: np.ndarray) -> bool:
    """Return whether words mostly differ between rows: names and notes, of which a category tells nothing."""
    return column.dtype == object and kind_of(column) == "categories" and 2 * len(set(column.tolist())) > max(len(column), FEW)


def _is_id(name: str, column: np.ndarray) -> bool:
    is_called = plain_name(name) in _IDS or plain_name(name).endswith("id")
    return is_called and column.dtype.kind in "iuO" and len(set(map(str, column.tolist()))) == len(column)


def _names_pictures(column: np.ndarray) -> bool:
    cells = [cell for cell in column[:SAMPLE].tolist() if isinstance(cell, str)] if column.dtype == object else []
    return bool(cells) and 2 * sum(cell.lower().endswith(tuple(SUFFIXES)) for cell in cells) > len(cells)


def _part(cells: Cells, roles: _Roles) -> tuple[Part, np.ndarray | None]:
    """Return the examples of a split, with their labels; those without a text or a label are left out, with the reason."""
    missing = [name for name in (*roles.content, roles.label) if name is not None and name not in cells]
    if missing:
        raise invalid("splits", "have the columns of train", f"one without {join_some(missing)}")
    n = len(cells[roles.content[0]])
    own = next((cells[name] for name in cells if plain_name(name) == "id" and _is_id(name, cells[name])), None)
    ids = row_ids(n) if own is None else [str(cell) for cell in own.tolist()]
    given = None if roles.label is None else cells[roles.label].tolist()
    given = None if given is None or all(map(is_missing, given)) else given
    faults = dict[int, str]()
    for row, cell in enumerate(cells[roles.content[0]].tolist() if roles.is_text else ()):
        if not isinstance(cell, str) or not cell.strip():
            faults[row] = "is no text" if cell and not isinstance(cell, str) else "has no text"
    for row, value in enumerate(given or ()):
        if is_missing(value):
            faults.setdefault(row, "has no label")
    rows = np.array([row for row in range(n) if row not in faults], np.int64)
    content = Records("texts" if roles.is_text else "rows", {name: cells[name][rows] for name in roles.content})
    bad = tuple(Skipped(ids[row] if own is not None else f"row {row}", reason) for row, reason in sorted(faults.items()))
    part = Part([ids[row] for row in rows.tolist()], records=content, bad=bad)
    return part, None if given is None else as_column([given[row] for row in rows.tolist()])


def _refuse_no_classes(name: str, values: np.ndarray) -> None:
    """Refuse labels that are measured numbers, dates or names of the examples, with that guess."""
    distinct, n = set(map(str, values.tolist())), len(values)
    guess = None
    if len(distinct) <= FEW:
        return
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        guess = "a measured number: a regression?"
    elif values.dtype == object and kind_of(as_text(values)) == "dates":
        guess = "a date"
    elif 2 * len(distinct) > n:
        guess = "an id, or a measured number?" if values.dtype.kind in "iuf" else "an id?"
    elif values.dtype.kind in "iuf" and len(distinct) > 50 and not _are_indices(values):
        guess = "a measured number: a regression?"
    if guess is not None:
        cure = "Name the column of classes with label_column (--label-column)."
        got = f"{len(distinct):,} values in {n:,} rows ({guess})"
        raise invalid(f"labels ({name})", "be classes, each of several examples", got, cure)


def _named(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return labels as text, but for whole numbers that are the indices of classes."""
    every = np.concatenate(list(values.values())) if len({one.dtype.kind for one in values.values()}) == 1 else None
    if every is not None and every.dtype.kind in "iub" and _are_indices(every):
        return values
    return {split: as_text(array) for split, array in values.items()}


def _are_indices(values: np.ndarray) -> bool:
    return bool(np.array_equal(np.unique(values), np.arange(len(np.unique(values)))))


def as_text(values: np.ndarray) -> np.ndarray:
    """Return labels as their names; whole numbers without a fraction."""
    cells: list[Any] = [int(one) if isinstance(one, float) and one.is_integer() else one for one in values.tolist()]
    return np.fromiter(map(str, cells), object, len(cells))
