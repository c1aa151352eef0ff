"""Labels: class indices and names from the values of a source, and files of labels that replace the given ones."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from dataprune import tables
from dataprune.data.columns import labels_of
from dataprune.errors import InputError, invalid, join_some

OURS = frozenset({"clean_label", "label_name", "row", "el2n"})
"""Columns by which a table is known that earlier versions wrote with class indices: made wrong, found, kept, scored."""

_PLAIN = (str, bytes, int, float, np.generic, Decimal, date, type(None))


@dataclass(frozen=True)
class Aligned:
    """The labels of some examples by a file; `keep` is false for those that it drops, None where it drops none."""

    labels: Int64[np.ndarray, " examples"]
    classes: tuple[str, ...]
    keep: Bool[np.ndarray, " examples"] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LabelFile:
    """One column of labels, and those that may name its rows."""

    sheet: tables.Sheet
    called: str = "labels"  # in messages

    def names_all(self, ids: Sequence[str]) -> bool:
        """Return whether a column of the file names all these examples."""
        with suppress(InputError):
            return self.sheet.join(ids, self.called).key is not None
        return False

    def align(self, ids: Sequence[str], classes: tuple[str, ...]) -> Aligned:
        """Return the label of each example: by the column that names the examples, else by row.

        Args:     ids: of the examples. classes: the known ones; with (), the file's own values make them.
        Raises:   InputError with rows: too few or many rows, an id missing or twice, and as `resolve`.
        """
        joined = self.sheet.join(ids, self.called)
        try:
            labels, classes = self.resolved(joined.key, classes)
        except InputError as error:
            raise InputError(f"{self.sheet.source}: {error}") from None
        is_dropped = _dropped(self.sheet)
        keep = None if is_dropped is None or not is_dropped[joined.rows].any() else ~is_dropped[joined.rows]
        return Aligned(labels[joined.rows], classes, keep, joined.notes(self.sheet.source))

    def resolved(self, key: str | None, classes: tuple[str, ...]) -> tuple[Int64[np.ndarray, " rows"], tuple[str, ...]]:
        """Turn the labels of all rows into indices of `classes`, or of those that they make; `key` is the column of names."""
        if self.sheet.column is None and len(self.sheet.names) > 1 + (key is not None):
            values, _ = labels_of({name: self.sheet.typed(name) for name in self.sheet.columns}, None, [key] if key else [])
            if values is not None:
                return resolve(values, classes)
        column = self.sheet.wanted(key)
        values = self.sheet.columns[column]
        if not set(values.tolist()) <= set(classes) and (classes or column not in self.sheet.quoted):  # numbers, perhaps
            typed = self.sheet.typed(column)
            values = values if typed.dtype.kind == "b" else typed
        if _has_numbers(classes) and column not in self.sheet.quoted and set(self.sheet.names) & OURS:
            _refuse_old(self.sheet, column, classes)
        labels, known = resolve(values, classes)
        if values.dtype.kind in "iuf" and classes and not any(name.isdecimal() for name in classes) and labels.min() > 0:
            got = f"{labels.min()} … {labels.max()} and no 0: they begin at 1, or no example is of class {classes[0]!r}"
            raise invalid("labels", "be class indices from 0 on", got, f"Write the names: {join_some(classes)}.")
        return labels, known


def read_labels(source: str) -> LabelFile:
    """Read `FILE[:COLUMN]` (CSV or Parquet); without COLUMN it is `label`, or the only one beside the names of the examples.

    Of a file with columns `given_label` and `decision`, as `dataprune noise apply` writes it, the rows decided "drop" are dropped.

    Raises:   InputError if there is no such file or column; decisions of other words.
    """
    sheet = tables.read_sheet(source, "label")
    if len(sheet.names) == 1 and (mark := next((mark for mark in ";\t" if mark in sheet.names[0]), None)):
        raise invalid("labels", "be a file whose cells are separated by commas", f"{source}, whose header has {mark!r} in it")
    _dropped(sheet)
    return LabelFile(sheet)


def resolve(values: np.ndarray, classes: tuple[str, ...]) -> tuple[Int64[np.ndarray, " rows"], tuple[str, ...]]:
    """Turn values into indices of `classes`: text is names, whole numbers are indices. With (), the values make the classes.

    Where a class is called by a number that is not its index (folders `1`, `2`, `10`), numbers are names.

    Raises:   InputError with rows: out of range, negative, NaN, fractions, missing, names of no known class.
    """
    if not classes:
        (labels,), classes = encode([values])
        return labels, classes
    if values.dtype.kind in "iufb" and not _has_numbers(classes):
        return indices(values, "labels", len(classes)), classes
    texts = _texts(values)
    if unknown := set(texts).difference(classes):
        wrong = [f"{text[:40]!r} in row {row}" for row, text in enumerate(texts) if text in unknown]
        how = "names" if _has_numbers(classes) else "names or indices"
        raise invalid("labels", f"be {how} of the known classes ({join_some(classes)})", join_some(wrong))
    return _places(texts, classes), classes


def _has_numbers(classes: tuple[str, ...]) -> bool:
    """Return whether a number may be the name of another class than that of its index."""
    return any(name.isdecimal() for name in classes) and classes != tuple(map(str, range(len(classes))))


def encode(values: Sequence[np.ndarray]) -> tuple[list[Int64[np.ndarray, " _"]], tuple[str, ...]]:
    """Turn the labels of all splits into shared class indices: whole numbers are indices, text becomes sorted names.

    Whole numbers without 0 are names, in their order: labels 1, 2, 3 are three classes.

    Raises:   InputError if a value is missing, a fraction or negative.
    """
    if all(array.dtype.kind in "iufb" for array in values):
        checked = [indices(array) for array in values]
        there = np.unique(np.concatenate(checked)) if checked else np.zeros(0, np.int64)
        if not len(there) or there[0] == 0:
            return checked, tuple(map(str, range(1 + int(there[-1]) if len(there) else 0)))
        return [np.searchsorted(there, array) for array in checked], tuple(map(str, there.tolist()))
    if strange := [array.dtype for array in values if array.dtype.kind not in "biufOUST"]:
        raise invalid("labels", "be whole numbers or text", f"type {strange[0]}")
    texts = [_texts(array) for array in values]
    names = tuple(sorted(set().union(*texts)))
    return [_places(part, names) for part in texts], names


def encode_splits(
    values: dict[str, np.ndarray], classes: tuple[str, ...] = ()
) -> tuple[dict[str, Int64[np.ndarray, " _"]], tuple[str, ...]]:
    """Return class indices for each split: of the known `classes`, or of those that the values make."""
    if classes:
        return {split: indices(array, f"label of {split}", len(classes)) for split, array in values.items()}, classes
    encoded, classes = encode(list(values.values())) if values else ([], ())
    return dict(zip(values, encoded, strict=True)), classes


def indices(values: np.ndarray, name: str = "labels", n_classes: int | None = None) -> Int64[np.ndarray, " examples"]:
    """Check class indices: whole numbers from 0, below `n_classes` where that is known; an InputError names the first bad rows."""
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise invalid(name, "be one-dimensional", f"shape {values.shape}")
    if values.dtype.kind not in "biuf":
        raise invalid(name, "be whole numbers", f"type {values.dtype}")
    values = values.astype(np.int64) if values.dtype.kind == "b" else values
    if values.dtype.kind == "f":
        _refuse_rows(name, "be whole numbers without gaps", values, ~np.isfinite(values) | (values != np.floor(values)))
    _refuse_rows(name, "be class indices from 0 on", values, values < 0)
    if n_classes is not None:
        _refuse_rows(name, f"be class indices in [0, {n_classes})", values, values >= n_classes)
    # A class that no example can have would still cost an output of every network; years or ids taken for labels are caught here.
    limit = max(len(values), 1000)
    _refuse_rows(name, f"be class indices below {limit:,} (the number of examples, or 1,000)", values, values >= limit)
    return values.astype(np.int64)


def are_absent(values: np.ndarray) -> bool:
    """Return whether all labels are −1, as Hugging Face's data sets say that there are none."""
    return values.dtype.kind in "if" and len(values) > 0 and bool((values == -1).all())


