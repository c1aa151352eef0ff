"""What is asked of a source: how it is read, which columns hold labels and splits, and which labels replace the given ones."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from dataprune import tables
from dataprune.data.classes import resolve
from dataprune.data.decode import FITS, Fit
from dataprune.data.pixels import Scale
from dataprune.data.source import SPLIT_NAMES
from dataprune.errors import InputError, invalid, join_some, unknown_choice

MAX_SIZE = 4096
_CALLED = [
    *("label", "cls", "labels", "class", "classes", "target", "targets", "finelabel", "category"),
    *("classname", "labelname", "classid", "labelid", "categoryid", "diagnosis", "species", "breed"),
    *("intent", "sentiment", "emotion", "topic"),
]
"""What a column of labels is called, in lower case and without separators."""
_MULTI = "Multi-label data are not supported: give one label with label_column (--label-column) or labels (--labels)."


def label_column(
    names: Sequence[str], values: Callable[[str], np.ndarray], asked: str | None, others: Sequence[str] = ()
) -> tuple[str | None, list[str]]:
    """Return the column of labels, None where there is none, and what is to be said of the choice. It is the one that was `asked`
    for, that is called like labels, or one of the `others`, which are labels by their type. Several that say different things are
    an InputError."""
    if asked is not None:
        if asked not in names:
            raise unknown_choice("label_column", asked, list(names))
        return asked, []
    if "label" in names and "label" in others:
        return "label", []
    known = sorted(filter(is_called_label, names), key=lambda name: _CALLED.index(plain_name(name))) or list(others)
    if not known:
        return None, []
    if len(known) > 1:
        given = {name: values(name) for name in known}
        first = given[known[0]]
        if differ := [name for name in known[1:] if not same_partition(first, given[name])]:
            cells = [repr(column[0])[:40] if len(column) else "none" for column in (first, given[differ[0]])]
            both = f"by {known[0]} the first example is {cells[0]}, by {differ[0]} {cells[1]}"
            raise invalid("label_column", f"name one of {join_some(known)}", "none", f"They say different things: {both}.")
        known = [name for name in known if given[name].dtype.kind in "OUT"] or known
    coarse = [name for name in names if plain_name(name) == "coarselabel" and plain_name(known[0]) == "finelabel"]
    beside = f", not from {join_some(coarse)}" if coarse else ""
    return known[0], [] if known[0] == "label" else [f"the labels are taken from the column {known[0]}{beside}"]


def labels_of(cells: Mapping[str, np.ndarray], asked: str | None, passed: Sequence[str]) -> tuple[np.ndarray | None, list[str]]:
    """Return the labels of a table's rows, if any: its column of labels, one-hot columns, or the only one that repeats values. The
    columns that are `passed` are something else."""
    rest = [name for name in cells if name not in passed]
    name, notes = label_column(rest, cells.__getitem__, asked)
    if name is not None:
        return cells[name], notes
    hot = [name for name in rest if cells[name].dtype.kind in "biuf" and np.isin(cells[name], (0, 1)).all()]
    if len(hot) > 1 and len(hot) == len(rest):
        marks = np.stack([cells[name] for name in hot], axis=1).astype(int)
        if len(wrong := np.flatnonzero(marks.sum(axis=1) != 1)):
            raise invalid("labels", f"be one of {join_some(hot)} in each row", f"{marks[wrong[0]].sum()} in row {wrong[0]}", _MULTI)
        return np.array(hot, object)[marks.argmax(axis=1)], [f"one-hot columns are taken for the classes: {join_some(hot)}"]
    repeated = [name for name in rest if 2 * len({str(cell) for cell in cells[name].tolist()}) <= len(cells[name])]
    if len(repeated) == 1 and cells[repeated[0]].dtype.kind != "f":
        return cells[repeated[0]], [f"the labels are taken from the column {repeated[0]}, the only one that could be labels"]
    said = f"no column is called label: {join_some(rest)} are not used; name one with label_column (--label-column)"
    return None, [said] if rest else []


def is_called_label(name: str) -> bool:
    return plain_name(name) in _CALLED


def split_column(cells: Mapping[str, np.ndarray], passed: Sequence[str]) -> str | None:
    """Return the column all of whose values are words for splits; InputError if there are several."""
    words = {name: column for name, column in cells.items() if name not in passed and column.dtype == object}
    found = [name for name, column in words.items() if {str(cell).casefold() for cell in column} <= SPLIT_NAMES.keys()]
    if len(found) > 1:
        raise InputError(f"the columns {join_some(found)} both say the split of each row. Leave one.")
    return found[0] if found else None


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two columns group the rows in the same way, whatever they call the groups."""
    pairs = set(zip(map(str, one.tolist()), map(str, other.tolist()), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def plain_name(name: str) -> str:
    """Return a name of a column in lower case, without separators."""
    return name.casefold().replace("_", "").replace(" ", "").replace("-", "")


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
        with suppress(InputError):
            return self.sheet.join(ids, self.called).key is not None
        return False

    def align(self, ids: Sequence[str], classes: tuple[str, ...]) -> Aligned:
        """Return the label of each example, by the column that names them, else by row, as an index of known classes."""
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
        sheet = self.sheet
        if sheet.column is None and len(sheet.names) > 1 + (key is not None):
            values, _ = labels_of({name: sheet.typed(name) for name in sheet.columns}, None, [key] if key else [])
            if values is not None:
                return resolve(values, classes)
        column = sheet.wanted(key)
        values = sheet.columns[column]
        if not set(values.tolist()) <= set(classes) and (classes or column not in sheet.quoted):  # numbers, perhaps
            typed = sheet.typed(column)
            values = values if typed.dtype.kind == "b" else typed
        labels, known = resolve(values, classes)
        if values.dtype.kind in "iuf" and classes and not any(name.isdecimal() for name in classes) and labels.min() > 0:
            got = f"{labels.min()} … {labels.max()} and no 0: they begin at 1, or no example is of class {classes[0]!r}"
            raise invalid("labels", "be class indices from 0 on", got, f"Write the names: {join_some(classes)}.")
        return labels, known


def read_labels(source: str) -> LabelFile:
    """Read `FILE[:COLUMN]` (CSV or Parquet); without COLUMN it is `label`, or the only one beside the names of the examples. Of a
    file with columns `given_label` and `decision`, as `dataprune noise apply` writes it, the rows decided "drop" are dropped."""
    sheet = tables.read_sheet(source, "label")
    _dropped(sheet)
    return LabelFile(sheet)


@dataclass(frozen=True)
class Reading:
    """How a source is read: the options of `read`, in the order of its signature; `scale` is that of another source's pictures."""

    labels: str | Path | None = None
    image_size: int | None = None
    on_error: str = "fail"
    workers: int | None = None
    progress: Callable[[int, int], None] | None = None
    fit: Fit = "crop"
    image_column: str | None = None
    label_column: str | None = None
    text_column: str | None = None
    scale: Scale | None = None
    label_file: LabelFile | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise unknown_choice("fit", self.fit, FITS)
        if self.on_error not in ("fail", "skip"):
            raise unknown_choice("on_error", self.on_error, ("fail", "skip"))
        size = self.image_size
        if size is not None and (not isinstance(size, int | np.integer) or isinstance(size, bool) or not 1 <= size <= MAX_SIZE):
            raise invalid("image_size", f"be a whole number of pixels from 1 to {MAX_SIZE}", size)
        if self.labels is not None:
            object.__setattr__(self, "label_file", read_labels(os.fspath(self.labels)))

    @property
    def asked(self) -> dict[str, Any]:
        """The options that make the same data again, where they are not the usual ones."""
        names = ("image_size", "on_error", "fit", "image_column", "label_column", "text_column")
        given = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(Reading, name)}
        return given if self.labels is None else {**given, "labels": os.path.abspath(self.labels)}  # noqa: PTH100 FILE:COLUMN

    @property
    def asked_column(self) -> str | None:
        """The first option that names a column."""
        names = ("image_column", "label_column", "text_column")
        return next((name for name in names if getattr(self, name) is not None), None)

    def refuse_columns(self) -> None:
        if (name := self.asked_column) is not None:
            raise invalid(name, "be left out for data without columns", repr(getattr(self, name)))


def _dropped(sheet: tables.Sheet) -> Bool[np.ndarray, " rows"] | None:
    if not {"given_label", "decision"} <= set(sheet.names):
        return None
    words = [str(word).strip().lower() for word in sheet.columns["decision"].tolist()]
    if wrong := [f"{word[:40]!r} in row {row}" for row, word in enumerate(words) if word not in ("keep", "drop", "relabel", "")]:
        raise invalid(f"{sheet.source}:decision", "be keep, drop or relabel", join_some(wrong))
    return np.array([word == "drop" for word in words], bool)
