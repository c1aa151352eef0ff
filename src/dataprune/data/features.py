"""Which feature vectors does a file or a folder of shards hold?"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store, tables
from dataprune.data.source import row_ids
from dataprune.errors import InputError, invalid, join_some
from dataprune.tables.files import exists, reading, regular

SUFFIXES = (".npy", ".parquet")
NOT_FEATURES = ("id", "label")  # columns of a Parquet file that are no part of a vector
BATCH_VALUES = 2**22  # numbers read from Parquet at once
_NUMBERED = re.compile(r"^(.*?)(\d+)(-of-(\d+))?(\D*)$")


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """Feature vectors on disk. Iterating gives blocks (n, D) in order, each time anew.

    Attributes:
        path: the file or the folder.
        shards: the files, in the order of their rows.
        shard_rows: how many vectors each of them holds.
        width: how many numbers each has.
    """

    path: Path
    shards: tuple[Path, ...]
    shard_rows: tuple[int, ...]
    width: int

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return sum(self.shard_rows)

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.part(0, self.rows))

    def part(self, start: int, stop: int) -> "FeaturePart":
        """Return some rows, which are read from the shards that hold them, and from no other."""
        return FeaturePart(self, start, stop)

    @cached_property
    def given_ids(self) -> np.ndarray | None:
        """The column `id` of the shards as text; None where a shard has none."""
        found = [_ids(shard) for shard in self.shards]
        if any(part is None for part in found):
            return None
        names = np.concatenate([part for part in found if part is not None])
        distinct, counts = np.unique(names, return_counts=True)
        if len(distinct) < len(names):
            raise invalid("features", "name every id once", f"{join_some(map(repr, distinct[counts > 1].tolist()))} more than once")
        return names

    @cached_property
    def ids(self) -> np.ndarray:
        """The column `id` of the shards, else the row numbers, as text."""
        given = self.given_ids
        return np.asarray(row_ids(self.rows), np.dtypes.StringDType()) if given is None else given

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the content of the file, or over those of the shards in order."""
        parts = [store.sha256(shard) for shard in self.shards]
        return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class FeaturePart:
    """The rows `start` to `stop` of a file of features, as blocks, each time anew."""

    file: FeatureFile
    start: int
    stop: int

    def __iter__(self) -> Iterator[np.ndarray]:
        first = 0
        for shard, rows in zip(self.file.shards, self.file.shard_rows, strict=True):
            low, high = max(self.start - first, 0), min(self.stop - first, rows)
            if low < high:
                blocks = _npy_blocks if shard.suffix.lower() == ".npy" else _parquet_blocks
                yield from blocks(shard, self.file.width, low, high)
            first += rows


def read_features(path: str | Path) -> FeatureFile:
    """Open a `.npy` file, a Parquet file, or a folder of such files, without reading the vectors.

    A npy file holds (N, D) numbers and stays memory-mapped. A Parquet file holds a column of lists, or a column for each dimension;
    `id` names the rows and `label` is passed over. Shards of a folder are read in the order of their names.

    Raises:
        InputError: no such file, another kind, objects or text, shards of different width or kind, a gap in the shards' numbers.
        StoreError: a file that dataprune wrote, and that is not as it was written.
    """
    place = store.as_written(Path(path))
    shards = _shards(place) if exists(place) and place.is_dir() else (place,)
    shapes = {shard: _shape(shard) for shard in shards}
    rows, width = tuple(n for n, _ in shapes.values()), next(w for _, w in shapes.values())
    other = next((shard for shard, (_, w) in shapes.items() if w != width), None)
    if other is not None:
        raise invalid("features", f"have one width: {shards[0].name} has {width} columns", f"{shapes[other][1]} in {other.name}")
    if sum(rows) == 0:
        raise invalid(str(place), "hold at least one row", "none")
    return FeatureFile(place, shards, rows, width)


def _shards(folder: Path) -> tuple[Path, ...]:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith((".", "_")))
    if not found:
        raise invalid(str(folder), f"hold files that end in {' or '.join(SUFFIXES)}", "none")
    if len({p.suffix.lower() for p in found}) > 1:
        raise invalid(str(folder), "hold shards of one kind", "both .npy and .parquet files", "Move the others away.")
    _check_complete(folder, [p.name for p in found])
    return tuple(found)


def _check_complete(folder: Path, names: list[str]) -> None:
    """Refuse a gap where all names are one name with running numbers, or where they say how many there should be."""
    parts = [match.groups() for name in names if (match := _NUMBERED.match(Path(name).stem))]
    if len(parts) < len(names) or len({(before, of, after) for before, _, of, _, after in parts}) > 1:
        return
    numbers = {int(number) for _, number, _, _, _ in parts}
    before, digits, of, total, after = parts[0]
    first = 0 if total and 0 in numbers else 1 if total else min(numbers)
    last = first + int(total) - 1 if total else max(numbers)
    if last - first > 10**6:
        return
    missing = [n for n in range(first, last + 1) if n not in numbers]
    if missing and (total or len(missing) < len(names)):  # numbers far apart count something else
        called = [f"{before}{n:0{len(digits)}d}{of or ''}{after}{Path(names[0]).suffix}" for n in missing[:5]]
        raise InputError(f"`{folder}` lacks the shard {join_some(called, len(missing))}. Add it, or renumber the others.")


