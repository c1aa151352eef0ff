"""Parquet files in the Hugging Face image layout: a column of pictures (bytes and path) and mostly one of labels."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data.labels import are_absent, encode_splits
from dataprune.data.source import CHUNK, SPLIT_NAMES, SPLITS, Chunk, Part, Pictures, Read, Source, plain, read_stored, row_ids
from dataprune.errors import InputError, invalid, join_some

_LABELS = ("label", "labels", "fine_label")


@dataclass(frozen=True)
class _File:
    """What the footer of one file in the layout says."""

    path: str
    rows: tuple[int, ...]  # of each row group
    image: str
    has_paths: bool
    label: str | None
    names: tuple[str, ...]


def read_parquet(path: Path) -> Source:
    """Read ids and labels of a Parquet file, or of a folder of them with splits by name (`train*`, `test*`, `validation*`).

    A row's id is its `image.path` where these are unique in the split, else the row number. Labels of −1 throughout mean "none".
    """
    base = Path(os.path.realpath(path))
    files, passed = _layout_files(base)
    if not files:
        why = f" Passed over: {join_some(passed)}." if passed else ""
        raise InputError(f"no Parquet file with an `image` column of bytes and path in {plain(path)}.{why}")
    splits, unnamed = _by_split(files) if base.is_dir() else ({"train": files}, [])
    passed += [f"{plain(Path(file.path).name)} (no split in its name)" for file in unnamed]
    notes = [f"passed over beside the pictures: {join_some(passed)}"] if passed else []
    values = {split: _label_column(group) for split, group in splits.items() if all(file.label for file in group)}
    absent = [split for split, array in values.items() if are_absent(array)]
    notes += [f"the labels of {split} are all −1, so it counts as having none" for split in absent]
    labels, classes = _labels(files, {split: array for split, array in values.items() if split not in absent})
    parts = {split: _part(str(base), group, labels.get(split)) for split, group in splits.items()}
    return Source("parquet", str(base), parts, classes, tuple(notes))


def holds_pictures(folder: Path) -> bool:
    """Return whether a folder, or one right below it, holds a Parquet file in the layout; other tables may lie beside pictures."""
    for path in chain(folder.glob("*.parquet"), folder.glob("*/*.parquet")):
        with contextlib.suppress(InputError):
            if path.is_file() and _footer(path):  # a pipe would be waited for
                return True
    return False


def _layout_files(path: Path) -> tuple[list[_File], list[str]]:
    if path.is_file():
        return [_footer(path)], []
    found, passed = [], []
    for file in sorted(path.rglob("*.parquet")):
        name = plain(file.relative_to(path))
        if any(part.startswith(".") for part in file.relative_to(path).parts) or file.is_dir():
            continue
        if not file.resolve().is_relative_to(path) or not file.is_file():
            passed.append(f"{name} (a link out of the folder, or no regular file)")
            continue
        try:
            found.append(_footer(file))
        except InputError as error:
            passed.append(f"{name} ({error})")
    return found, passed


def _footer(path: Path) -> _File:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            rows = tuple(file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{plain(path)} is no readable Parquet file: {' '.join(str(error).split())[:200]}") from None
    images = [field for field in schema if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0]
    image = next((field for field in images if field.name == "image"), images[0] if len(images) == 1 else None)
    if image is None:
        raise InputError(f"no `image` column of bytes and path among {', '.join(schema.names)}")
    label = next((name for name in _LABELS if name in schema.names), None)
    has_paths = image.type.get_field_index("path") >= 0
    return _File(str(path), rows, image.name, has_paths, label, _class_names(schema.metadata or {}, label))


def _class_names(metadata: dict[bytes, bytes], label: str | None) -> tuple[str, ...]:
    """Find the names of the ClassLabel in the metadata that Hugging Face's library writes."""
    try:
        written: Any = json.loads(metadata.get(b"huggingface", b"{}"))
        names = written["info"]["features"][label]["names"]
        if isinstance(names, dict):  # an older form: {"0": "airplane", ...}
            names = [names[key] for key in sorted(names, key=int)]
        return tuple(str(name) for name in names)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def _by_split(files: list[_File]) -> tuple[dict[str, list[_File]], list[_File]]:
    """Sort files by the split in their names; return those without one apart, or as train where none has one."""
    splits: dict[str, list[_File]] = {split: [] for split in (*SPLITS, "")}
    for file in files:
        name = Path(file.path).name.casefold()
        splits[next((split for prefix, split in SPLIT_NAMES.items() if name.startswith(prefix)), "")].append(file)
    unnamed = splits.pop("")
    named = {split: group for split, group in splits.items() if group}
    return (named, unnamed) if named else ({"train": unnamed}, [])


def _labels(files: list[_File], values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return class indices of all splits, of the classes that the files name, or that the values make."""
    named = {file.names for file in files if file.names} if values else set()
    if len(named) > 1:
        shown = join_some(("/".join(names[:4]) for names in sorted(named)), most=2)
        raise InputError(f"the Parquet files name different classes: {shown}.")
    are_numbers = all(array.dtype.kind in "iuf" for array in values.values())
    return encode_splits(values, named.pop() if named and are_numbers else ())


def _label_column(group: Sequence[_File]) -> np.ndarray:
    """Read the label column of a split's files; nulls stay None (text) or NaN (numbers) and are refused later, with their rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pq.ParquetFile(file.path).read([file.label]).column(0) for file in group]
    columns = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in columns]
    if len(types := {str(column.type) for column in columns}) > 1:
        raise invalid("label", "have one type in all files", join_some(sorted(types)))
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
