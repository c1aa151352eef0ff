"""Class indices and names from the values of a source, shared by its splits; and the source of what a reader lists row by row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int64

from dataprune.data.dataset import Skipped
from dataprune.data.source import Part, Source
from dataprune.errors import invalid, join_some

T = TypeVar("T")
_PLAIN = (str, bytes, int, float, np.generic, Decimal, date, type(None))


@dataclass(frozen=True)
class Listing:
    """One split as its source has it, row by row; a label is whatever stands there. `content` gives what a `Part` holds beside ids
    and labels, of some rows; `faults` say why rows cannot be used; `called` names such rows where ids do not; `bad` is what is no
    row at all."""

    ids: Sequence[str]
    labels: Sequence[Any] | None
    content: Callable[[list[int]], Mapping[str, Any]]
    faults: Mapping[int, str] = field(default_factory=dict)
    called: Sequence[str] | None = None
    bad: tuple[Skipped, ...] = ()


def gather(
    kind: str,
    path: str,
    listings: Mapping[str, Listing],
    notes: Iterable[str] = (),
    classes: tuple[str, ...] = (),
    named: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = dict,
) -> Source:
    """Build a source: rows with a fault, or without a label where others have one, are left out with the reason. A split whose
    labels are all missing, or all −1, has none. `named` may change the labels before they become indices."""
    parts, values = dict[str, Part](), dict[str, np.ndarray]()
    for split, one in listings.items():
        given = None if one.labels is None or all(map(is_missing, one.labels)) else one.labels
        faults = {row: "has no label" for row, label in enumerate(given or ()) if is_missing(label)} | dict(one.faults)
        rows = [row for row in range(len(one.ids)) if row not in faults]
        bad = (Skipped((one.called or one.ids)[row], faults[row]) for row in sorted(faults))
        parts[split] = Part([one.ids[row] for row in rows], bad=(*one.bad, *bad), **one.content(rows))
        kept = as_column([given[row] for row in rows]) if given is not None else np.zeros(0)
        if kept.dtype.kind in "if" and len(kept) and (kept == -1).all():  # as Hugging Face's data sets say that there are none
            notes = (*notes, f"the labels of {split} are all −1, so it counts as having none")
        elif given is not None:
            values[split] = kept
    labels, classes = encode_splits(named(values), classes)
    labelled = {split: replace(part, labels=labels.get(split)) for split, part in parts.items()}
    return Source(kind, path, labelled, classes, (*notes, *twin_notes(classes)))


def sole_is_train(splits: Mapping[str, T]) -> Mapping[str, T]:
    return {"train": next(iter(splits.values()))} if len(splits) == 1 else splits


def resolve(values: np.ndarray, classes: tuple[str, ...]) -> tuple[Int64[np.ndarray, " rows"], tuple[str, ...]]:
    """Turn values into indices of `classes`: text is names, whole numbers are indices. With (), the values make the classes. Where
    a class is called by a number that is not its index (folders `1`, `2`, `10`), numbers are names. What names no class is an
    InputError with its rows."""
    if not classes:
        (labels,), classes = encode([values])
        return labels, classes
    if values.dtype.kind in "iufb" and not have_numbers(classes):
        return indices(values, "labels", len(classes)), classes
    texts = _texts(values)
    if unknown := set(texts).difference(classes):
        wrong = [f"{text[:40]!r} in row {row}" for row, text in enumerate(texts) if text in unknown]
        how = "names" if have_numbers(classes) else "names or indices"
        raise invalid("labels", f"be {how} of the known classes ({join_some(classes)})", join_some(wrong))
    return _places(texts, classes), classes


def have_numbers(classes: tuple[str, ...]) -> bool:
    """Return whether a number may be the name of another class than that of its index."""
    return any(name.isdecimal() for name in classes) and classes != tuple(map(str, range(len(classes))))


def encode(values: Sequence[np.ndarray]) -> tuple[list[Int64[np.ndarray, " _"]], tuple[str, ...]]:
    """Turn the labels of all splits into shared class indices: whole numbers are indices, text becomes sorted names.

    Whole numbers without 0 are names, in their order: labels 1, 2, 3 are three classes.
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
    values: Mapping[str, np.ndarray], classes: tuple[str, ...] = ()
) -> tuple[dict[str, Int64[np.ndarray, " _"]], tuple[str, ...]]:
    """Return class indices for each split: of the known `classes`, or of those that the values make."""
    if classes:
        return {split: indices(array, f"label of {split}", len(classes)) for split, array in values.items()}, classes
    encoded, classes = encode(list(values.values())) if values else ([], ())
    return dict(zip(values, encoded, strict=True)), classes


