"""What do the readers find, before a picture is decoded?"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from dataprune.data.dataset import Skipped
from dataprune.data.decode import MAX_FILE_BYTES, BadPicture, picture_size
from dataprune.errors import InputError, invalid, join_some

SPLITS = ("train", "validation", "test")
CHUNK = 512  # pictures of one job: 25 MB of pixels at 128 × 128, and far more work than starting the job
_HEAD_BYTES = 65536  # where the header of nearly every JPEG ends


@runtime_checkable
class Chunk(Protocol):
    """A run of neighbouring pictures that one job decodes."""

    @property
    def start(self) -> int:
        """Row of the first picture."""
        ...

    @property
    def count(self) -> int:
        """How many pictures."""
        ...

    def blobs(self) -> Iterator[bytes | BadPicture]:
        """Return the encoded bytes of each picture in turn, or why it has none."""
        ...

    def sizes(self) -> Iterator[tuple[int, int] | BadPicture]:
        """Return height and width of each picture in turn, from its header."""
        ...


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures, in the order of the examples.

    `identity` holds everything that changes when a picture changes (paths, sizes, modification times); `portable` says whether a
    chunk may travel to another process.
    """

    chunks: tuple[Chunk, ...]
    count: int
    identity: tuple[str, ...]
    n_bytes: int
    portable: bool = True


@dataclass(frozen=True)
class Part:
    """One split: ids and labels for each row, and either `pictures` to decode or `inputs` as they are."""

    ids: Sequence[str]
    labels: Int64[np.ndarray, " examples"] | None = None
    pictures: Pictures | None = None
    inputs: np.ndarray | None = None
    paths: Sequence[str] | None = None
    bad: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """All splits of one source, with the classes that they share."""

    kind: str
    path: str
    parts: Mapping[str, Part]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def part(self, split: str) -> Part:
        """Return one split, or say which there are."""
        if split not in self.parts:
            there = [name for name in SPLITS if name in self.parts]
            raise invalid("split", f"be one of {', '.join(there)}", repr(split), f"{self.path} has no other split.")
        return self.parts[split]


@dataclass(frozen=True)
class FileChunk:
    """Picture files on a disk."""

    start: int
    paths: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many pictures."""
        return len(self.paths)

    def blobs(self) -> Iterator[bytes | BadPicture]:
        """Read each file whole; only regular files of a sane size are ever read."""
        for path in self.paths:
            yield _read(path)

    def sizes(self) -> Iterator[tuple[int, int] | BadPicture]:
        """Read the beginning of each file, and all of it only where that does not tell."""
        for path in self.paths:
            size = size_of(_read(path, _HEAD_BYTES))
            yield size_of(_read(path)) if isinstance(size, BadPicture) else size


def size_of(blob: bytes | BadPicture) -> tuple[int, int] | BadPicture:
    """Read a picture's height and width, or give back why that cannot be done."""
    try:
        return blob if isinstance(blob, BadPicture) else picture_size(blob)
    except BadPicture as bad:
        return bad


def _read(path: str, head: int = -1) -> bytes | BadPicture:
    try:
        # Never blocks on a pipe that has taken a file's place since it was listed.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(number, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                return BadPicture("is no regular file")
            if state.st_size > MAX_FILE_BYTES:
                return BadPicture(f"has {state.st_size / 2**20:,.0f} MB, more than the {MAX_FILE_BYTES // 2**20} that are read")
            return file.read(head)
    except OSError as error:
        return BadPicture(f"cannot be read: {error.strerror or error}")


def indices(values: np.ndarray, name: str = "labels", n_classes: int | None = None) -> Int64[np.ndarray, " examples"]:
    """Check class indices: whole numbers from 0, below `n_classes` where that is known.

    Raises:   InputError that names the first bad rows: NaN, fractions, negative, out of range.
    """
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise invalid(name, "be one-dimensional", f"shape {values.shape}")
    if values.dtype.kind not in "biuf":
        raise invalid(name, "be whole numbers", f"type {values.dtype}")
    values = values.astype(np.int64) if values.dtype.kind == "b" else values
    if values.dtype.kind == "f":
        refuse_rows(name, "be whole numbers without gaps", values, ~np.isfinite(values) | (values != np.floor(values)))
    refuse_rows(name, "be class indices from 0 on", values, values < 0)
    if n_classes is not None:
        refuse_rows(name, f"be class indices in [0, {n_classes})", values, values >= n_classes)
    # A class that no example can have would still cost an output of every network; years or ids taken for labels are caught here.
    limit = max(len(values), 1000)
    refuse_rows(name, f"be class indices below {limit:,} (the number of examples, or 1,000)", values, values >= limit)
    return values.astype(np.int64)


def refuse_rows(name: str, requirement: str, values: np.ndarray, wrong: np.ndarray) -> None:
    """Raise InputError with the first few wrong rows and their values, if there are any."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        shown = join_some((f"{str(values[row])[:40]!s} in row {row}" for row in rows[:5]), len(rows))
        raise invalid(name, requirement, shown)


def encode(values: Sequence[np.ndarray]) -> tuple[list[Int64[np.ndarray, " examples"]], tuple[str, ...]]:
    """Turn the labels of all splits into shared class indices: whole numbers are indices, text becomes sorted names.

    Raises:   InputError if a value is missing, a fraction or negative.
    """
    if all(array.dtype.kind in "iufb" for array in values):
        checked = [indices(array) for array in values]
        top = max(int(array.max()) if len(array) else -1 for array in checked)
        return checked, tuple(str(index) for index in range(top + 1))
    strange = [array.dtype for array in values if array.dtype.kind not in "biufOUST"]
    if strange:
        raise invalid("labels", "be whole numbers or text", f"type {strange[0]}")
    texts = [[text_of(value, row) for row, value in enumerate(array.tolist())] for array in values]
    names = tuple(sorted({text for part in texts for text in part}))
    place = {name: index for index, name in enumerate(names)}
    return [np.array([place[text] for text in part], dtype=np.int64) for part in texts], names


def text_of(value: object, row: int) -> str:
    """Read one class name; a missing one is refused with its row."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Iterable) and not isinstance(value, str):  # a list or structure of a nested column
        raise invalid("labels", "be one name or number for each example", f"a {type(value).__name__} in row {row}")
    if value is None or value != value or value == "":
        raise invalid("labels", "be there for every example", f"none in row {row}")
    return str(value)


def row_ids(count: int) -> list[str]:
    """Name examples by their row number, where the source gives no better name."""
    return [str(row) for row in range(count)]


def in_chunks(paths: Sequence[str]) -> tuple[FileChunk, ...]:
    """Cut a list of files into jobs."""
    return tuple(FileChunk(start, tuple(paths[start : start + CHUNK])) for start in range(0, len(paths), CHUNK))


def refuse_bad(bad: Iterable[Skipped], where: str) -> None:
    """Raise InputError that names the first few bad items with their reasons, if there are any."""
    items = list(bad)
    if items:
        shown = join_some((f"{item.path} ({item.reason})" for item in items[:3]), len(items), most=3)
        what = "1 item" if len(items) == 1 else f"{len(items)} items"
        raise InputError(
            f"{where}: {what} cannot be used: {shown}. Mend or remove them, or leave them out with on_error='skip' (--on-error)."
        )


def plain(path: str | Path) -> str:
    """Write a path as text that any output can hold: bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
