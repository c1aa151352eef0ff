"""Parquet files in the Hugging Face image layout: a column of pictures (bytes and path) and mostly one of labels."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data.columns import Columns, label_column
from dataprune.data.labels import are_absent, encode_splits
from dataprune.data.source import CHUNK, Chunk, Part, Pictures, Read, Source, files_by_split, plain, read_stored, row_ids
from dataprune.errors import InputError, invalid, join_some


@dataclass(frozen=True)
class _File:
    """What the footer of one file in the layout says; `features` are those of Hugging Face's library, by column."""

    path: str
    name: str  # relative to the folder that was asked for
    rows: tuple[int, ...]  # of each row group
    image: str
    has_paths: bool
    columns: tuple[str, ...]
    features: dict[str, Any]


def read_parquet(files: Mapping[str, str], base: str, columns: Columns, is_folder: bool) -> Source | None:
    """Read ids and labels of Parquet files in the layout, splits by the words in their names and folders; None if no file is.

    A row's id is its `image.path` where these are unique in the split, else the row number. Labels of -1 throughout mean "none".

    Args:     files: their paths, by their names relative to `base`.
    """
    found, passed = list[_File](), list[str]()
    for name, path in files.items():
        try:
            found.append(_footer(path, name, columns.image))
        except InputError as error:
            passed.append(f"{name} ({error})")
    if not found:
        return None
    of_name = {file.name: file for file in found}
    sorted_names, unnamed = files_by_split(of_name) if is_folder else ({"train": list(of_name)}, [])
    splits = {split: [of_name[name] for name in names] for split, names in sorted_names.items()}
    passed += [f"{name} (no split in its name)" for name in unnamed]
    notes = [f"passed over beside the pictures: {join_some(passed)}"] if passed else []
    label, said = _label_name(found, columns)
    notes += said
    values = {split: _column(group, label) for split, group in splits.items() if all(label in file.columns for file in group)}
    absent = [split for split, array in values.items() if are_absent(array)]
    notes += [f"the labels of {split} are all −1, so it counts as having none" for split in absent]
    labels, classes = _labels(found, label, {split: array for split, array in values.items() if split not in absent})
    parts = {split: _part(base, group, labels.get(split)) for split, group in splits.items()}
    return Source("parquet", base, parts, classes, tuple(notes))


def _footer(path: str, name: str, asked: str | None) -> _File:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            rows = tuple(file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{plain(path)} is no readable Parquet file: {' '.join(str(error).split())[:200]}") from None
    images = {field.name: field for field in schema if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0}
    image = asked or ("image" if "image" in images or len(images) != 1 else next(iter(images)))
    if image not in images:
        raise InputError(f"no `{image}` column of bytes and path among {', '.join(schema.names)}")
    has_paths = images[image].type.get_field_index("path") >= 0
    return _File(path, name, rows, image, has_paths, tuple(schema.names), _features(schema.metadata or {}))


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """Return what Hugging Face's library writes about the columns."""
    try:
        written: Any = json.loads(metadata.get(b"huggingface", b"{}"))
        found = written["info"]["features"]
        return found if isinstance(found, dict) else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _label_name(files: list[_File], columns: Columns) -> tuple[str, list[str]]:
    """Choose the column of labels by the names and types of the first file's columns."""
    names = [name for name in files[0].columns if name != files[0].image]
    typed = [name for name in names if _class_names(files[0].features, name)]
    label, notes = label_column(names, lambda name: _column(files[:1], name), columns.label, typed)
    return label or "", notes


def _class_names(features: dict[str, Any], label: str) -> tuple[str, ...]:
    """Find the names of a column of the type ClassLabel."""
    try:
        names = features[label]["names"]
        if isinstance(names, dict):  # an older form: {"0": "airplane", ...}
            names = [names[key] for key in sorted(names, key=int)]
        return tuple(str(name) for name in names)
    except (ValueError, KeyError, TypeError):
        return ()


def _labels(files: list[_File], label: str, values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return class indices of all splits, of the classes that the files name, or that the values make."""
    named = {names for file in files if (names := _class_names(file.features, label))} if values else set()
    if len(named) > 1:
        shown = join_some(("/".join(names[:4]) for names in sorted(named)), most=2)
        raise InputError(f"the Parquet files name different classes: {shown}.")
    are_numbers = all(array.dtype.kind in "iuf" for array in values.values())
    return encode_splits(values, named.pop() if named and are_numbers else ())


def _column(group: Sequence[_File], name: str) -> np.ndarray:
    """Read a column of a split's files; nulls stay None (text) or NaN (numbers) and are refused later, with their rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pq.ParquetFile(file.path).read([name]).column(0) for file in group]
    columns = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in columns]
    if len(types := {str(column.type) for column in columns}) > 1:
        raise invalid(name, "have one type in all files", join_some(sorted(types)))
    return np.concatenate([column.to_numpy() for column in columns])


def _part(base: str, group: Sequence[_File], labels: np.ndarray | None) -> Part:
    chunks: list[Chunk] = []
    start = 0
    for file in group:
        for row_group, count in enumerate(file.rows):
            if count:
                chunks.append(Chunk(start, count, partial(_row_group, file.path, row_group, file.image)))
            start += count
    states = [Path(file.path).stat() for file in group]
    identity = (base, *(f"{f.path}\0{s.st_size}\0{s.st_mtime_ns}" for f, s in zip(group, states, strict=True)))
    pictures = Pictures(tuple(chunks), identity, sum(state.st_size for state in states))
    return Part(_paths(group) or row_ids(start), labels, pictures)


def _paths(group: Sequence[_File]) -> list[str] | None:
    """Read `image.path` of all rows; None if a row has none or two are equal."""
    import pyarrow.parquet as pq

    if not all(file.has_paths for file in group):
        return None
    tables = (pq.ParquetFile(file.path).read([f"{file.image}.path"]).flatten() for file in group)
    paths = [path for table in tables for path in table.column(0).to_pylist()]
    return paths if all(paths) and len(set(paths)) == len(paths) else None


def _row_group(path: str, row_group: int, column: str) -> Iterator[Read]:
    """Read encoded pictures in small batches, so that a huge row group does not come into memory at once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=CHUNK, row_groups=[row_group], columns=[f"{column}.bytes"]):
                for value in batch.column(0).field("bytes"):
                    yield partial(read_stored, value.as_py(), "has no bytes (a picture kept outside the Parquet file)")
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{plain(path)} is damaged: {' '.join(str(error).split())[:200]}") from None
