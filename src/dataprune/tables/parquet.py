"""Columns, and what is said of them, in Parquet files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from jaxtyping import Float32, Shaped
from pyarrow import types

from dataprune.errors import invalid, join_some
from dataprune.tables import files
from dataprune.tables.files import chosen, reading, regular, texts

_METADATA_KEY = b"dataprune"
NESTED = ("list", "other")  # kinds that no table of columns has
GROUP_VALUES = 2**22  # numbers of one row group, which is read at once


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a Parquet file; what Arrow raises in the block is said of the file."""
    with reading(regular(path), "Parquet file", pyarrow.ArrowException), path.open("rb") as file:
        yield pyarrow.parquet.ParquetFile(file)


def kinds_of(schema: Any) -> dict[str, str]:
    """Tell of each column, or of what its dictionary is of, what it holds: text, integer, boolean, float, date, list, or other."""
    return {field.name: _kind(field.type) for field in schema}


def write_parquet(
    path: Path, table: Mapping[str, Shaped[np.ndarray, " rows"]], metadata: Mapping[str, Mapping[str, object]]
) -> None:
    """Write columns, and with each what `metadata` says of it."""
    arrays = {name: pyarrow.array(values, pyarrow.string() if values.dtype == object else None) for name, values in table.items()}
    said = {name: {_METADATA_KEY: json.dumps(what, sort_keys=True, allow_nan=False)} for name, what in metadata.items()}
    fields = [pyarrow.field(name, array.type, metadata=said.get(name)) for name, array in arrays.items()]
    with path.open("wb") as file:
        pyarrow.parquet.write_table(pyarrow.table(list(arrays.values()), pyarrow.schema(fields)), file, compression="zstd")


def read_parquet(
    path: Path, columns: Sequence[str] | None, lenient: bool = False
) -> tuple[dict[str, Shaped[np.ndarray, " rows"]], dict[str, dict[str, object]], dict[str, str]]:
    """Read columns of numbers, durations (as seconds), text or dates (as ISO 8601 says them, those with a zone in UTC); what the
    file says of each; and, if `lenient`, the types of those that are left out."""
    with opened(path) as source:
        schema = source.schema_arrow
        if len(set(schema.names)) < len(schema.names):
            raise invalid(str(path), "name each column once", join_some(schema.names, most=30))
        names = chosen(path, schema.names, columns)
        # A run-length encoded column of a billion rows takes a few bytes of the file.
        if source.metadata.num_rows * 8 * len(names) > files.UNPACKED_LIMIT_BYTES:
            limit = f"{files.UNPACKED_LIMIT_BYTES / 1e9:.1f} GB"
            raise invalid(str(path), f"unpack to at most {limit}", f"{source.metadata.num_rows} rows")
        kinds = kinds_of(schema)
        others = [name for name in names if kinds[name] in NESTED]
        names = [name for name in names if not lenient or name not in others]
        if others and not lenient:
            raise invalid(f"{path}:{others[0]}", "hold numbers or text", schema.field(others[0]).type)
        table = source.read(columns=names)
        arrays = {name: _array(table.column(name), kinds[name], f"{path}:{name}") for name in names}
        notes = {name: (schema.field(name).metadata or {}).get(_METADATA_KEY) for name in names}
        said = {name: dict(json.loads(note)) for name, note in notes.items() if note is not None}
        return arrays, said, {name: str(schema.field(name).type) for name in others}


def write_parquet_vectors(path: Path, ids: Shaped[np.ndarray, " rows"], vectors: Float32[np.ndarray, "rows dimensions"]) -> None:
    """Write the columns `id` (text) and `features` (lists of one length)."""
    values = pyarrow.array(np.ascontiguousarray(vectors).reshape(-1))
    columns = {
        "id": pyarrow.array(ids.tolist(), pyarrow.string()),
        "features": pyarrow.FixedSizeListArray.from_arrays(values, vectors.shape[1]),
    }
    with path.open("wb") as file:
        rows = max(1, GROUP_VALUES // vectors.shape[1])
        pyarrow.parquet.write_table(pyarrow.table(columns), file, compression="zstd", row_group_size=rows)


def _array(column: Any, kind: str, where: str) -> Shaped[np.ndarray, " rows"]:
    if kind == "text":
        return texts(["" if value is None else value for value in column.to_pylist()])
    if kind == "boolean" and column.null_count:
        raise invalid(where, "be true or false in every row", f"{column.null_count} empty")
    column = column.cast(column.type.value_type) if types.is_dictionary(column.type) else column
    values = (column.cast(pyarrow.float64()) if types.is_decimal(column.type) else column).to_numpy()
    if types.is_duration(column.type):
        values = values / np.timedelta64(1, "s")
    if kind != "date":
        return np.ascontiguousarray(values)
    written = np.datetime_as_string(values.astype("datetime64[us]"), unit="auto")
    return texts(["" if one == "NaT" else one for one in written.tolist()])


def _kind(kind: Any) -> str:
    kind = kind.value_type if types.is_dictionary(kind) else kind
    found = {
        "text": types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind),
        "integer": types.is_integer(kind),
        "boolean": types.is_boolean(kind),
        "float": types.is_floating(kind) or types.is_decimal(kind) or types.is_duration(kind),
        "date": types.is_date(kind) or types.is_timestamp(kind),
        "list": types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind),
    }
    return next((name for name, is_so in found.items() if is_so), "other")
