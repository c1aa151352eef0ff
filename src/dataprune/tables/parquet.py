"""Columns, and what is said of them, in Parquet files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from jaxtyping import Float32, Shaped

from dataprune.errors import invalid, join_some
from dataprune.tables import files
from dataprune.tables.files import chosen, reading, texts

_METADATA_KEY = b"dataprune"
_TEXT = (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view())
GROUP_VALUES = 2**22  # numbers of one row group, which is read at once

Columns = dict[str, Shaped[np.ndarray, " rows"]]
Notes = dict[str, dict[str, object]]


def column_names(path: Path, flat: bool = False) -> list[str]:
    """List the columns of a Parquet file, or those of numbers or text, without reading them."""
    with reading(path, "Parquet file", pyarrow.ArrowException), path.open("rb") as file:
        return [field.name for field in pyarrow.parquet.read_schema(file) if not flat or _is_flat(_behind(field.type))]


def key_columns(path: Path) -> list[str]:
    """List the columns of a Parquet file that may name its rows: texts and whole numbers."""
    with reading(path, "Parquet file", pyarrow.ArrowException), path.open("rb") as file:
        kinds = {field.name: _behind(field.type) for field in pyarrow.parquet.read_schema(file)}
    return [name for name, kind in kinds.items() if _is_flat(kind) and not pyarrow.types.is_floating(kind)]


def write_parquet(
    path: Path, table: Mapping[str, Shaped[np.ndarray, " rows"]], metadata: Mapping[str, Mapping[str, object]]
) -> None:
    """Write columns, and with each what `metadata` says of it."""
    arrays = {name: pyarrow.array(values, pyarrow.string() if values.dtype == object else None) for name, values in table.items()}
    said = {name: {_METADATA_KEY: json.dumps(what, sort_keys=True, allow_nan=False)} for name, what in metadata.items()}
    fields = [pyarrow.field(name, array.type, metadata=said.get(name)) for name, array in arrays.items()]
    with path.open("wb") as file:
        pyarrow.parquet.write_table(pyarrow.table(list(arrays.values()), pyarrow.schema(fields)), file, compression="zstd")


def read_parquet(path: Path, columns: Sequence[str] | None) -> tuple[Columns, Notes]:
    """Read columns of numbers or text, and what the file says of each."""
    with reading(path, "Parquet file", pyarrow.ArrowException), path.open("rb") as file:
        source = pyarrow.parquet.ParquetFile(file)
        schema = source.schema_arrow
        if len(set(schema.names)) < len(schema.names):
            raise invalid(str(path), "name each column once", join_some(schema.names, most=30))
        names = chosen(path, schema.names, columns)
        # A run-length encoded column of a billion rows takes a few bytes of the file.
        if source.metadata.num_rows * 8 * len(names) > files.UNPACKED_LIMIT_BYTES:
            limit = f"{files.UNPACKED_LIMIT_BYTES / 1e9:.1f} GB"
            raise invalid(str(path), f"unpack to at most {limit}", f"{source.metadata.num_rows} rows")
        kinds = {name: _checked_kind(schema.field(name).type, f"{path}:{name}") for name in names}
        table = source.read(columns=names)
        arrays: Columns = {}
        for name, kind in kinds.items():
            column = table.column(name)
            if kind in _TEXT:
                arrays[name] = texts(["" if value is None else value for value in column.to_pylist()])
                continue
            if pyarrow.types.is_boolean(kind) and column.null_count:
                raise invalid(f"{path}:{name}", "be true or false in every row", f"{column.null_count} empty")
            arrays[name] = np.ascontiguousarray(column.cast(kind).to_numpy())
        notes = {name: (schema.field(name).metadata or {}).get(_METADATA_KEY) for name in names}
        return arrays, {name: dict(json.loads(note)) for name, note in notes.items() if note is not None}


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


def _checked_kind(kind: Any, where: str) -> Any:
    """Return a column's type, behind its dictionary if it has one, if it can be read."""
    if not _is_flat(_behind(kind)):
        raise invalid(where, "hold numbers or text", kind)
    return _behind(kind)


def _behind(kind: Any) -> Any:
    return kind.value_type if pyarrow.types.is_dictionary(kind) else kind


def _is_flat(kind: Any) -> bool:
    types = pyarrow.types
    return kind in _TEXT or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)
