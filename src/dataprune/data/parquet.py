"""Which pictures and labels do Parquet files in the Hugging Face image layout hold?"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data.decode import BadPicture
from dataprune.data.parts import CHUNK, SPLITS, Part, Pictures, Source, encode, indices, plain, row_ids, size_of
from dataprune.errors import InputError, invalid, join_some

_PREFIXES = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "val": "validation"}
_LABELS = ("label", "labels", "fine_label")


@dataclass(frozen=True)
class RowChunk:
    """Pictures in one row group of a Parquet file."""

    start: int
    count: int
    path: str
    row_group: int
    column: str

    def blobs(self) -> Iterator[bytes | BadPicture]:
        """Read the encoded bytes in small batches, so that a huge row group does not come into memory at once."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=CHUNK, row_groups=[self.row_group], columns=[f"{self.column}.bytes"]):
                    for value in batch.column(0).field("bytes"):
                        data = value.as_py()
                        yield data if data is not None else BadPicture("has no bytes (a picture kept outside the Parquet file)")
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{plain(self.path)} is damaged: {' '.join(str(error).split())[:200]}") from None

    def sizes(self) -> Iterator[tuple[int, int] | BadPicture]:
        """Read the headers; the bytes are small here, or read once more."""
        yield from (size_of(blob) for blob in self.blobs())


@dataclass(frozen=True)
class _File:
    """One Parquet file in the layout, as its footer tells."""

    path: str
    rows: tuple[int, ...]  # of each row group
    image: str
    label: str | None
    names: tuple[str, ...]


def read_parquet(path: Path) -> Source:
    """Read ids and labels of a Parquet file, or of a folder of them with splits by name (`train*`, `test*`, `validation*`).

    A row's id is its `image.path` where these are unique in the split, else the row number. Labels of −1 throughout mean "none".

    Raises:   InputError if no file has the layout, or labels are missing, fractions, negative or outside the named classes.
    """
    base = os.path.realpath(path)
    files, passed = _layout_files(Path(base))
    if not files:
        why = f" Passed over: {join_some(passed)}." if passed else ""
        raise InputError(f"no Parquet file with an `image` column of bytes and path in {plain(path)}.{why}")
    splits, unnamed = _by_split(files, Path(base).is_dir())
    passed += [f"{_base_name(file)} (no split in its name)" for file in unnamed]
    notes = (f"passed over beside the pictures: {join_some(passed)}",) if passed else ()
    labels, classes, label_notes = _labels(splits)
    parts = {split: _part(base, group, labels.get(split)) for split, group in splits.items()}
    return Source("parquet", base, parts, classes, notes + label_notes)


def has_layout(folder: Path) -> bool:
    """Return whether a folder, or one right below it, holds a Parquet file in the layout; other tables may lie beside pictures."""
    return any(_is_in_layout(str(path)) for pattern in ("*.parquet", "*/*.parquet") for path in folder.glob(pattern))


def _is_in_layout(path: str) -> bool:
    try:
        return Path(path).is_file() and bool(_opened(path))  # a pipe would be waited for
    except InputError:
        return False


def _base_name(file: _File) -> str:
    return plain(Path(file.path).name)


def _layout_files(path: Path) -> tuple[list[_File], list[str]]:
    if path.is_file():
        return [_opened(str(path))], []
    found, passed = [], []
    for name in sorted(path.rglob("*.parquet")):
        shown = plain(name.relative_to(path))
        if any(part.startswith(".") for part in name.relative_to(path).parts) or name.is_dir():
            continue
        if not name.resolve().is_relative_to(path) or not name.is_file():
            passed.append(f"{shown} (a link out of the folder, or no regular file)")
            continue
        try:
            found.append(_opened(str(name)))
        except InputError as error:
            passed.append(f"{shown} ({error})")
    return found, passed


