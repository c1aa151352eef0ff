"""Tables: a column that names picture files and mostly one of labels; or else rows that are the examples themselves."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dataprune import tables
from dataprune.data.classes import Listing, gather, sole_is_train
from dataprune.data.dataset import Skipped
from dataprune.data.folders import Place, label_at, layout, place_of
from dataprune.data.labels import Reading, is_called_label, labels_of, same_partition, split_column
from dataprune.data.recorded import records_source
from dataprune.data.source import SPLIT_NAMES, SPLITS, Source, plain, split_of
from dataprune.data.walk import File, Shelf, Walk, file_pictures, listed
from dataprune.errors import InputError, invalid, join_some, unknown_choice

_SAMPLE = 200  # rows by which the column that names the pictures is found
_UNASKED_BYTES = 200 * 10**6  # larger tables beside pictures are not looked into unless they are named


@dataclass(frozen=True)
class _Named:
    """A table, the column of it that names pictures, and the labels of its rows."""

    path: Path
    cells: Mapping[str, np.ndarray]
    faults: Mapping[int, str]
    image: str
    labels: np.ndarray | None
    split_column: str | None
    notes: tuple[str, ...]


_Row = tuple[File | Skipped, Any]  # what a row names, with its label


def read_table(path: Path, how: Reading) -> Source:
    """Read a table that names pictures by paths from its own folder, or by the ends of the paths of pictures below that; or whose
    rows are texts or examples themselves."""
    shelf, table = Shelf(os.path.realpath(path.parent)), tables.read_table(path, lenient=True)
    if how.text_column is None and (named := _named(path, table, shelf, how)):
        return _source(os.path.realpath(path), [named], shelf, [])
    if source := records_source("table", os.path.realpath(path), {"train": table}, how):
        return source
    shown = join_some(f"{name}: {str(column[0])[:40]!r}" for name, column in table.columns.items() if len(column))
    cure = "Name it with image_column (--image-column), or the texts with text_column, or labels of rows with label_column."
    raise invalid(str(path), "have a column that names picture files", f"in the first row {shown or 'nothing'}", cure)


def read_tables(found: Walk, how: Reading) -> Source | None:
    """Read tables without pictures, the splits by the words in their names; several of one split are its shards."""
    names = sorted(found.ending_in(tables.READABLE))
    shards: dict[str, list[tables.Table]] = {}
    for name in names:
        if split := split_of(name) or ("train" if len(names) == 1 else None):
            shards.setdefault(split, []).append(tables.read_table(Path(found.base, name), lenient=True))
    if "train" not in shards:
        return None
    joined = {split: _joined(shards[split]) for split in SPLITS if split in shards}
    return records_source("table", found.base, joined, how)


def _joined(shards: Sequence[tables.Table]) -> tables.Table:
    faults, start = dict[int, str](), 0
    for one in shards:
        faults |= {start + row: fault for row, fault in one.faults.items()}
        start += len(next(iter(one.columns.values()), ())) + len(one.faults)
    shared = [name for name in shards[0].columns if all(name in one.columns for one in shards)]
    columns = {name: np.concatenate([one.columns[name] for one in shards]) for name in shared}
    return tables.Table(columns, {}, faults, shards[0].unread)


def read_beside(found: Walk, how: Reading) -> tuple[Source | None, list[str]]:
    """Read the tables beside the pictures of a folder, if they say the labels; else return None, and which name them all the same.
    `metadata.*` do where they have labels, as in Hugging Face's library; others where the folders say none, or a column is named.
    Two that say different labels, or a table and the folders, are an InputError if none is preferred by its name."""
    names = list(found.ending_in(tables.READABLE))
    places, _ = layout((file.id for file in found.files), plain(found.base), labelled=True) if names and found.files else ([], [])
    own = {file.id: label_at(file.id, place) for file in found.files if (place := place_of(file.id, places))}
    has_classes = len({*own.values()} - {None}) > 1
    shelf, sheets = Shelf(found.base, found), list[_Named]()
    for name in names:
        is_meant = how.asked_column is not None or _is_metadata(name)
        if (is_meant or _is_near(name, places)) and (table := _read_beside(Path(found.base, name), is_meant)):
            with suppress(InputError) if has_classes and not is_meant else nullcontext():
                sheets += filter(None, [_named(Path(found.base, name), table, shelf, how)])
    sheets = [one for one in sheets if _is_metadata(one.path.name)] or sheets
    if how.asked_column and not sheets:
        raise invalid(how.asked_column, "be left out where no table names the pictures", f"none in {plain(found.base)}")
    if not any(one.labels is not None for one in sheets):
        all_named = [one.path.name for one in sheets if 2 * len(one.cells[one.image]) >= len(own)]
        cure = "name its column of labels with label_column (--label-column)"
        return None, [f"{name} names the pictures, and is not used: {cure}, if it has one" for name in all_named]
    source = _source(found.base, sheets, shelf, places)
    if how.asked_column or _is_metadata(sheets[0].path.name):
        return source, []
    if 2 * sum(len(part.ids) + len(part.bad) for part in source.parts.values()) < len(own):
        return None, []  # a list of classes, or of some pictures
    if has_classes:
        _refuse_disagreement(source, own, sheets)
    return None if has_classes else source, []


def _refuse_disagreement(source: Source, own: dict[str, str | None], sheets: Sequence[_Named]) -> None:
    """Refuse folders and tables that would make other classes; a few labels that are other ones are a list of corrections."""
    for part in source.parts.values():
        said = zip(part.ids, () if part.labels is None else part.labels.tolist(), strict=part.labels is not None)
        both_say = [(source.classes[label], str(own[one]), one) for one, label in said if own.get(one) is not None]
        if not both_say:
            continue
        given, folders, ids = (np.array(column, object) for column in zip(*both_say, strict=True))
        if set(given) != set(folders) and not same_partition(given, folders):
            by = join_some(one.path.name for one in sheets)
            both = f"{ids[0]} is of {folders[0]!r} by its folder, of {given[0]!r} by {by}"
            cure = f"Name the table as DATA ({sheets[0].path}), or labels=FILE (--labels), or move it away."
            raise invalid("labels", "be clear: the folders and a table name other classes", both, cure)


def _is_metadata(name: str) -> bool:
    """Return whether a table is called as Hugging Face's library calls the one beside pictures; it may lie anywhere."""
    return PurePosixPath(name).stem.casefold() == "metadata"


