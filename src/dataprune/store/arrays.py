"""How do named arrays lie in one file that is read where it is looked at?"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import StoreError, invalid
from dataprune.store.digests import blocks, canonical_json
from dataprune.store.files import one_line, writing

_DTYPES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_DTYPE_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def save_arrays(path: Path, arrays: Mapping[str, Shaped[np.ndarray, "..."]], info: Mapping[str, object]) -> None:
    """Write named arrays as one safetensors file, atomically; equal arrays and `info` give equal bytes.

    Args:
        path: ends in `.safetensors` by custom.
        arrays: booleans, integers and floats up to 64 bits, of any shape, byte order and layout.
        info: what JSON can say, kept as sorted JSON under the one metadata key `dataprune` (several keys would be
            legal, but their order is not fixed, and the bytes would differ).

    Raises:
        InputError: an array of another dtype, or `info` with NaN.
    """
    header: dict[str, object] = {"__metadata__": {"dataprune": canonical_json(info)}}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    end = 0
    for name in order:
        little = arrays[name].dtype.newbyteorder("<")
        if little not in _DTYPE_NAMES or name == "__metadata__":
            raise invalid(name, f"be an array of {', '.join(_DTYPES)}", arrays[name].dtype)
        begin, end = end, end + arrays[name].nbytes
        header[name] = {"dtype": _DTYPE_NAMES[little], "shape": list(arrays[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with writing(path, 8 + len(text) + end) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            for block in blocks(arrays[name]):
                file.write(block)


class Arrays:
    """A safetensors file, read where it is looked at: `arrays[name]` is a read-only view of the mapped file."""

    def __init__(self, path: Path, info: dict[str, Any], entries: Mapping[str, Mapping[str, Any]], start: int) -> None:
        self.info = info
        self._path = path
        self._entries = entries
        self._start = start
        self._bytes = np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.empty(0, np.uint8)

    @property
    def names(self) -> list[str]:
        """Return the arrays' names, sorted."""
        return sorted(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape without reading it."""
        return tuple(self._entry(name)["shape"])

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return an array's dtype without reading it."""
        return np.dtype(_DTYPES[self._entry(name)["dtype"]])

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "..."]:
        begin, end = self._entry(name)["data_offsets"]
        raw = self._bytes[self._start + begin : self._start + end].view(np.ndarray)
        return raw.view(self.dtype(name)).reshape(self.shape(name))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def _entry(self, name: str) -> Mapping[str, Any]:
        if name not in self._entries:
            raise KeyError(f"{self._path} holds {', '.join(self.names)}, not {name!r}")
        return self._entries[name]


def open_arrays(path: Path) -> Arrays:
    """Open a file of `save_arrays`; its header is checked against the file's size, its numbers are not read.

    Raises:
        StoreError: the file is missing, cut short, no safetensors, or not written by dataprune.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise StoreError(f"`{path}` is missing, or no file.")
    try:
        # The library is the judge of header length, names, dtypes, shapes and offsets; what it passed is then read here.
        with safe_open(path, framework="np") as checked:
            info = json.loads((checked.metadata() or {})["dataprune"])
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        reason = "it has no `dataprune` metadata" if isinstance(error, KeyError) else one_line(error)
        raise StoreError(f"`{path}` is damaged, or no array file of dataprune: {reason}.") from error
    header.pop("__metadata__")
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise StoreError(f"`{path}` holds {name!r} as {entry['dtype']}, which NumPy cannot read.")
    if not isinstance(info, dict):
        raise StoreError(f"`{path}` is damaged: its `dataprune` metadata is no table.")
    return Arrays(path, info, header, 8 + length)