def class_notes(labels: np.ndarray, classes: tuple[str, ...], split: str) -> list[str]:
    """Name classes with no example, and in train those with one."""
    counts = np.bincount(labels, minlength=len(classes))
    few = {"no example": 0} | ({"one example only": 1} if split == "train" else {})
    named = {what: [repr(classes[index]) for index in np.flatnonzero(counts == count)] for what, count in few.items()}
    return [f"{what} in {split} of class {join_some(names)}" for what, names in named.items() if names]


def as_column(values: Sequence[Any]) -> np.ndarray:
    """Return values as an array of numbers if all are, else as they are; NumPy would make one text of a number and a word."""
    are_numbers = all(type(value) in (int, float, bool) for value in values)
    return np.array(values) if are_numbers and len(values) else np.fromiter(values, object, len(values))


def is_missing(label: Any) -> bool:
    """Return whether a value stands for no label."""
    return label is None or label == "" or label != label


def _refuse_rows(name: str, requirement: str, values: np.ndarray, wrong: np.ndarray) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise invalid(name, requirement, join_some((f"{str(values[row])[:40]} in row {row}" for row in rows[:5]), len(rows)))


def _places(texts: Iterable[str], classes: Iterable[str]) -> Int64[np.ndarray, " _"]:
    index = {name: index for index, name in enumerate(classes)}
    return np.array([index[text] for text in texts], np.int64)


