"""Which label has each example, when a file replaces the given ones?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from dataprune import tables
from dataprune.data.parts import encode, indices, text_of
from dataprune.errors import InputError, invalid, join_some


@dataclass(frozen=True)
class LabelFile:
    """One column of labels, with the ids of its rows if the file has them.

    `is_dropped` says which rows a person, or `dataprune noise apply`, decided to drop; None where the file does not speak of that.
    `called` is what messages call the file.
    """

    source: str
    values: np.ndarray
    names: tuple[str, ...] | None
    is_dropped: Bool[np.ndarray, " rows"] | None = None
    called: str = "labels"

    def labels_of(
        self, ids: Sequence[str], classes: tuple[str, ...]
    ) -> tuple[Int64[np.ndarray, " examples"], tuple[str, ...], tuple[str, ...]]:
        """Return each example its label: by id if the file has ids, else by row.

        Args:     ids: the examples'. classes: the known ones; with (), the file's own values make them.
        Returns:  labels, classes, notes (ids of the file that are not in the data).
        Raises:   InputError with rows: too few or many rows, an id missing or twice, and as `resolve`.
        """
        if self.names is None and len(self.values) != len(ids):
            cure = "Or give the file an `id` column."
            raise invalid(
                self.called, f"have one row for each of the {len(ids)} examples", f"{len(self.values)} in {self.source}", cure
            )
        try:
            labels, told = resolve(self.values, classes)
        except InputError as error:
            raise InputError(f"{self.source}: {error}") from None
        if self.names is None:
            return labels, told, ()
        place = {name: row for row, name in enumerate(self.names)}
        if len(place) != len(self.names):
            doubles = [repr(name) for row, name in enumerate(self.names) if place[name] != row]
            raise invalid(self.called, "name every id once", f"{join_some(doubles)} more than once in {self.source}")
        missing = [repr(name) for name in ids if name not in place]
        if missing:
            raise invalid(self.called, "have a row for every example", f"none for the id {join_some(missing)} in {self.source}")
        notes: tuple[str, ...] = ()
        if len(self.names) > len(ids):
            known = set(ids)
            extra = [repr(name) for name in self.names if name not in known]
            notes = (f"{self.source} has labels for ids that are not in the data: {join_some(extra)}",)
        return labels[[place[name] for name in ids]], told, notes

    def stays(self, ids: Sequence[str]) -> Bool[np.ndarray, " examples"] | None:
        """Return which examples the file does not drop; None if that is all. To be asked after `labels_of`, which checks the rows."""
        if self.is_dropped is None or not self.is_dropped.any():
            return None
        if self.names is None:
            return ~self.is_dropped
        dropped = {name for name, drop in zip(self.names, self.is_dropped.tolist(), strict=True) if drop}
        return np.array([name not in dropped for name in ids])


def read_labels(source: str) -> LabelFile:
    """Read `FILE[:COLUMN]` (CSV or Parquet); without COLUMN it is `label`, or the only one.

    Of a file with columns `given_label` and `decision`, as `dataprune noise apply` writes it, the rows decided "drop" are dropped.

    Raises:   InputError if there is no such file or column, or several to choose from; decisions of other words.
    """
    values, names = tables.read_column(source, "label")
    if names is None and (mark := _other_separator(source)):
        raise invalid("labels", "be a file whose cells are separated by commas", f"{source}, whose header has {mark!r} in it")
    return LabelFile(source, values, None if names is None else tuple(str(name) for name in names), _dropped(source))


def resolve(values: np.ndarray, classes: tuple[str, ...]) -> tuple[Int64[np.ndarray, " rows"], tuple[str, ...]]:
    """Turn values into indices of `classes`: whole numbers are indices already, text is names. With (), the values make them.

    Where the classes are called by numbers that are not their indices (folders `1`, `2`, `10`), numbers are names.

    Raises:   InputError with rows: out of range, negative, NaN, fractions, missing, names of no known class.
    """
    if not classes:
        (labels,), told = encode([values])
        return labels, told
    if values.dtype.kind in "iufb" and not _called_by_numbers(classes):
        return indices(values, "labels", len(classes)), classes
    place = {name: index for index, name in enumerate(classes)}
    texts = [text_of(value, row) for row, value in enumerate(values.tolist())]
    wrong = [f"{text[:40]!r} in row {row}" for row, text in enumerate(texts) if text not in place]
    if wrong:
        raise invalid("labels", f"be names or indices of the known classes ({join_some(classes)})", join_some(wrong))
    return np.array([place[text] for text in texts], dtype=np.int64), classes


def _dropped(source: str) -> Bool[np.ndarray, " rows"] | None:
    path, _ = tables.split_spec(source)
    if not {"given_label", "decision"} <= set(tables.column_names(path)):
        return None
    words = [str(word).strip().lower() for word in tables.read_table(path, ["decision"]).columns["decision"].tolist()]
    wrong = [f"{word[:40]!r} in row {row}" for row, word in enumerate(words) if word not in ("keep", "drop", "relabel", "")]
    if wrong:
        raise invalid(f"{path}:decision", "be keep, drop or relabel", join_some(wrong))
    return np.array([word == "drop" for word in words], bool)


def _called_by_numbers(classes: tuple[str, ...]) -> bool:
    return all(name.isdecimal() for name in classes) and classes != tuple(str(index) for index in range(len(classes)))


def _other_separator(source: str) -> str | None:
    """Return the semicolon or tab that separates the cells of a CSV file's header, where no comma does."""
    path = Path(source)
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline(1000)
    return next((mark for mark in (";", "\t") if mark in header and "," not in header), None)
