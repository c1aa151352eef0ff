"""Columns of a table: which one holds the labels, and which one the splits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dataprune.data.source import SPLIT_NAMES
from dataprune.errors import InputError, invalid, join_some, unknown_choice

_CALLED = [
    *("label", "cls", "labels", "class", "classes", "target", "targets", "finelabel", "category"),
    *("classname", "labelname", "classid", "labelid", "categoryid", "diagnosis", "species", "breed"),
    *("intent", "sentiment", "emotion", "topic"),
]
"""What a column of labels is called, in lower case and without separators."""
_MULTI = "Multi-label data are not supported: give one label with label_column (--label-column) or labels (--labels)."


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are meant, where they were named."""

    image: str | None = None
    label: str | None = None
    text: str | None = None

    @property
    def asked(self) -> str | None:
        """The first option that was given."""
        return next((f"{name}_column" for name, value in vars(self).items() if value is not None), None)


def label_column(
    names: Sequence[str], values: Callable[[str], np.ndarray], asked: str | None, others: Sequence[str] = ()
) -> tuple[str | None, list[str]]:
    """Return the column of labels, None where there is none, and what is to be said of the choice.

    Args:
        names: of all columns. values: gives the values of one.
        asked: the column that was named.
        others: columns that are labels by their type, whatever they are called.
    Raises:   InputError if it is not there, or if several are called like labels and say different things.
    """
    if asked is not None:
        if asked not in names:
            raise unknown_choice("label_column", asked, list(names))
        return asked, []
    if "label" in names and "label" in others:
        return "label", []
    known = sorted(
        (name for name in names if plain_name(name) in _CALLED), key=lambda name: _CALLED.index(plain_name(name))
    ) or list(others)
    if len(known) > 1:
        given = {name: values(name) for name in known}
        differ = [name for name in known[1:] if not same_partition(given[known[0]], given[name])]
        if differ:
            both = f"by {known[0]} the first example is {_cell(given[known[0]], 0)}, by {differ[0]} {_cell(given[differ[0]], 0)}"
            raise invalid(
                "label_column", f"name one of the columns {join_some(known)}", "none", f"They say different things: {both}."
            )
        known = [name for name in known if given[name].dtype.kind in "OUT"] or known
    if not known:
        return None, []
    coarse = [name for name in names if plain_name(name) == "coarselabel" and plain_name(known[0]) == "finelabel"]
    beside = f", not from {join_some(coarse)}" if coarse else ""
    return known[0], [] if known[0] == "label" else [f"the labels are taken from the column {known[0]}{beside}"]


def labels_of(cells: Mapping[str, np.ndarray], asked: str | None, passed: Sequence[str]) -> tuple[np.ndarray | None, list[str]]:
    """Return the labels of a table's rows, if any: its column of labels, one-hot columns, or the only one that repeats values.

    Args:     asked: the column that was named. passed: columns that are something else.
    """
    rest = [name for name in cells if name not in passed]
    name, notes = label_column(rest, cells.__getitem__, asked)
    if name is not None:
        return cells[name], notes
    hot = [name for name in rest if cells[name].dtype.kind in "biuf" and np.isin(cells[name], (0, 1)).all()]
    if len(hot) > 1 and len(hot) == len(rest):
        marks = np.stack([cells[name] for name in hot], axis=1).astype(int)
        wrong = np.flatnonzero(marks.sum(axis=1) != 1)
        if len(wrong):
            got = f"{marks[wrong[0]].sum()} in row {wrong[0]}"
            raise invalid("labels", f"be one of the columns {join_some(hot)} in each row", got, _MULTI)
        return np.array(hot, object)[marks.argmax(axis=1)], [f"one-hot columns are taken for the classes: {join_some(hot)}"]
    repeated = [name for name in rest if 2 * len({str(cell) for cell in cells[name].tolist()}) <= len(cells[name])]
    if len(repeated) == 1 and cells[repeated[0]].dtype.kind != "f":
        return cells[repeated[0]], [f"the labels are taken from the column {repeated[0]}, the only one that could be labels"]
    return None, [
        f"no column is called label: {join_some(rest)} are not used; name one with label_column (--label-column)"
    ] if rest else []


def is_called_label(name: str) -> bool:
    """Return whether a column is called as labels are."""
    return plain_name(name) in _CALLED


def split_column(cells: Mapping[str, np.ndarray], passed: Sequence[str]) -> str | None:
    """Return the column all of whose values are words for splits; InputError if there are several."""
    found = [
        name
        for name, column in cells.items()
        if name not in passed and column.dtype == object and {str(cell).casefold() for cell in column} <= SPLIT_NAMES.keys()
    ]
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


def _cell(column: np.ndarray, row: int) -> str:
    return repr(column[row])[:40] if len(column) else "none"
