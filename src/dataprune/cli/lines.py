"""The only printers: results in lines on stdout, warnings and errors on stderr."""

import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dataprune.report.text import display_text

LONGEST_LINE = 2000
_is_quiet, _typed = False, ""


@dataclass
class Collected:
    """What is said beside a result: with --json it is part of the object, and no line is printed."""

    written: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


collected: Collected | None = None


def collect(wanted: bool) -> None:
    """Collect from here on what would be printed, or print again."""
    global collected
    collected = Collected() if wanted else None


def begin(words: Sequence[str], quiet: bool) -> None:
    """Note the command line as it was typed; let `say` print nothing from here on, if --quiet asks for that."""
    global _is_quiet, _typed
    _is_quiet, _typed = quiet, shlex.join(["dataprune", *words])


def is_quiet() -> bool:
    """Return whether `say` prints nothing."""
    return _is_quiet or collected is not None


def say(*lines: str) -> None:
    """Print lines on stdout."""
    for line in () if is_quiet() else lines:
        _write("stdout", _line(line))


def say_file(path: Path, about: str = "") -> None:
    """Report a file or folder that was written, and what is in it."""
    if collected is not None:
        collected.written.append(str(path))
    say(f"written: {path}{about and ', '}{about}")


def say_unwritten(add: str) -> None:
    """Report that nothing was written, and what to add to the command for that."""
    say(f"nothing was written; add {add} to: {_typed}")


def say_written(add: str, file: Path | None, folders: Mapping[Path, str], about: str = "", how_many: str = "") -> None:
    """Report the file, and what is about it, and the folders of copies or links that were written; or what to add."""
    from dataprune.run.export import RECORDS_FILE

    if file is not None:
        say_file(file, about)
    for folder, how in folders.items():
        is_table = (folder / RECORDS_FILE).is_file()
        made = f"rows in {RECORDS_FILE}" if is_table else f"{'copies' if how == 'copy' else 'links'} in a folder for each class"
        say_file(folder, f"{how_many}{made}")
    if file is None and not folders:
        say_unwritten(f"{add}, or --copy-to DIR,")


def warn(*lines: str) -> None:
    """Print lines on stderr: the work goes on."""
    for line in lines:
        _complain("warnings", "warning: ", line)


def complain(line: str) -> None:
    """Print one line on stderr: the work has failed, or a part of it."""
    _complain("errors", "error: ", line)


def _complain(kind: str, start: str, line: str) -> None:
    if collected is None:
        _write("stderr", _line(start + line))
    else:
        getattr(collected, kind).append(line)


class LogLines(logging.Handler):
    """What the library logs as a warning becomes a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


def say_columns(rows: Sequence[Sequence[object]], right: Sequence[int] = (), most: int = 80) -> None:
    """Print rows of equal length in aligned columns, those of `right` on the right; a cell is cut at `most` characters."""
    from rich.cells import cell_len

    cells = [[display_text(cell, most) for cell in row] for row in rows]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    for row in cells:
        gaps = [" " * (width - cell_len(cell)) for width, cell in zip(widths, row, strict=True)]
        padded = [gap + cell if column in right else cell + gap for column, (gap, cell) in enumerate(zip(gaps, row, strict=True))]
        say(("  " + "  ".join(padded)).rstrip())


def write_out(line: str) -> None:
    """Print a line on stdout as it is."""
    _write("stdout", line + "\n")


def flush() -> None:
    """Write what a library may have left in stdout's buffer, so that nothing is left to fail when Python ends."""
    _write("stdout", "")


def _write(name: Literal["stdout", "stderr"], text: str) -> None:
    """Write; where that fails mute the stream, since Python would try the same again at its end, and fail for good."""
    stream = getattr(sys, name)
    if stream is None:  # closed before the start (`>&-`)
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        # That a reader has gone (`| head`) is no reason to stop; other results that cannot be written are a failure.
        if name == "stdout" and not isinstance(error, BrokenPipeError):
            raise


def _line(text: str) -> str:
    return display_text(text, LONGEST_LINE) + "\n"
