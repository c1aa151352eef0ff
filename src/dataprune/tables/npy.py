"""How do arrays get in and out of npy, and out of npz, without trust in what the file says of itself?"""

import io
import math
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import invalid
from dataprune.tables import files
from dataprune.tables.files import reading, regular

_NPY_HEADER_BYTES = 10_000
_BLOCK_BYTES = 1 << 24


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
    """Read an npy file of numbers or fixed-width text, in C order and the machine's byte order.

    Args:
        path: the file.
        mmap: give a read-only map of the file; a file in Fortran order or of foreign byte order is read all the same.

    Raises:
        InputError: missing, no npy file, of Python objects or records, or of another size than its header says.
        MachineError: it does not fit in memory.
    """
    size = regular(path).stat().st_size
    with reading(path, "npy file", SyntaxError, tokenize.TokenError), path.open("rb") as file:
        header = _npy_header(file, str(path))
        _check_size(str(path), header, size)
        if mmap and not header.is_fortran and header.dtype.isnative and header.count:
            return np.memmap(path, header.dtype, mode="r", offset=header.offset, shape=header.shape)
        return _npy_body(file, header, str(path))


def read_npz(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Read all arrays of an npz file, under the rules of `read_npy`.

    Raises:
        InputError: what `read_npy` refuses, a member that is no npy, or arrays of more than `files.UNPACKED_LIMIT_BYTES` in all.
        MachineError: it does not fit in memory.
    """
    with (
        reading(regular(path), "npz file", SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
        zipfile.ZipFile(path) as archive,
    ):
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        if total > files.UNPACKED_LIMIT_BYTES:
            cure = "Save the arrays as .npy files."
            raise invalid(str(path), f"unpack to at most {files.UNPACKED_LIMIT_BYTES / 1e9:.1f} GB", f"{total / 1e9:.1f} GB", cure)
        arrays = {}
        for member in members:
            name, where = member.filename.removesuffix(".npy"), f"{path}:{member.filename}"
            is_plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not member.flag_bits & 1
            if not member.filename.endswith(".npy") or name in arrays or not is_plain:
                raise invalid(where, "be an npy array, named once, stored or deflated", "something else")
            with archive.open(member) as file:
                header = _npy_header(file, where)
                _check_size(where, header, member.file_size)
                arrays[name] = _npy_body(file, header, where)
    return arrays


@runtime_checkable
class _Stream(Protocol):
    """A file, or a member of an archive as it is unpacked."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...


@dataclass(frozen=True)
class _Header:
    """What an npy file says of itself before its numbers begin."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    offset: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def _npy_header(file: _Stream, where: str) -> _Header:
    prefix = file.read(12)
    if len(prefix) < 12 or prefix[:6] != b"\x93NUMPY" or prefix[6] not in (1, 2):
        raise invalid(where, "be an npy file of version 1 or 2", repr(prefix[:8]))
    begin = 10 if prefix[6] == 1 else 12
    length = int.from_bytes(prefix[8:begin], "little")
    if length > _NPY_HEADER_BYTES:
        raise invalid(where, f"have a header of at most {_NPY_HEADER_BYTES} bytes", length)
    text = io.BytesIO(prefix + file.read(begin + length - 12))
    np.lib.format.read_magic(text)
    read = np.lib.format.read_array_header_1_0 if prefix[6] == 1 else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(text)
    if dtype.kind not in "biufcSU" or not dtype.itemsize:
        cure = "Objects would have to be unpickled, which can run code." if dtype.hasobject else ""
        raise invalid(where, "hold numbers or text", f"dtype {dtype}", cure)
    if min(shape, default=0) < 0:
        raise invalid(where, "have a shape of no negative numbers", shape)
    return _Header(dtype, shape, is_fortran, begin + length)


def _check_size(where: str, header: _Header, size: int) -> None:
    expected = header.offset + header.count * header.dtype.itemsize
    if expected != size:
        raise invalid(where, f"have {expected} bytes, as {header.dtype} of shape {header.shape} take", size)


def _npy_body(file: _Stream, header: _Header, where: str) -> Shaped[np.ndarray, "..."]:
    """Read the numbers after the header into one allocation, and turn them into C order and native byte order."""
    file.seek(header.offset)
    raw = np.empty(header.count * header.dtype.itemsize, np.uint8)
    view, at = raw.data, 0
    while at < len(raw):
        part = file.read(min(_BLOCK_BYTES, len(raw) - at))
        if not part:
            raise invalid(where, f"have {len(raw)} bytes of numbers", at)
        view[at : at + len(part)] = part
        at += len(part)
    array = raw.view(header.dtype).reshape(header.shape, order="F" if header.is_fortran else "C")
    return np.ascontiguousarray(array, header.dtype.newbyteorder("=")).reshape(header.shape)
