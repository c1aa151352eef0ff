"""Files of tables and texts: what can be written or read at all, and plain text, one a line."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import InputError, MachineError, check_type, invalid, one_line, unknown_choice

exists = os.path.exists  # false of a name too long for the file system, where a `Path` raises
TABLES = (".csv", ".parquet")
UNPACKED_LIMIT_BYTES = 4 << 30
"""What a compressed file may take in memory; deflate makes 1,000 bytes out of one, so the file's size bounds nothing."""


def check_output(out: str | Path, suffixes: Sequence[str], cure: str = "", name: str = "out") -> Path:
    """Return `out` as a path, which could be written: it ends in one of `suffixes` and lies in a folder that exists."""
    check_type(name, out, str | Path)
    path = Path(out)
    if path.suffix.lower() not in suffixes:
        raise invalid(name, f"end in {' or '.join(suffixes)}", repr(str(path)), cure)
    if not path.parent.is_dir():
        raise invalid(name, "lie in a folder that exists", path.parent)
    if path.is_dir():
        raise invalid(name, "be a file", f"{path}, which is a folder")
    return path


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
        raise InputError(f"`{path}` must be a readable {kind}, but: {one_line(error)}.") from error


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
        raise invalid(name, "be Unicode text", ascii(text), "Rename the file, if it is a name that is not UTF-8.") from error
    return text


def write_lines(path: Path, lines: Iterable[str]) -> None:
    r"""Write one text a line, UTF-8. Backslash, newline and carriage return in it become `\\`, `\n`, `\r`."""
    escaped = [line.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") for line in lines]
    # A text that begins with U+FEFF would be taken for a byte order mark at the file's beginning: one more protects it.
    mark = "\ufeff" if escaped and escaped[0].startswith("\ufeff") else ""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        file.writelines(f"{unicode_text(line, str(path))}\n" for line in escaped)