def _shape(shard: Path) -> tuple[int, int]:
    if shard.suffix.lower() == ".npy":
        array = _mapped(shard)
        return len(array), array.shape[1]
    if shard.suffix.lower() == ".parquet":
        import pyarrow

        regular(shard)
        with reading(shard, "Parquet file", pyarrow.ArrowException), shard.open("rb") as handle:
            return _parquet_shape(handle, shard)
    raise invalid(str(shard), f"end in {' or '.join(SUFFIXES)}, or be a folder of such files", repr(shard.suffix))


def _mapped(shard: Path) -> np.ndarray:
    array = tables.read_npy(shard, mmap=True)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "iufb":
        raise invalid(str(shard), "hold numbers of shape (examples, dimensions)", f"{array.dtype} of shape {array.shape}")
    return array


def _npy_blocks(shard: Path, width: int, low: int, high: int) -> Iterator[np.ndarray]:
    array = _mapped(shard)
    _check_unchanged(shard, array.shape[1], width, len(array), high)
    height = max(1, BATCH_VALUES // width)
    for start in range(low, high, height):
        # A map opened anew for each block, so that what was read of the file before is given back to the system.
        yield (_mapped(shard) if isinstance(array, np.memmap) else array)[start : min(start + height, high)]


def _check_unchanged(shard: Path, width: int, wanted: int, rows: int, least: int) -> None:
    if width != wanted or rows < least:
        raise invalid(str(shard), f"hold {least:,} rows of {wanted} columns, as it did", f"{rows:,} of {width}")


def _vector_columns(schema: Any, shard: Path) -> tuple[list[str], bool]:
    """Return the columns that make a vector, and whether it is one column of lists."""
    import pyarrow.types as kinds

    names = [name for name in schema.names if name not in NOT_FEATURES]
    lists = [n for n in names if _is_list(schema.field(n).type)]
    numbers = [n for n in names if kinds.is_floating(schema.field(n).type) or kinds.is_integer(schema.field(n).type)]
    if len(lists) == 1:
        return lists, True
    if lists or not numbers or len(numbers) < len(names):
        cure = "It holds one column of lists, or a column of numbers for each dimension, and may hold `id` and `label`."
        raise invalid(str(shard), "hold feature vectors", f"the columns {join_some(schema.names)}", cure)
    return numbers, False


def _is_list(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _parquet_shape(handle: Any, shard: Path) -> tuple[int, int]:
    import pyarrow.parquet

    source = pyarrow.parquet.ParquetFile(handle)
    columns, is_list = _vector_columns(source.schema_arrow, shard)
    if not is_list:
        return source.metadata.num_rows, len(columns)
    first = next((batch for batch in source.iter_batches(batch_size=1, columns=columns)), None)
    width = 0 if first is None or not first.num_rows else len(first.column(0)[0])
    if not width:
        raise invalid(str(shard), "hold vectors of at least one number", "none in its first row")
    return source.metadata.num_rows, width


def _parquet_blocks(shard: Path, width: int, low: int, high: int) -> Iterator[np.ndarray]:
    import pyarrow
    import pyarrow.parquet

    regular(shard)
    with reading(shard, "Parquet file", pyarrow.ArrowException), shard.open("rb") as handle:
        source = pyarrow.parquet.ParquetFile(handle)
        columns, is_list = _vector_columns(source.schema_arrow, shard)
        groups, start = _row_groups(source, low, high)
        height = max(1, BATCH_VALUES // width)
        for batch in source.iter_batches(batch_size=height, row_groups=groups, columns=columns, use_threads=False):
            first, last = max(low - start, 0), min(high - start, batch.num_rows)
            if first < last:
                if is_list:
                    yield _listed_vectors(batch.column(0), width, shard, start)[first:last]
                else:
                    yield np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in columns])[first:last]
            start += batch.num_rows
            if start >= high:
                return


def _row_groups(source: Any, low: int, high: int) -> tuple[list[int], int]:
    """Return the row groups that hold the rows from `low` to `high`, and the number of the first row of them."""
    ends = np.cumsum([source.metadata.row_group(i).num_rows for i in range(source.num_row_groups)])
    first, last = np.searchsorted(ends, low, side="right"), np.searchsorted(ends, high, side="left")
    return list(range(int(first), int(last) + 1)), int(ends[first - 1]) if first else 0


def _listed_vectors(column: Any, width: int, shard: Path, start: int) -> np.ndarray:
    import pyarrow.compute

    lengths = pyarrow.compute.fill_null(pyarrow.compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(lengths != width)
    if len(bad):
        where = join_some((bad[:5] + start).tolist(), len(bad))
        raise invalid(str(shard), f"hold {width} numbers in each row", f"{int(lengths[bad[0]])} (rows {where})")
    values = column.flatten().to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "iuf":
        raise invalid(str(shard), "hold lists of numbers", f"{column.type}")
    return np.asarray(values).reshape(len(column), width)


def _ids(shard: Path) -> np.ndarray | None:
    if shard.suffix.lower() == ".npy":
        return None
    import pyarrow
    import pyarrow.parquet

    with reading(shard, "Parquet file", pyarrow.ArrowException), shard.open("rb") as handle:
        source = pyarrow.parquet.ParquetFile(handle)
        if "id" not in source.schema_arrow.names:
            return None
        parts = [batch.column(0).cast(pyarrow.string()) for batch in source.iter_batches(columns=["id"])]
        empty = sum(part.null_count for part in parts)
        if empty:
            raise invalid(f"{shard}:id", "name every row", f"{empty} empty")
        return np.concatenate(
            [np.asarray(part.to_pylist(), np.dtypes.StringDType()) for part in parts] or [np.empty(0, np.dtypes.StringDType())]
        )