def _texts(values: np.ndarray) -> list[str]:
    texts = []
    for row, value in enumerate(values.tolist()):
        value = value.item() if getattr(value, "ndim", None) == 0 else value
        if isinstance(value, Iterable) and not isinstance(value, str | bytes):  # a list or structure of a nested column
            got = f"a {type(value).__name__} in row {row}"
            raise invalid("labels", "be one name or number for each example", got, "Multi-label data are not supported.")
        if not isinstance(value, _PLAIN):
            raise invalid("labels", "be names or numbers", f"an object of the type {type(value).__name__} in row {row}")
        if value is None or value != value or value == "":
            raise invalid("labels", "be there for every example", f"none in row {row}")
        texts.append(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))
    return texts


def _dropped(sheet: tables.Sheet) -> Bool[np.ndarray, " rows"] | None:
    if not {"given_label", "decision"} <= set(sheet.names):
        return None
    words = [str(word).strip().lower() for word in sheet.columns["decision"].tolist()]
    if wrong := [f"{word[:40]!r} in row {row}" for row, word in enumerate(words) if word not in ("keep", "drop", "relabel", "")]:
        raise invalid(f"{sheet.source}:decision", "be keep, drop or relabel", join_some(wrong))
    return np.array([word == "drop" for word in words], bool)


def _refuse_old(sheet: tables.Sheet, column: str, classes: tuple[str, ...]) -> None:
    """Refuse bare numbers that may be indices, as earlier versions wrote them, where they are names of other classes."""
    values = sheet.typed(column)
    if values.dtype.kind not in "iu":
        return
    other = next((str(one) for one in np.unique(values).tolist() if one < len(classes) and classes[one] != str(one)), None)
    if other is not None:
        reads = f"{other} is class {other!r} by name, {classes[int(other)]!r} as an index, which earlier versions wrote"
        cure = f"Write the file anew; or, if they are names, keep only the columns id and {column} under other names."
        raise invalid("labels", "be names where classes are called by numbers", f"bare numbers in {sheet.source}: {reads}", cure)
