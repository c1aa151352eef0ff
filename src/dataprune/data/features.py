"""Feature vectors on disk: an npy file, a Parquet file, or a folder of shards, read in blocks."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store, tables
from dataprune.data.dataset import IDS
from dataprune.data.source import row_ids
from dataprune.errors import InputError, invalid, join_some
from dataprune.notebook import html_table
from dataprune.tables.files import exists
from dataprune.tables.join import is_key

SUFFIXES = (".npy", ".parquet")
NOT_FEATURES = ("label",)  # columns of a Parquet file that are no part of a vector, beside those that name its rows
BATCH_VALUES = 2**22  # numbers read at once
_NUMBERED = re.compile(r"^(.*?)(\d+)(-of-(\d+))?(\D*)$")


@dataclass(frozen=True, eq=False, repr=False)
class FeatureFile:
    """Feature vectors on disk: a file or a folder of shards. Iterating gives blocks (n, D) in order, each time anew."""

    path: Path
    shards: tuple[Path, ...]  # the files, in the order of their rows
    shard_rows: tuple[int, ...]  # how many vectors each of them holds
    width: int  # how many numbers each vector has

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return sum(self.shard_rows)

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.part(0, self.rows)

    def __repr__(self) -> str:
        return f"FeatureFile({self.path.name}: {self.rows:,} vectors of {self.width:,} numbers)"

    def _repr_html_(self) -> str:
        return html_table(repr(self), {"file": [shard.name for shard in self.shards], "vectors": self.shard_rows})

    def part(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the rows from `start` to `stop` in blocks, out of the shards that hold them."""
        first = 0
        for shard, rows in zip(self.shards, self.shard_rows, strict=True):
            low, high = max(start - first, 0), min(stop - first, rows)
            if low < high:
                yield from (_npy_blocks if _is_npy(shard) else _parquet_blocks)(shard, self.width, low, high)
            first += rows

    @cached_property
    def keys(self) -> dict[str, list[str]]:
        """The columns of the shards that may name their vectors, as text; none of npy files."""
        found = [_keys(shard) for shard in self.shards]
        return {name: [one for part in found for one in part[name]] for name in found[0] if all(name in part for part in found)}

    @cached_property
    def ids(self) -> np.ndarray:
        """The column `id` of the shards, or another that is called so and names each vector, else the row numbers, as text."""
        for name, names in sorted(self.keys.items(), key=lambda item: item[0].lower() != "id"):
            doubles = len(set(names)) < len(names)
            if name.lower() == "id" and doubles:
                twice = [repr(one) for one, count in Counter(names).items() if count > 1]
                raise invalid("features", "name every id once", f"{join_some(twice)} more than once")
            if is_key(name) and not doubles:
                return np.asarray(names, IDS)
        return np.asarray(row_ids(self.rows), IDS)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the file, or of those of the shards in order."""
        parts = [store.sha256(shard) for shard in self.shards]
        return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


def read_features(path: str | Path) -> FeatureFile:
    """Open a `.npy` file of (N, D) numbers, a Parquet file, or a folder of such files, without reading the vectors.

    A Parquet file holds a column of lists, or a column for each dimension; `id` or another column of text names the rows, `label`
    is passed over. Shards of a folder are read in the order of their names.

    Raises:   InputError for no such file, another kind, objects or text, shards of different width or kind, or a gap in their
              numbers. StoreError for a file that dataprune wrote, and that is not as it was written.
    """
    path = store.as_written(Path(path))
    shards: tuple[Path, ...] = (path,)
    if exists(path) and path.is_dir():
        shards = tuple(sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith((".", "_"))))
        if not shards:
            raise invalid(str(path), f"hold files that end in {' or '.join(SUFFIXES)}", "none")
        if len({p.suffix.lower() for p in shards}) > 1:
            raise invalid(str(path), "hold shards of one kind", "both .npy and .parquet files", "Move the others away.")
        if missing := _missing_names([p.name for p in shards]):
            raise InputError(f"`{path}` lacks the shard {join_some(missing)}. Add it, or renumber the others.")
    rows, widths = zip(*map(_shape, shards), strict=True)
    for shard, width in zip(shards, widths, strict=True):
        if width != widths[0]:
            raise invalid("features", f"have one width: {shards[0].name} has {widths[0]} columns", f"{width} in {shard.name}")
    if sum(rows) == 0:
        raise invalid(str(path), "hold at least one row", "none")
    return FeatureFile(path, shards, rows, widths[0])


def _missing_names(names: list[str]) -> list[str]:
    """Return gaps where all names are one name with running numbers, or where they say how many there should be."""
    parts = [match.groups() for name in names if (match := _NUMBERED.match(Path(name).stem))]
    if len(parts) < len(names) or len({(before, of, after) for before, _, of, _, after in parts}) > 1:
        return []
    numbers = {int(number) for _, number, _, _, _ in parts}
    before, digits, of, total, after = parts[0]
    first = 0 if total and 0 in numbers else 1 if total else min(numbers)
    last = first + int(total) - 1 if total else max(numbers)
    if last - first > 10**6:
        return []
    missing = [n for n in range(first, last + 1) if n not in numbers]
    if not total and len(missing) >= len(names):  # numbers far apart count something else
        return []
    return [f"{before}{n:0{len(digits)}d}{of or ''}{after}{Path(names[0]).suffix}" for n in missing]


def _is_npy(shard: Path) -> bool:
    return shard.suffix.lower() == ".npy"


def _shape(shard: Path) -> tuple[int, ...]:
    """Return how many vectors a shard holds, and how many numbers each has."""
    if _is_npy(shard):
        return _mapped(shard).shape
    if shard.suffix.lower() != ".parquet":
        raise invalid(str(shard), f"end in {' or '.join(SUFFIXES)}, or be a folder of such files", repr(shard.suffix))
    from dataprune.tables.parquet import opened

    with opened(shard) as file:
        columns, is_list = _vector_columns(file.schema_arrow, shard)
        first = next(file.iter_batches(batch_size=1, columns=columns), None) if is_list else None
        width = len(columns) if not is_list else len(first.column(0)[0]) if first is not None and first.num_rows else 0
        if not width:
            raise invalid(str(shard), "hold vectors of at least one number", "none in its first row")
        return file.metadata.num_rows, width


def _mapped(shard: Path) -> np.ndarray:
    array = tables.read_npy(shard, mmap=True)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "iufb":
        raise invalid(str(shard), "hold numbers of shape (examples, dimensions)", f"{array.dtype} of shape {array.shape}")
    return array


def _npy_blocks(shard: Path, width: int, low: int, high: int) -> Iterator[np.ndarray]:
    array = _mapped(shard)
    if array.shape[1] != width or len(array) < high:
        raise invalid(str(shard), f"hold {high:,} rows of {width} columns, as it did", f"{len(array):,} of {array.shape[1]}")
    height = max(1, BATCH_VALUES // width)
    for start in range(low, high, height):
        # A map opened anew for each block, so that what was read of the file before is given back to the system.
        yield (_mapped(shard) if isinstance(array, np.memmap) else array)[start : min(start + height, high)]


def _vector_columns(schema: Any, shard: Path) -> tuple[list[str], bool]:
    """Return the columns that make a vector, and whether it is one column of lists."""
    from dataprune.tables.parquet import kinds_of

    kinds = kinds_of(schema)
    lists = [name for name, kind in kinds.items() if kind == "list"]
    if len(lists) == 1:
        return lists, True
    others = {name: kind for name, kind in kinds.items() if name not in NOT_FEATURES and not is_key(name) and kind != "text"}
    numbers = [name for name, kind in others.items() if kind in ("integer", "float")]
    if lists or not numbers or len(numbers) < len(others):
        cure = "One of lists, or one of numbers for each dimension."
        raise invalid(str(shard), "hold feature vectors", f"the columns {join_some(schema.names)}", cure)
    return numbers, False


def _parquet_blocks(shard: Path, width: int, low: int, high: int) -> Iterator[np.ndarray]:
    from dataprune.tables.parquet import opened

    with opened(shard) as file:
        columns, is_list = _vector_columns(file.schema_arrow, shard)
        metadata = file.metadata
        ends = np.cumsum([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)])
        first_group, last_group = np.searchsorted(ends, [low, high - 1], side="right").tolist()
        groups, start = range(first_group, last_group + 1), int(ends[first_group - 1]) if first_group else 0
        height = max(1, BATCH_VALUES // width)
        for batch in file.iter_batches(batch_size=height, row_groups=groups, columns=columns, use_threads=False):
            first, last = max(low - start, 0), min(high - start, batch.num_rows)
            if first < last and is_list:
                yield _listed_vectors(batch.column(0), width, shard, start)[first:last]
            elif first < last:
                yield np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in columns])[first:last]
            start += batch.num_rows
            if start >= high:
                return


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


def _keys(shard: Path) -> dict[str, list[str]]:
    """Read the columns that may name the rows of a shard: texts, and whole numbers that are called like a key."""
    if _is_npy(shard):
        return {}
    from dataprune.tables.parquet import kinds_of, opened

    with opened(shard) as file:
        may = [name for name, kind in kinds_of(file.schema_arrow).items() if kind == "text" or (is_key(name) and kind == "integer")]
        columns = {name: file.read([name]).column(0).cast("string") for name in may}
        for name, column in columns.items():
            if column.null_count and name.lower() == "id":
                raise invalid(f"{shard}:id", "name every row", f"{column.null_count} empty")
        return {name: [text or "" for text in column.to_pylist()] for name, column in columns.items()}
