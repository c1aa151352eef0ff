"""Digests of files, arrays and values; and named arrays in one safetensors file, read as views of the mapped file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from dataprune.blocks import slices
from dataprune.errors import StoreError, invalid, one_line
from dataprune.store.files import writing

_BLOCK_BYTES = 1 << 24
_DTYPES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_KNOWN = [np.dtype(dtype) for dtype in _DTYPES.values()]


@dataclass(frozen=True)
class Arrays:
    """What lies in a file: arrays by name, read-only views of the mapped file, and `info`."""

    arrays: Mapping[str, Shaped[np.ndarray, "..."]]
    info: dict[str, Any]


def save_arrays(path: Path, arrays: Mapping[str, Shaped[np.ndarray, "..."]], info: Mapping[str, object]) -> None:
    """Write named arrays (booleans, integers, floats up to 64 bits) as one safetensors file, atomically; equal ones as equal bytes.
    `info` is what JSON can say, without NaN, under the one metadata key `dataprune`: the order of several would not be fixed."""
    from safetensors.numpy import save

    plain = {}
    for name, array in arrays.items():
        little = array.dtype.newbyteorder("<")
        if little not in _KNOWN or name == "__metadata__":
            raise invalid(name, f"be an array of {', '.join(_DTYPES)}", array.dtype)
        plain[name] = np.ascontiguousarray(array, little).reshape(array.shape)
    content = save(plain, {"dataprune": canonical_json(info)})
    with writing(path, len(content)) as temporary:  # the library's own error on a full disk does not say that it is one
        temporary.write_bytes(content)


def open_arrays(path: Path) -> Arrays:
    """Open a file of `save_arrays`; its header is checked against the file's size, its numbers are not read."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise StoreError(f"`{path}` is missing, or not a file.")
    try:
        # The library is the judge of header length, names, dtypes, shapes and offsets; what it passed is then mapped here.
        with safe_open(path, framework="np") as checked:
            info = json.loads((checked.metadata() or {})["dataprune"])
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(start - 8))
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        reason = "it has no `dataprune` metadata" if isinstance(error, KeyError) else one_line(error)
        raise StoreError(f"`{path}` is damaged, or not an array file of dataprune: {reason}.") from error
    header.pop("__metadata__")
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise StoreError(f"`{path}` holds {name!r} as {entry['dtype']}, which NumPy cannot read.")
    if not isinstance(info, dict):
        raise StoreError(f"`{path}` is damaged: its `dataprune` metadata is not a table.")
    mapped = np.memmap(path, np.uint8, mode="r")[start:].view(np.ndarray)
    arrays = {}
    for name, entry in sorted(header.items()):
        arrays[name] = mapped[slice(*entry["data_offsets"])].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return Arrays(arrays, info)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_digest(array: Shaped[np.ndarray, "..."]) -> str:
    """Hash an array's dtype, shape and values (SHA-256, hexadecimal), whatever its byte order and memory layout. Read some rows at
    a time, so that a memory-mapped array never lies in memory as a whole."""
    if array.dtype.hasobject:
        raise invalid("array", "hold numbers", array.dtype)
    little = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{little.str} {array.shape} ".encode())
    rows = array.reshape(1) if array.ndim == 0 else array
    for some in slices(len(rows), rows[:1].nbytes, _BLOCK_BYTES):
        digest.update(np.ascontiguousarray(rows[some], little).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def canonical_json(value: object) -> str:
    """Write `value` as the one JSON text that stands for it: sorted keys, no spaces, ASCII, no NaN. Made to be hashed."""
    try:
        # Once through JSON, so that keys that are numbers are sorted as the text that they become.
        plain = json.loads(json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise invalid("value", "hold finite numbers only", str(error)) from error
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def json_digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