def _is_near(name: str, places: Sequence[Place]) -> bool:
    """Return whether a table lies in the root, or where a split begins, and is no list of predictions."""
    file = PurePosixPath(name).name
    return ("/" not in name or any(name == place.folder + file for place in places)) and "submission" not in file.casefold()


def _read_beside(path: Path, is_meant: bool) -> tables.Table | None:
    """Read a table that lies beside pictures; what is no sound table is passed over, unless it is meant."""
    with nullcontext() if is_meant else suppress(InputError, OSError):
        if is_meant or path.stat().st_size <= _UNASKED_BYTES:
            found = tables.read_table(path, lenient=True)
            return found if is_meant or not found.faults else None
    return None


def _named(path: Path, table: tables.Table, shelf: Shelf, how: Reading) -> _Named | None:
    cells = table.columns
    if (image := _image_column(path, cells, shelf, how)) is None:
        return None
    split = split_column(cells, [image, *filter(None, [how.label_column])])
    labels, notes = labels_of(cells, how.label_column, [name for name in (image, split) if name])
    notes += [f"the pictures are named by the column {image}"] if image not in ("image", "file_name") else []
    notes += [f"the splits are taken from the column {split}"] if split is not None else []
    return _Named(path, cells, table.faults, image, labels, split, tuple(f"{path.name}: {note}" for note in notes))


def _image_column(path: Path, cells: Mapping[str, np.ndarray], shelf: Shelf, how: Reading) -> str | None:
    """Return the column whose first rows name most pictures, each another one; None if none names any."""
    if how.image_column is not None:
        if how.image_column not in cells:
            raise unknown_choice("image_column", how.image_column, list(cells))
        return how.image_column
    named: dict[str, list[str]] = {}
    for name, column in cells.items():
        is_other = column.dtype.kind not in "iuO" or name == how.label_column or is_called_label(name)
        texts = [] if is_other else [str(cell) for cell in column[:_SAMPLE].tolist()]
        meant = [_meant(one, split_of(path.stem), shelf.base) for one in shelf.find(texts, str(path.parent))]
        found = [one[0] if len(one) == 1 else "" for one in meant]
        if 2 * sum(map(bool, found)) > len(texts):
            named[name] = found
    most = max((len(set(found)) for found in named.values()), default=0)
    best = [name for name, found in named.items() if len(set(found)) == most]
    with_endings = [name for name in best if cells[name].dtype == object and "." in str(cells[name][0])]
    best = [name for name in best if name == "file_name"] or with_endings or best
    if any(named[name] != named[best[0]] for name in best):
        first = join_some(f"{name}: {cells[name][0]!s:.60}" for name in best)
        raise invalid("image_column", "be given (--image-column) where several columns name pictures", first)
    return best[0] if best else None


