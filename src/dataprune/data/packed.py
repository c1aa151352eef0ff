"""Pictures stored with their labels in tables: Parquet files in the Hugging Face layout, and data sets of its library."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data.classes import Listing, as_column, gather
from dataprune.data.decode import BadPicture
from dataprune.data.labels import Reading, label_column
from dataprune.data.recorded import records_source
from dataprune.data.source import CHUNK, Chunk, Pictures, Read, Source, by_split, files_by_split, plain, read_file, row_ids, stamp
from dataprune.errors import InputError, MachineError, invalid, join_some, one_line
from dataprune.tables import Table


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


def read_parquet(files: Mapping[str, str], base: str, how: Reading, is_folder: bool) -> Source | None:
    """Read ids and labels of Parquet files (by names below `base`), splits by the words in these; None if none is of pictures. A
    row's id is its `image.path` where these are unique in the split, else the row number. Labels of -1 throughout mean "none"."""
    of_name, passed = dict[str, _File](), list[str]()
    for name, path in files.items():
        try:
            of_name[name] = _footer(path, name, how.image_column)
        except InputError as error:
            passed.append(f"{name} ({error})")
    if not of_name:
        return None
    found = list(of_name.values())
    names, unnamed = files_by_split(of_name) if is_folder else ({"train": list(of_name)}, [])
    splits = {split: [of_name[name] for name in group] for split, group in names.items()}
    passed += [f"{name} (no split in its name)" for name in unnamed]
    notes = [f"passed over beside the pictures: {join_some(passed)}"] if passed else []
    others = [name for name in found[0].columns if name != found[0].image]
    typed = [name for name in others if _class_names(found[0].features, name)]
    label, said = label_column(others, lambda name: _column(found[:1], name), how.label_column, typed)
    values = {split: _column(group, label or "") for split, group in splits.items() if all(label in one.columns for one in group)}
    named = {classes for file in found if (classes := _class_names(file.features, label or ""))} if values else set()
    if len(named) > 1:
        raise InputError(f"the Parquet files name different classes: {join_some(map('/'.join, sorted(named)), most=2)}.")
    are_numbers = all(array.dtype.kind in "iuf" for array in values.values())
    listings = {split: _listing(*_parquet_pictures(base, group), values.get(split)) for split, group in splits.items()}
    return gather("parquet", base, listings, [*notes, *said], named.pop() if named and are_numbers else ())


def _listing(ids: list[str], pictures: Pictures, labels: np.ndarray | None) -> Listing:
    called = [f"row {name}" for name in ids] if ids == row_ids(len(ids)) else ids
    return Listing(ids, None if labels is None else labels.tolist(), lambda rows: {"pictures": pictures.take(rows)}, called=called)


def _footer(path: str, name: str, asked: str | None) -> _File:
    import pyarrow as pa

    from dataprune.tables.parquet import opened

    with opened(Path(path)) as file:
        schema = file.schema_arrow
        rows = tuple(file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
    images = {field.name: field for field in schema if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0}
    image = asked or ("image" if "image" in images or len(images) != 1 else next(iter(images)))
    if image not in images:
        raise InputError(f"no `{image}` column of bytes and path among {', '.join(schema.names)}")
    features: Any = {}
    with suppress(ValueError, KeyError, TypeError, RecursionError):  # what Hugging Face's library writes about the columns
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    has_paths = images[image].type.get_field_index("path") >= 0
    return _File(path, name, rows, image, has_paths, tuple(schema.names), features if isinstance(features, dict) else {})


def _class_names(features: dict[str, Any], label: str) -> tuple[str, ...]:
    with suppress(ValueError, KeyError, TypeError):
        names = features[label]["names"]
        if isinstance(names, dict):  # an older form: {"0": "airplane", ...}
            names = [names[key] for key in sorted(names, key=int)]
        return tuple(str(name) for name in names)
    return ()


def _column(group: Sequence[_File], name: str) -> np.ndarray:
    """Read a column of a split's files; nulls stay None (text) or NaN (numbers) and are refused later, with their rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pq.ParquetFile(file.path).read([name]).column(0) for file in group]
    columns = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in columns]
    if len(types := {str(column.type) for column in columns}) > 1:
        raise invalid(name, "have one type in all files", join_some(sorted(types)))
    return np.concatenate([column.to_numpy() for column in columns])


def _parquet_pictures(base: str, group: Sequence[_File]) -> tuple[list[str], Pictures]:
    import pyarrow.parquet as pq

    chunks, start = list[Chunk](), 0
    for file in group:
        for row_group, count in enumerate(file.rows):
            if count:
                chunks.append(Chunk(start, count, partial(_row_group, file.path, row_group, file.image)))
            start += count
    states = [Path(file.path).stat() for file in group]
    identity = (base, *(stamp(file.path, state) for file, state in zip(group, states, strict=True)))
    ids = list[str]()
    if all(file.has_paths for file in group):
        tables = (pq.ParquetFile(file.path).read([f"{file.image}.path"]).flatten() for file in group)
        ids = [path for table in tables for path in table.column(0).to_pylist()]
    is_unique = all(ids) and len(set(ids)) == len(ids) == start
    return ids if is_unique else row_ids(start), Pictures(tuple(chunks), identity, sum(state.st_size for state in states))


def _row_group(path: str, row_group: int, column: str) -> Iterator[Read]:
    """Read encoded pictures in small batches, so that a huge row group does not come into memory at once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=CHUNK, row_groups=[row_group], columns=[f"{column}.bytes"]):
                for value in batch.column(0).field("bytes"):
                    yield partial(_stored, value.as_py(), "has no bytes (a picture kept outside the Parquet file)")
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{plain(path)} is damaged: {one_line(error)}.") from None