def _opened(path: str) -> _File:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            rows = tuple(file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{plain(path)} is no readable Parquet file: {' '.join(str(error).split())[:200]}") from None
    images = [field.name for field in schema if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    if image is None:
        raise InputError(f"no `image` column of bytes and path among {', '.join(schema.names)}")
    label = next((name for name in _LABELS if name in schema.names), None)
    return _File(path, rows, image, label, _class_names(schema.metadata or {}, label))


def _class_names(metadata: dict[bytes, bytes], label: str | None) -> tuple[str, ...]:
    """Find the names of the ClassLabel in the metadata that Hugging Face's library writes."""
    try:
        told: Any = json.loads(metadata.get(b"huggingface", b"{}"))
        names = told["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError):
        return ()
    if isinstance(names, dict):  # an older form: {"0": "airplane", ...}
        names = [names[key] for key in sorted(names, key=int)]
    return tuple(str(name) for name in names)


def _by_split(files: list[_File], is_folder: bool) -> tuple[dict[str, list[_File]], list[_File]]:
    if not is_folder:
        return {"train": files}, []
    splits: dict[str, list[_File]] = {}
    unnamed = []
    for file in files:
        name = Path(file.path).name.casefold()
        split = next((split for prefix, split in _PREFIXES.items() if name.startswith(prefix)), None)
        splits.setdefault(split, []).append(file) if split else unnamed.append(file)
    if not splits:
        return {"train": files}, []
    return {split: splits[split] for split in SPLITS if split in splits}, unnamed


def _labels(splits: dict[str, list[_File]]) -> tuple[dict[str, np.ndarray], tuple[str, ...], tuple[str, ...]]:
    """Read the labels of every split and give them shared classes."""
    files = [file for group in splits.values() for file in group]
    values = {split: _column(group) for split, group in splits.items() if all(file.label for file in group)}
    notes = tuple(
        f"the labels of {split} are all −1, so it counts as having none"
        for split, array in values.items()
        if array.dtype.kind in "if" and len(array) and (array == -1).all()
    )
    values = {
        split: array for split, array in values.items() if not (array.dtype.kind in "if" and len(array) and (array == -1).all())
    }
    if not values:
        return {}, (), notes
    named = {file.names for file in files if file.names}
    if len(named) > 1:
        raise InputError(
            f"the Parquet files name different classes: {join_some(('/'.join(names[:4]) for names in sorted(named)), most=2)}."
        )
    if named and all(array.dtype.kind in "iuf" for array in values.values()):
        classes = named.pop()
        return {split: indices(array, f"label of {split}", len(classes)) for split, array in values.items()}, classes, notes
    encoded, classes = encode(list(values.values()))
    return dict(zip(values, encoded, strict=True)), classes, notes


def _column(group: Sequence[_File]) -> np.ndarray:
    """Read the label column of a split's files; nulls stay None (text) or NaN (numbers) and are refused later, with their rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = []
    for file in group:
        assert file.label is not None
        column = pq.ParquetFile(file.path).read([file.label]).column(0)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns.append(column)
    types = {column.type for column in columns}
    if len(types) > 1:
        raise invalid("label", "have one type in all files", join_some(sorted(str(kind) for kind in types)))
    values = [column.to_numpy() for column in columns]
    return np.concatenate(values)


def _part(base: str, group: Sequence[_File], labels: np.ndarray | None) -> Part:
    chunks: list[RowChunk] = []
    start = 0
    for file in group:
        for row_group, count in enumerate(file.rows):
            chunks.append(RowChunk(start, count, file.path, row_group, file.image))
            start += count
    states = [Path(file.path).stat() for file in group]
    identity = (base, *(f"{f.path}\0{s.st_size}\0{s.st_mtime_ns}" for f, s in zip(group, states, strict=True)))
    pictures = Pictures(tuple(chunk for chunk in chunks if chunk.count), start, identity, sum(state.st_size for state in states))
    return Part(ids=_ids(group, start), labels=labels, pictures=pictures)


def _ids(group: Sequence[_File], count: int) -> list[str]:
    """Use `image.path` where every row has one and no two are equal, else row numbers."""
    import pyarrow.parquet as pq

    names: list[str] = []
    for file in group:
        if file.image is None:
            return row_ids(count)
        table = pq.ParquetFile(file.path).read([f"{file.image}.path"])
        if table.num_columns == 0:
            return row_ids(count)
        for chunk in table.column(0).chunks:
            texts = chunk.field("path").to_pylist()
            if not all(texts):
                return row_ids(count)
            names += texts
    return names if len(set(names)) == len(names) else row_ids(count)
