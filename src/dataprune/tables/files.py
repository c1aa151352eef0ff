"""What is said of a file that is not there, is no file, or cannot be read? And what text can be written?"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import InputError, MachineError, invalid, unknown_choice

UNPACKED_LIMIT_BYTES = 4 << 30
"""What a compressed file may take in memory; deflate makes 1,000 bytes out of one, so the file's size bounds nothing."""


def exists(path: Path) -> bool:
    """Return whether there is something at `path`; at a name that cannot be, there is nothing."""
    try:
        return path.exists()
    except OSError:  # a name too long for the file system
        return False


def regular(path: Path) -> Path:
    """Return `path` if a file is there, so that no pipe is waited for."""
    if not exists(path):
        raise invalid(str(path), "be an existing file", "no such file")
    if not path.is_file():
        raise invalid(str(path), "be a file", "a folder" if path.is_dir() else "a device or pipe")
    return path


@contextmanager
def reading(path: Path, kind: str, *raises: type[Exception]) -> Iterator[None]:
    """Yield that the file at `path` is damaged, of what its reader raises in the block: `raises` and Python's usual ones."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise MachineError(f"`{path}` does not fit in memory.") from error
    except (ValueError, OSError, EOFError, LookupError, RuntimeError, *raises) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"`{path}` must be a readable {kind}, but: {reason.rstrip('.')}.") from error


def chosen(path: Path, names: Iterable[str], columns: Sequence[str] | None) -> list[str]:
    """Return the columns to read of those that the file at `path` has: `columns`, or all."""
    has = list(names)
    for name in columns or ():
        if name not in has:
            raise unknown_choice(f"column of {path}", name, has)
    return has if columns is None else list(columns)


def texts(values: Sequence[str]) -> Shaped[np.ndarray, " rows"]:
    """Return texts as an object array; NumPy's own text dtype would drop NULs at the end and take the longest for each."""
    return np.fromiter(values, object, len(values))


def unicode_text(text: str, name: str) -> str:
    """Return `text`, which can be written as UTF-8, or say that `name` cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise invalid(
            name, "be Unicode text", ascii(text), "Such bytes come from a file name that is not UTF-8: rename the file."
        ) from error
    return text