def is_huggingface(thing: Any) -> bool:
    """Return whether an object is a `datasets.Dataset` or a `DatasetDict` of them, without importing the library."""
    one = next(iter(thing.values()), None) if isinstance(thing, dict) else thing
    return all(hasattr(one, name) for name in ("cast_column", "column_names", "features", "__len__"))


def load_huggingface(name: str, how: Reading) -> Source:
    """Load `hf:NAME` through Hugging Face's library; raise MachineError without it, or without a network."""
    try:
        import datasets
    except ImportError:
        raise MachineError(f"hf:{name} needs Hugging Face's library: pip install 'dataprune[huggingface]'.") from None
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # noqa: BLE001 the library raises many kinds for a name that is none
        kind = MachineError if isinstance(error, ConnectionError | TimeoutError) else InputError
        raise kind(f"cannot load hf:{name}: {one_line(error)}.") from None
    return huggingface_source(loaded, how, path=f"hf:{name}")


def huggingface_source(thing: Any, how: Reading, path: str = "") -> Source:
    """List the splits of a `datasets.Dataset` or `DatasetDict`: of the columns that are named, else of those by name and type."""
    splits = {str(name): part for name, part in thing.items()} if isinstance(thing, dict) else {"train": thing}
    named = by_split(splits, "the data set")
    if "train" not in named:
        raise invalid("data set", "have a split `train`", ", ".join(splits) or "none")
    left = [name for name in splits if name not in named.values()]
    notes = [f"splits that are not used: {join_some(left)}"] if left else []
    train = splits[named["train"]]
    if train.format["type"] == "custom":
        notes.append("the transform of the data set is not applied: its columns are read as they are stored")
    stored = {split: splits[name].with_format(None) for split, name in named.items()}
    features = train.features or {}
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    pictured, typed = ([name for name, kind in kinds.items() if kind == one] for one in ("Image", "ClassLabel"))
    sole = pictured[0] if "image" not in train.column_names and len(pictured) == 1 else "image"
    image = how.image_column or sole
    if how.text_column is not None or (how.image_column is None and image not in train.column_names):
        asked = replace(how, label_column=typed[0]) if how.label_column is None and len(typed) == 1 else how
        if records := _records(stored, features, asked, path, notes):
            return records
    names = [name for name in train.column_names if name != image]
    others = [name for name in typed if name != image]
    label, said = label_column(names, lambda name: _values(stored["train"], name), how.label_column, others)
    values = {split: _values(part, label) for split, part in stored.items() if label and label in part.column_names}
    listings = {split: _listing(*_huggingface_pictures(part, image), values.get(split)) for split, part in stored.items()}
    classes = tuple(getattr(features.get(label), "names", None) or ())
    return gather("huggingface", path, listings, (*notes, *said), classes)


def _records(stored: dict[str, Any], features: Any, how: Reading, path: str, notes: Sequence[str]) -> Source | None:
    """Return the texts or rows of splits, with the names of the classes where their type says them."""
    cells = {split: {name: _values(part, name) for name in part.column_names} for split, part in stored.items()}
    label = how.label_column
    classes = tuple(getattr(features.get(label), "names", None) or ())
    for sheet in cells.values():
        if classes and label is not None and label in sheet:  # −1 stands for none
            sheet[label] = as_column([None if one == -1 else one for one in sheet[label].tolist()])
    return records_source("huggingface", path, {split: Table(one) for split, one in cells.items()}, how, classes, notes)


def _huggingface_pictures(dataset: Any, image: str) -> tuple[list[str], Pictures]:
    import datasets

    if image not in dataset.column_names:
        raise invalid("image", f"be one of the columns {', '.join(dataset.column_names)}", repr(image))
    raw = dataset.cast_column(image, datasets.Image(decode=False)).select_columns([image])
    count, starts = len(raw), range(0, len(raw), CHUNK)
    chunks = tuple(Chunk(start, min(CHUNK, count - start), partial(_rows, raw, image, start)) for start in starts)
    known = hashlib.sha256(str(dataset._fingerprint).encode()).hexdigest()
    identity = (f"huggingface {known}", image, str(count), *_states(raw, image))
    names = [str(name) for name in dataset["id"]] if "id" in dataset.column_names else []
    ids = names if names and len(set(names)) == len(names) else row_ids(count)
    return ids, Pictures(chunks, identity, 0, portable=False)


def _states(raw: Any, image: str) -> Iterator[str]:
    """Say which files outside the data set hold its pictures, in which state: its own fingerprint does not change with them."""
    for chunk in raw.data.column(image).chunks:
        for path, is_outside in zip(chunk.field("path").to_pylist(), chunk.field("bytes").is_null().to_pylist(), strict=True):
            if path and is_outside:
                with suppress(OSError, ValueError):
                    yield stamp(path, Path(path).stat())


def _values(dataset: Any, name: str) -> np.ndarray:
    """Return a column; lists in it stay lists."""
    return as_column(list(dataset[name]))


def _rows(dataset: Any, column: str, start: int) -> Iterator[Read]:
    for item in dataset[start : start + CHUNK][column]:
        data, path = (item or {}).get("bytes"), (item or {}).get("path")
        if data is None and path:
            yield partial(read_file, path)
        else:
            yield partial(_stored, data, "has neither bytes nor a path")


def _stored(data: bytes | None, missing: str, limit: int = -1) -> bytes:
    """Return a picture that is in memory already, or raise BadPicture with the reason `missing`."""
    if data is None:
        raise BadPicture(missing)
    return data
