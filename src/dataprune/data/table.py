"""Tables of pictures: CSV, TSV, JSON lines or Parquet with a column that names files and mostly one of labels."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dataprune import tables
from dataprune.data.columns import Columns, is_called_label, labels_of, same_partition, split_column
from dataprune.data.dataset import Skipped
from dataprune.data.folders import Place, label_at, layout, place_of
from dataprune.data.labels import are_absent, as_column, encode_splits, is_missing
from dataprune.data.recorded import records_source
from dataprune.data.shelf import Shelf
from dataprune.data.source import SPLIT_NAMES, SPLITS, Part, Source, plain, split_of
from dataprune.data.walk import File, Walk, file_pictures, listed
from dataprune.errors import InputError, invalid, join_some, unknown_choice

_SAMPLE = 200  # rows by which the column that names the pictures is found
_UNASKED_BYTES = 200 * 10**6  # larger tables beside pictures are not looked into unless they are named


@dataclass(frozen=True)
class _Sheet:
    """A table, the column of it that names pictures, and the labels of its rows."""

    path: Path
    cells: dict[str, np.ndarray]
    image: str
    labels: np.ndarray | None
    split_column: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """What one row names, with its label."""

    item: File | Skipped
    label: Any


def read_table(path: Path, columns: Columns) -> Source:
    """Read a table that names pictures by paths from its own folder, or by the ends of the paths of pictures below that; or whose
    rows are texts or examples themselves."""
    shelf = Shelf(os.path.realpath(path.parent))
    cells = _cells(path)
    sheet = None if columns.text is not None else _sheet(path, cells, shelf, columns)
    if sheet is None:
        if source := records_source("table", os.path.realpath(path), {"train": cells}, columns):
            return source
        shown = join_some(f"{name}: {str(column[0])[:40]!r}" for name, column in cells.items() if len(column))
        cure = (
            "Name it with image_column (--image-column), paths start at the table's folder; or the texts with text_column "
            "(--text-column); or, where each row is an example, the labels with label_column (--label-column)."
        )
        raise invalid(str(path), "have a column that names picture files", f"in the first row {shown or 'nothing'}", cure)
    return _source(os.path.realpath(path), [sheet], shelf, [])


def read_tables(found: Walk, columns: Columns) -> Source | None:
    """Read tables without pictures, the splits by the words in their names; several of one split are its shards."""
    names = sorted(name for name in found.others if PurePosixPath(name).suffix.lower() in tables.READABLE)
    shards: dict[str, list[dict[str, np.ndarray]]] = {}
    for name in names:
        if split := split_of(name) or ("train" if len(names) == 1 else None):
            shards.setdefault(split, []).append(_cells(Path(found.base, name)))
    if "train" not in shards:
        return None
    sheets = {
        split: {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if all(name in part for part in parts)}
        for split, parts in shards.items()
    }
    return records_source("table", found.base, {split: sheets[split] for split in SPLITS if split in sheets}, columns)


def read_beside(found: Walk, columns: Columns) -> tuple[Source | None, list[str]]:
    """Read the tables beside the pictures of a folder, if they say the labels; else return None, and which name them all the same.

    `metadata.*` do where they have labels, as in Hugging Face's library; others where the folders say none, or a column is named.

    Raises:   InputError if two tables, or a table and the folders, say different labels and none is preferred by its name.
    """
    names = [name for name in found.others if PurePosixPath(name).suffix.lower() in tables.READABLE]
    places, _ = layout((file.id for file in found.files), plain(found.base), labelled=True) if names and found.files else ([], [])
    own = {file.id: label_at(file.id, place) for file in found.files if (place := place_of(file.id, places))}
    has_classes = len({*own.values()} - {None}) > 1
    shelf, sheets = Shelf(found.base, found), list[_Sheet]()
    for name in names:
        is_meant = columns.asked is not None or _is_metadata(name)
        if (is_meant or _is_near(name, places)) and (cells := _cells_beside(Path(found.base, name), is_meant)):
            with suppress(InputError) if has_classes and not is_meant else nullcontext():
                sheets += filter(None, [_sheet(Path(found.base, name), cells, shelf, columns)])
    sheets = [sheet for sheet in sheets if _is_metadata(sheet.path.name)] or sheets
    if columns.asked and not sheets:
        raise invalid(columns.asked, "be left out where no table names the pictures", f"{plain(found.base)} without one that fits")
    if not any(sheet.labels is not None for sheet in sheets):
        named = [sheet.path.name for sheet in sheets if 2 * len(sheet.cells[sheet.image]) >= len(own)]
        cure = "name its column of labels with label_column (--label-column)"
        return None, [f"{name} names the pictures, and is not used: {cure}, if it has one" for name in named]
    source = _source(found.base, sheets, shelf, places)
    if columns.asked or _is_metadata(sheets[0].path.name):
        return source, []
    if 2 * sum(len(part.ids) + len(part.bad) for part in source.parts.values()) < len(own):
        return None, []  # a list of classes, or of some pictures
    if has_classes:
        _refuse_disagreement(source, own, sheets)
    return None if has_classes else source, []


def _refuse_disagreement(source: Source, own: dict[str, str | None], sheets: Sequence[_Sheet]) -> None:
    """Refuse folders and tables that would make other classes; a few labels that are other ones are a list of corrections."""
    for part in source.parts.values():
        named = [] if part.labels is None else [source.classes[label] for label in part.labels]
        both_say = [(name, str(own[one]), one) for name, one in zip(named, part.ids, strict=True) if own.get(one) is not None]
        if not both_say:
            continue
        given, folders, ids = (np.array(column, object) for column in zip(*both_say, strict=True))
        if set(given) != set(folders) and not same_partition(given, folders):
            by = join_some(sheet.path.name for sheet in sheets)
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


def _cells_beside(path: Path, is_meant: bool) -> dict[str, np.ndarray] | None:
    """Read a table that lies beside pictures; what is no sound table is passed over, unless it is meant."""
    try:
        return _cells(path) if is_meant or path.stat().st_size <= _UNASKED_BYTES else None
    except (InputError, OSError):
        if is_meant:
            raise
        return None


def _cells(path: Path) -> dict[str, np.ndarray]:
    """Read the columns of a table that hold numbers or text, of JSON lines all."""
    return tables.read_table(path, tables.flat_columns(path)).columns


def _sheet(path: Path, cells: dict[str, np.ndarray], shelf: Shelf, columns: Columns) -> _Sheet | None:
    image = _image_column(path, cells, shelf, columns)
    if image is None:
        return None
    split = split_column(cells, [image, *filter(None, [columns.label])])
    labels, notes = labels_of(cells, columns.label, [name for name in (image, split) if name])
    notes += [f"the pictures are named by the column {image}"] if image not in ("image", "file_name") else []
    notes += [f"the splits are taken from the column {split}"] if split is not None else []
    return _Sheet(path, cells, image, labels, split, tuple(f"{path.name}: {note}" for note in notes))


def _image_column(path: Path, cells: dict[str, np.ndarray], shelf: Shelf, columns: Columns) -> str | None:
    """Return the column whose first rows name most pictures, each another one; None if none names any."""
    if columns.image is not None and columns.image not in cells:
        raise unknown_choice("image_column", columns.image, list(cells))
    if columns.image is not None:
        return columns.image
    named: dict[str, list[str]] = {}
    for name, column in cells.items():
        is_other = column.dtype.kind not in "iuO" or name == columns.label or is_called_label(name)
        texts = [] if is_other else [str(cell) for cell in column[:_SAMPLE].tolist()]
        meant = [_meant(one, split_of(path.stem), shelf.base) for one in shelf.find(texts, str(path.parent))]
        found = [one[0] if len(one) == 1 else "" for one in meant]
        if 2 * sum(map(bool, found)) > len(texts):
            named[name] = found
    most = max((len(set(found)) for found in named.values()), default=0)
    best = [name for name, found in named.items() if len(set(found)) == most]
    best = [name for name in best if name == "file_name"] or [name for name in best if _has_endings(cells[name])] or best
    if any(named[name] != named[best[0]] for name in best):
        first = join_some(f"{name}: {cells[name][0]!s:.60}" for name in best)
        raise invalid("image_column", "be given (--image-column) where several columns name pictures", first)
    return best[0] if best else None


def _has_endings(column: np.ndarray) -> bool:
    return column.dtype == object and "." in str(column[0])


def _source(path: str, sheets: Sequence[_Sheet], shelf: Shelf, places: Sequence[Place]) -> Source:
    """Sort the rows of all tables by split and build the source of them."""
    rows: dict[str, dict[str, _Row]] = {split: {} for split in SPLITS}
    notes, without, doubles, owner = (
        [note for sheet in sheets for note in sheet.notes],
        set[str](),
        Counter[str](),
        dict[str, str](),
    )
    for sheet in sheets:
        for split, name, row in _rows(sheet, shelf, places, is_alone=len(sheets) == 1 and not places):
            before = rows[split].setdefault(name, row)
            if owner.setdefault(f"{split}/{name}", str(sheet.path)) != str(sheet.path):
                both = join_some([owner[f"{split}/{name}"], str(sheet.path)])
                raise invalid(
                    "DATA", "have one table for each split", f"{both}, which both name {name}", "Name one of them as DATA."
                )
            if before is not row and str(before.label) != str(row.label):
                got = f"{before.label!r} and {row.label!r} for {name}"
                raise invalid(f"labels of {sheet.path.name}", "be one for each picture", got, "Multi-label data are not supported.")
            doubles[sheet.path.name] += before is not row
            without |= {split} if sheet.labels is None else set()
    notes += [f"{name}: {count:,} rows name a picture again, with the same label" for name, count in doubles.items() if count]
    filled = {split: found for split, found in rows.items() if found}
    if "train" not in filled:
        filled = {"train": {name: row for found in filled.values() for name, row in found.items()}} if len(filled) == 1 else filled
    left = {file.id for file in shelf.walk.files} - {name for found in filled.values() for name in found} if places else set()
    notes += [f"{len(left):,} pictures are named by no table and left out: {join_some(sorted(left))}"] if left else []
    usable = {split: _usable(found, split not in without) for split, found in filled.items()}
    values = {split: array for split, (_, array, _) in usable.items() if array is not None and not are_absent(array)}
    labels, classes = encode_splits(values)
    parts = {
        split: Part(
            [file.id for file in files],
            labels.get(split),
            file_pictures(shelf.base, files),
            paths=[file.path for file in files],
            bad=tuple(bad),
        )
        for split, (files, _, bad) in usable.items()
    }
    return Source("table", path, parts, classes, tuple(notes))


def _rows(sheet: _Sheet, shelf: Shelf, places: Sequence[Place], is_alone: bool) -> Iterator[tuple[str, str, _Row]]:
    """Yield for each row of a table its split, the name of its picture, and both with the label."""
    texts = [str(cell) for cell in sheet.cells[sheet.image].tolist()]
    named = split_of(sheet.path.stem)
    splits = (
        [SPLIT_NAMES[str(cell).casefold()] for cell in sheet.cells[sheet.split_column]]
        if sheet.split_column
        else [named] * len(texts)
    )
    labels = [None] * len(texts) if sheet.labels is None else sheet.labels.tolist()
    for row, (text, split, found) in enumerate(zip(texts, splits, shelf.find(texts, str(sheet.path.parent)), strict=True)):
        names = {_name(path, text, shelf.base): path for path in _meant(found, split, shelf.base)}
        if len(names) > 1:
            cure = "Write paths from the table's folder."
            raise invalid(f"{sheet.path.name}:{sheet.image}", "name one picture in each row", f"{text!r}: {join_some(names)}", cure)
        name, path = next(iter(names.items()), (plain(text) or f"row {row}", ""))
        item = listed(path, name) if path else Skipped(name, f"no picture of that name, in {sheet.path.name}")
        place = place_of(name, places)
        by_name = split if sheet.split_column or not is_alone else None
        yield by_name or (place.split if place else "train"), name, _Row(item, labels[row])


def _meant(paths: list[str], split: str | None, base: str) -> list[str]:
    """Return the pictures of one name that lie in folders of a split, where there are several: 1.png of train and of test."""
    if len(paths) < 2 or split is None:
        return paths
    return [path for path in paths if split in map(split_of, Path(path).relative_to(base).parts[:-1])] or paths


def _name(path: str, text: str, base: str) -> str:
    """Name a picture by its path from the folder, or as the table does if it lies elsewhere."""
    inside = os.path.relpath(path, base) if path.startswith(f"{base}{os.sep}") else text
    return plain(inside).replace(os.sep, "/")


def _usable(found: dict[str, _Row], is_labelled: bool) -> tuple[list[File], np.ndarray | None, list[Skipped]]:
    """Return the pictures of a split with their labels, if it has any, and the rows that cannot be used."""
    has_labels = is_labelled and not all(is_missing(row.label) for row in found.values())
    files, labels, bad = list[File](), list[Any](), list[Skipped]()
    for name, row in found.items():
        if isinstance(row.item, Skipped):
            bad.append(row.item)
        elif has_labels and is_missing(row.label):
            bad.append(Skipped(name, "has no label"))
        else:
            files.append(row.item)
            labels.append(row.label)
    return files, as_column(labels) if has_labels else None, bad