def _source(path: str, sheets: Sequence[_Named], shelf: Shelf, places: Sequence[Place]) -> Source:
    rows: dict[str, dict[str, _Row]] = {split: {} for split in SPLITS}
    notes, without = [note for one in sheets for note in one.notes], set[str]()
    doubles, owner = Counter[str](), dict[str, str]()
    for one in sheets:
        for split, name, row in _rows(one, shelf, places, is_alone=len(sheets) == 1 and not places):
            before = rows[split].setdefault(name, row)
            if owner.setdefault(f"{split}/{name}", str(one.path)) != str(one.path):
                both = f"{join_some([owner[f'{split}/{name}'], str(one.path)])}, which both name {name}"
                raise invalid("DATA", "have one table for each split", both, "Name one of them as DATA.")
            if before is not row and str(before[1]) != str(row[1]):
                raise invalid(f"labels of {one.path.name}", "be one for each picture", f"{before[1]!r} and {row[1]!r} for {name}")
            doubles[one.path.name] += before is not row
            without |= {split} if one.labels is None else set()
    notes += [f"{name}: {count:,} rows name a picture again, with the same label" for name, count in doubles.items() if count]
    filled = {split: found for split, found in rows.items() if found}
    left = {file.id for file in shelf.walk.files} - {name for found in filled.values() for name in found} if places else set()
    notes += [f"{len(left):,} pictures are named by no table and left out: {join_some(sorted(left))}"] if left else []
    listings = dict[str, Listing]()
    for split, found in filled.items():
        items, labels = zip(*found.values(), strict=True)
        faults = {at: item.reason for at, item in enumerate(items) if isinstance(item, Skipped)}
        bad = () if listings else [Skipped(f"row {row}", fault) for one in sheets for row, fault in one.faults.items()]
        listings[split] = Listing(
            list(found), None if split in without else labels, partial(_content, shelf.base, items), faults, bad=tuple(bad)
        )
    return gather("table", path, sole_is_train(listings), notes)


def _content(base: str, items: Sequence[File | Skipped], rows: list[int]) -> dict[str, Any]:
    files = [item for row in rows if isinstance(item := items[row], File)]
    return {"pictures": file_pictures(base, files), "paths": [file.path for file in files]}


def _rows(one: _Named, shelf: Shelf, places: Sequence[Place], is_alone: bool) -> Iterator[tuple[str, str, _Row]]:
    """Yield for each row of a table its split, the name of its picture, and both with the label."""
    cells, file = one.cells, one.path.name
    texts = [str(cell) for cell in cells[one.image].tolist()]
    splits: list[str | None] = [split_of(one.path.stem)] * len(texts)
    if one.split_column:
        splits = [SPLIT_NAMES[str(cell).casefold()] for cell in cells[one.split_column]]
    labels = [None] * len(texts) if one.labels is None else one.labels.tolist()
    for row, (text, split, found) in enumerate(zip(texts, splits, shelf.find(texts, str(one.path.parent)), strict=True)):
        names = {_name(path, text, shelf.base): path for path in _meant(found, split, shelf.base)}
        if len(names) > 1:
            raise invalid(f"{file}:{one.image}", "name one picture in each row (by its path)", f"{text!r}: {join_some(names)}")
        name, path = next(iter(names.items()), (plain(text) or f"row {row}", ""))
        item = listed(path, name) if path else Skipped(name, f"no picture of that name, in {file}")
        place = place_of(name, places)
        by_name = split if one.split_column or not is_alone else None
        yield by_name or (place.split if place else "train"), name, (item, labels[row])


def _meant(paths: list[str], split: str | None, base: str) -> list[str]:
    """Return the pictures of one name that lie in folders of a split, where there are several: 1.png of train and of test."""
    if len(paths) < 2 or split is None:
        return paths
    return [path for path in paths if split in map(split_of, Path(path).relative_to(base).parts[:-1])] or paths


def _name(path: str, text: str, base: str) -> str:
    """Name a picture by its path from the folder, or as the table does if it lies elsewhere."""
    inside = os.path.relpath(path, base) if path.startswith(f"{base}{os.sep}") else text
    return plain(inside).replace(os.sep, "/")
