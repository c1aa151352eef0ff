"""Pairs of examples of a source that are the same or nearly so, over all its splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from dataprune import store
from dataprune.data import Splits, read_splits
from dataprune.errors import check_type
from dataprune.noise.duplicates import find_pairs
from dataprune.notebook import Tabular
from dataprune.tables import TABLES, check_output, write_table

NO_LABEL = -1


@dataclass(frozen=True, eq=False, repr=False)
class Duplicates(Tabular):
    """Pairs of examples that are the same or nearly so: those with different labels first, then those across splits, then the rest.

    Attributes:
        ids, other_ids: of the one that comes first in the source, and of the other.
        split, other_split: where they lie: "train", "validation" or "test".
        distance: 0 for identical ones; as in `noise.duplicates.find_pairs` for near ones.
        is_exact: whether every pixel of the whole pictures, or every number, is the same; or texts and rows, but for case, white
            space and the way in which letters are composed.
        labels, other_labels: class indices, −1 without labels.
        rows, other_rows: rows within their splits.
        n_examples: how many examples were looked at.
        notes: cautions for a person.
        limit: the largest distance of near ones; None where they were not looked for.
        texts, other_texts: what they say, texts or rows of a table; None of others.
    """

    ids: np.ndarray
    other_ids: np.ndarray
    split: np.ndarray
    other_split: np.ndarray
    distance: Float32[np.ndarray, " pairs"]
    is_exact: Bool[np.ndarray, " pairs"]
    labels: Int64[np.ndarray, " pairs"]
    other_labels: Int64[np.ndarray, " pairs"]
    rows: Int64[np.ndarray, " pairs"]
    other_rows: Int64[np.ndarray, " pairs"]
    classes: tuple[str, ...]
    n_examples: int
    notes: tuple[str, ...] = ()
    limit: float | None = None
    texts: np.ndarray | None = None
    other_texts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        exact, conflicts, leaks = (int(some.sum()) for some in (self.is_exact, self.is_conflict, self.is_leak))
        kinds = f"{exact:,} exact, {conflicts:,} with different labels, {leaks:,} across splits"
        return f"Duplicates({len(self):,} pairs among {self.n_examples:,} examples: {kinds})"

    def table(self) -> dict[str, np.ndarray]:
        """Return a row for each pair; `kind` is exact or near, labels are class indices, −1 without labels."""
        table = {"id": self.ids, "other_id": self.other_ids, "kind": np.where(self.is_exact, "exact", "near")}
        table |= {"distance": self.distance, "label": self.labels, "other_label": self.other_labels}
        table |= {"split": self.split, "other_split": self.other_split}
        texts = {} if self.texts is None or self.other_texts is None else {"text": self.texts, "other_text": self.other_texts}
        return table | texts

    _columns = table

    @property
    def is_conflict(self) -> Bool[np.ndarray, " pairs"]:
        """Whether the two have different labels; one of them is wrong."""
        return _conflicts(self.labels, self.other_labels)

    @property
    def is_leak(self) -> Bool[np.ndarray, " pairs"]:
        """Whether the two lie in different splits: what is measured on the one was trained on."""
        return np.asarray(self.split != self.other_split)


def find_duplicates(
    source: Any, *, near: bool = True, distance: float | None = None, features: np.ndarray | None = None
) -> Duplicates:
    """Find identical and nearly identical examples of a data set, over all its splits.

    A group of n identical examples gives n − 1 pairs, each with the first of them, train before test.

    Args:
        source: a `Dataset`, `Splits`, or whatever `read_splits` takes.
        near: whether to look for more than identical ones; not among rows of a table, which are near without being copies, unless
            `distance` or `features` are given.
        distance: the largest of near duplicates; None is the default that was set by eye, 0.25 for pictures.
        features: (n, D) numbers by which near ones are found in place of pixels, of all examples in the order train, validation,
            test, or of train only. Distances are then in units of what is usual around the two, by default up to 0.2.
    Raises:   InputError: splits of different shapes, a distance out of range.
    """
    given = source if isinstance(source, Splits) else read_splits(source)
    parts = list(given.parts.values())
    digests = {part.digests is not None for part in parts}
    is_exact = near and given.train.kind == "rows" and distance is None and features is None
    near = near and not is_exact
    notes = ["rows of a table are compared exactly only, where no distance is given"] if is_exact else []
    if len(digests) > 1:
        notes.append("identical means: equal as squares, since one split came from files and another as arrays")
    if features is None and given.train.records is not None and near:
        features = np.concatenate([part.inputs for part in parts])
    whole = [part.whole if digests == {True} else part.content for part in parts]
    found = find_pairs([part.content for part in parts], near=near, limit=distance, features=features, whole=whole)
    splits = np.repeat(np.array(list(given.parts), np.dtypes.StringDType()), [len(part) for part in parts])
    ids = np.concatenate([part.ids for part in parts])
    rows = np.concatenate([np.arange(len(part)) for part in parts])
    labels = np.concatenate([np.full(len(part), NO_LABEL) if part.labels is None else part.labels for part in parts])
    first, second = found.first, found.second
    group = np.where(_conflicts(labels[first], labels[second]), 0, np.where(splits[first] != splits[second], 1, 2))
    order = np.lexsort((second, first, found.distance, ~found.is_exact, group))

    def side(prefix: str, at: Int64[np.ndarray, " pairs"]) -> dict[str, Any]:
        columns = {"ids": ids[at], "split": splits[at], "labels": labels[at], "rows": rows[at], "texts": None}
        records = [getattr(given, name).records for name in splits[at].tolist()]
        if all(part.records is not None for part in parts):
            columns["texts"] = np.array([one.shown(row) for one, row in zip(records, rows[at].tolist(), strict=True)], object)
        return {f"{prefix}{name}": column for name, column in columns.items()}

    return Duplicates(
        **side("", first[order]),
        **side("other_", second[order]),
        distance=found.distance[order],
        is_exact=found.is_exact[order],
        classes=given.train.classes,
        n_examples=len(ids),
        notes=(*notes, *found.notes),
        limit=found.limit,
    )


def write_duplicates(found: Duplicates, out: str | Path, *, overwrite: bool = False) -> None:
    """Write `Duplicates.table` as .csv or .parquet; a file that holds something else is replaced with `overwrite` only."""
    path = check_output(out, TABLES)
    check_type("found", found, Duplicates)
    with store.writing(path, overwrite=overwrite) as temporary:
        write_table(temporary, found.table())


def _conflicts(labels: Int64[np.ndarray, " pairs"], others: Int64[np.ndarray, " pairs"]) -> Bool[np.ndarray, " pairs"]:
    return np.asarray((labels != others) & (labels != NO_LABEL) & (others != NO_LABEL))