def indices(values: np.ndarray, name: str = "labels", n_classes: int | None = None) -> Int64[np.ndarray, " examples"]:
    """Check class indices: whole numbers from 0, below `n_classes` where that is known; an InputError names the first bad rows."""
    if values.dtype.kind not in "biuf":
        raise invalid(name, "be whole numbers", f"type {values.dtype}")
    values = values.astype(np.int64) if values.dtype.kind == "b" else values
    # A class that no example can have would still cost an output of every network; years or ids taken for labels are caught here.
    limit = max(len(values), 1000)
    for requirement, is_wrong in (
        ("be whole numbers without gaps", lambda: ~np.isfinite(values) | (values != np.floor(values))),
        ("be class indices from 0 on", lambda: values < 0),
        (f"be class indices in [0, {n_classes})", lambda: values >= (np.inf if n_classes is None else n_classes)),
        (f"be class indices below {limit:,} (the number of examples, or 1,000)", lambda: values >= limit),
    ):
        if len(rows := np.flatnonzero(is_wrong())):
            raise invalid(name, requirement, join_some((f"{str(values[row])[:40]} in row {row}" for row in rows[:5]), len(rows)))
    return values.astype(np.int64)


def class_notes(labels: np.ndarray, classes: tuple[str, ...], split: str) -> list[str]:
    """Name classes with no example, and in train those with one."""
    counts = np.bincount(labels, minlength=len(classes))
    few = {"no example": 0} | ({"one example only": 1} if split == "train" else {})
    named = {what: [repr(classes[index]) for index in np.flatnonzero(counts == count)] for what, count in few.items()}
    return [f"{what} in {split} of class {join_some(names)}" for what, names in named.items() if names]


def twin_notes(classes: Sequence[str]) -> list[str]:
    """Name classes that differ in white space or capitals alone, as a table that was typed by hand has them."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(" ".join(name.split()).casefold(), []).append(repr(name))
    twins = [" and ".join(names) for names in alike.values() if len(names) > 1]
    return [f"are these one class? Only white space or capitals differ: {join_some(twins)}"] if twins else []


def as_column(values: Sequence[Any]) -> np.ndarray:
    """Return values as an array of numbers if all are, else as they are; NumPy would make one text of a number and a word."""
    are_numbers = all(type(value) in (int, float, bool) for value in values)
    return np.array(values) if are_numbers and len(values) else np.fromiter(values, object, len(values))


def is_missing(label: Any) -> bool:
    return label is None or (not isinstance(label, np.ndarray) and (label == "" or label != label))


def _places(texts: Iterable[str], classes: Iterable[str]) -> Int64[np.ndarray, " _"]:
    index = {name: index for index, name in enumerate(classes)}
    return np.array([index[text] for text in texts], np.int64)


def _texts(values: np.ndarray) -> list[str]:
    texts = []
    for row, value in enumerate(values.tolist()):
        value = value.item() if getattr(value, "ndim", None) == 0 else value
        if isinstance(value, Iterable) and not isinstance(value, str | bytes):  # a list or structure of a nested column
            raise invalid("labels", "be one for each example", f"a {type(value).__name__} in row {row}", "Multi-label is not read.")
        if not isinstance(value, _PLAIN):
            raise invalid("labels", "be names or numbers", f"an object of the type {type(value).__name__} in row {row}")
        if is_missing(value):
            raise invalid("labels", "be there for every example", f"none in row {row}")
        texts.append(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))
    return texts
