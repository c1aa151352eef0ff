"""Arrays in npy and npz files, without trust in what a file says of itself; vectors with their ids."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float32, Shaped

from dataprune.errors import invalid
from dataprune.tables import files
from dataprune.tables.files import reading, regular

_HEADER_BYTES = 10_000
VECTOR_SUFFIXES = (".npy", ".parquet")


def write_npy(path: Path, array: Shaped[np.ndarray, "..."]) -> None:
    """Write an array of numbers as npy, in C order and the machine's byte order."""
    if array.dtype.kind not in "biufc":
        raise invalid(str(path), "be given an array of numbers", array.dtype)
    with path.open("wb") as file:
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(native))
        # NumPy's own writer goes past Python's files, and its error on a full disk does not say that it is one.
        file.write(native.reshape(-1).view(np.uint8).data)


def read_npy(path: Path, mmap: bool = False) -> Shaped[np.ndarray, "..."]:
    """Read an npy file of numbers or fixed-width text, in C order and the machine's byte order; with `mmap` as a read-only map.

    Raises:   InputError if it is missing, no npy file, of Python objects or records, or of another size than its header says.
              MachineError if it does not fit in memory.
    """
    with reading(regular(path), "npy file", SyntaxError, tokenize.TokenError), path.open("rb") as file:
        _check_header(file, str(path), path.stat().st_size)
        mapped = np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=_HEADER_BYTES)
        return mapped if mmap and mapped.size and mapped.flags.c_contiguous and mapped.dtype.isnative else _native(mapped)


def read_npz(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Read all arrays of an npz file, at most `files.UNPACKED_LIMIT_BYTES` in all, under the rules of `read_npy`."""
    raises = (SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)
    with reading(regular(path), "npz file", *raises), zipfile.ZipFile(path) as archive:
        total, limit = sum(member.file_size for member in archive.infolist()), files.UNPACKED_LIMIT_BYTES
        if total > limit:
            raise invalid(str(path), f"unpack to at most {limit / 1e9:.1f} GB", f"{total / 1e9:.1f} GB", "Save .npy files.")
        arrays = {}
        for member in archive.infolist():
            name, where = member.filename.removesuffix(".npy"), f"{path}:{member.filename}"
            is_plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not member.flag_bits & 1
            if not member.filename.endswith(".npy") or name in arrays or not is_plain:
                raise invalid(where, "be an npy array, named once, stored or deflated", "something else")
            with archive.open(member) as file:
                _check_header(file, where, member.file_size)
                file.seek(0)
                arrays[name] = _native(np.lib.format.read_array(file, allow_pickle=False, max_header_size=_HEADER_BYTES))
    return arrays


def write_vectors(path: Path, ids: Shaped[np.ndarray, " rows"], vectors: Float32[np.ndarray, "rows dimensions"]) -> None:
    """Write vectors as `.npy`, or as `.parquet` with the columns `id` (text) and `features` (lists of one length)."""
    if path.suffix.lower() == ".npy":
        write_npy(path, vectors)
    else:
        from dataprune.tables.parquet import write_parquet_vectors

        write_parquet_vectors(path, ids, vectors)


def _check_header(file: IO[bytes] | zipfile.ZipExtFile, where: str, size: int) -> None:
    """Refuse what is no npy file of numbers or text, or has another size than its header says."""
    prefix = file.read(12)
    if prefix[:6] != b"\x93NUMPY" or prefix[6:7] not in (b"\1", b"\2") or len(prefix) < 12:
        raise invalid(where, "be an npy file of version 1 or 2", repr(prefix[:8]))
    # NumPy looks at its limit once the header is read, and that may claim to be four gigabytes.
    length = int.from_bytes(prefix[8 : 8 + 2 * prefix[6]], "little")
    if length > _HEADER_BYTES:
        raise invalid(where, f"have a header of at most {_HEADER_BYTES} bytes", length)
    file.seek(8)
    read: Any = np.lib.format.read_array_header_1_0 if prefix[6] == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=_HEADER_BYTES)
    if dtype.kind not in "biufcSU" or not dtype.itemsize:
        raise invalid(where, "hold numbers or text (objects would be unpickled, which can run code)", f"dtype {dtype}")
    if min(shape, default=0) < 0:
        raise invalid(where, "have a shape of no negative numbers", shape)
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if expected != size:
        raise invalid(where, f"have {expected} bytes, as {dtype} of shape {shape} take", size)


def _native(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    return np.array(array, array.dtype.newbyteorder("="), order="C", subok=False)
