"""What a reader finds before a picture is decoded: the splits of a source, their ids and labels, and how to get at the pictures."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from dataprune.data.dataset import Records, Skipped
from dataprune.data.decode import MAX_FILE_BYTES, BadPicture
from dataprune.errors import InputError, join_some

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""The words for a split that Hugging Face's library knows, too."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
CHUNK = 512  # pictures of one job: 25 MB of pixels at 128 × 128, and far more work than starting the job

Read = Callable[[int], bytes]
"""Return a picture as it is encoded: all of it (−1), or at least so many of its first bytes. Raise BadPicture if there is none."""


@dataclass(frozen=True)
class Chunk:
    """A run of neighbouring pictures that one job decodes: the row of the first, how many there are, and how to open them."""

    start: int
    count: int
    open: Callable[[], Iterator[Read]]


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures, in the order of the examples."""

    chunks: tuple[Chunk, ...]
    identity: tuple[str, ...]  # everything that changes when a picture changes: paths, sizes, modification times
    n_bytes: int
    portable: bool = True  # whether a chunk may travel to another process

    @classmethod
    def of(cls, reads: Sequence[Read], identity: Iterable[str], n_bytes: int) -> "Pictures":
        groups = {start: reads[start : start + CHUNK] for start in range(0, len(reads), CHUNK)}
        chunks = tuple(Chunk(start, len(group), partial(iter, group)) for start, group in groups.items())
        return cls(chunks, tuple(identity), n_bytes)

    @property
    def count(self) -> int:
        return sum(chunk.count for chunk in self.chunks)

    def take(self, rows: Sequence[int]) -> "Pictures":
        if len(rows) == self.count:
            return self
        chunks, start, wanted = list[Chunk](), 0, set(rows)
        for chunk in self.chunks:
            kept = frozenset(at for at in range(chunk.count) if chunk.start + at in wanted)
            chunks += [Chunk(start, len(kept), partial(_picked, chunk.open, kept))] if kept else []
            start += len(kept)
        return replace(self, chunks=tuple(chunks), identity=(*self.identity, ",".join(map(str, rows))))


def _picked(opened: Callable[[], Iterator[Read]], kept: frozenset[int]) -> Iterator[Read]:
    return (read for at, read in enumerate(opened()) if at in kept)


@dataclass(frozen=True)
class Part:
    """One split: ids and labels for each row, and either `pictures` to decode, `inputs` as they are, or `records`."""

    ids: Sequence[str]
    labels: Int64[np.ndarray, " examples"] | None = None
    pictures: Pictures | None = None
    inputs: np.ndarray | None = None
    records: Records | None = None
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
    notes: tuple[str, ...] = ()


def read_file(path: str, limit: int = -1, *, place: int = 0, size: int | None = None) -> bytes:
    """Read a picture, which is a file or `size` bytes of one, or its beginning; BadPicture if it is no file, or of no sane size."""
    try:
        # Never blocks on a pipe that has taken a file's place since it was listed.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(number, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise BadPicture("is not a regular file")
            size = state.st_size if size is None else size
            if size > MAX_FILE_BYTES:
                raise BadPicture(f"has {size / 2**20:,.0f} MB, more than the {MAX_FILE_BYTES // 2**20} that are read")
            file.seek(place)
            return file.read(size if limit < 0 else min(size, limit))
    except OSError as error:
        raise BadPicture(f"cannot be read: {error.strerror or error}") from None


def stamp(name: str, state: os.stat_result) -> str:
    return f"{name}\0{state.st_size}\0{state.st_mtime_ns}"


def split_of(name: str) -> str | None:
    """Return the split that a word of a file's or folder's name stands for; None without such a word, or with several.

    Example:
        >>> [split_of(name) for name in ("seg_train", "Testing", "trainLabels.csv", "cifar-test.parquet", "trainval", "latest")]
        ['train', 'test', 'train', 'test', None, None]
    """
    found = {SPLIT_NAMES[word] for part in _WORD.findall(name) if (word := part.lower()) in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def by_split(names: Iterable[str], where: str) -> dict[str, str]:
    """Return the name of each split: the one that is called by the word alone, else the one that has it in it, if it is alone."""
    found: dict[str, str] = {}
    words = {name: split for name in names if (split := split_of(name))}
    for split in SPLITS:
        of_split = [name for name in words if words[name] == split]
        best = [name for name in of_split if name.casefold() in SPLIT_NAMES] or of_split
        if len(best) > 1:
            raise InputError(f"{where} has two folders for the split {split}: {' and '.join(best)}. Name the one meant as DATA.")
        if best:
            found[split] = best[0]
    return found


def files_by_split(names: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Sort files by the split in their names or folders'; return those without one apart, or as train where none has one."""
    splits: dict[str, list[str]] = {split: [] for split in (*SPLITS, "")}
    above = set[str]()
    for name in names:
        parts = [*name.split("/")[:-1], name.rpartition("/")[2].rpartition(".")[0]]
        words = {split: at for at, part in enumerate(parts) if (split := split_of(part))}
        if len(words) > 1:
            raise InputError(f"{name} may be {' and '.join(words)} by its name. Name one file or folder as DATA.")
        above |= {"/".join(parts[:at]) or "the folder itself" for at in words.values()}
        splits[next(iter(words), "")].append(name)
    if len(above) > 1:
        raise InputError(f"{join_some(sorted(above))} all hold splits. Name one of them as DATA.")
    unnamed = splits.pop("")
    named = {split: group for split, group in splits.items() if group}
    return (named, unnamed) if named else ({"train": unnamed}, [])


def shared_folders(paths: Iterable[str]) -> list[str]:
    levels = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    return [names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels)]


def row_ids(count: int) -> list[str]:
    return [str(row) for row in range(count)]


def plain(path: str | Path) -> str:
    """Return a path as text that any output can hold: bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
