"""The only printers: results in lines on stdout, warnings and errors on stderr."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Literal

from dataprune.report.text import display_text

LONGEST_LINE = 2000


def say(line: str = "") -> None:
    """Print one line on stdout."""
    _write("stdout", line)


def warn(line: str) -> None:
    """Print one line on stderr: the work goes on."""
    _write("stderr", f"warning: {line}")


def complain(line: str) -> None:
    """Print one line on stderr: the work has failed, or a part of it."""
    _write("stderr", f"error: {line}")


def mute(name: Literal["stdout", "stderr"]) -> None:
    """Send what is still written there nowhere: its reader has gone (`| head`), which is no reason to stop the work."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, getattr(sys, name).fileno())
    os.close(nowhere)


class LogLines(logging.Handler):
    """What the library logs as a warning becomes a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


def say_columns(rows: Sequence[Sequence[object]], right: Sequence[int] = (), most: int = 80) -> None:
    """Print rows of equal length in aligned columns, indented.

    Args:
        rows: each cell is shown harmlessly and cut at `most` characters.
        right: which columns are aligned on the right.
        most: characters of a cell.
    """
    from rich.cells import cell_len

    cells = [[display_text(cell, most) for cell in row] for row in rows]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    for row in cells:
        gaps = [" " * (width - cell_len(cell)) for width, cell in zip(widths, row, strict=True)]
        padded = [gap + cell if column in right else cell + gap for column, (gap, cell) in enumerate(zip(gaps, row, strict=True))]
        say(("  " + "  ".join(padded)).rstrip())


def duration(seconds: float) -> str:
    """Write a duration as a person would say it.

    Example:
        >>> [duration(s) for s in (0.42, 12.3, 250, 9000)]
        ['0.4 s', '12 s', '4.2 min', '2.5 h']
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def operations(flops: float) -> str:
    """Write a number of floating-point operations.

    Example:
        >>> operations(1.83e12), operations(3e9)
        ('1.83 TFLOP', '3 GFLOP')
    """
    size, unit = next((pair for pair in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")) if flops >= pair[0]), (1e6, "MFLOP"))
    return f"{flops / size:.3g} {unit}"


def flush() -> None:
    """Write what a library may have left in stdout's buffer, so that nothing is left to fail when Python ends."""
    if sys.stdout is not None:
        _attempt("stdout", sys.stdout.flush)


def _write(name: Literal["stdout", "stderr"], line: str) -> None:
    stream = getattr(sys, name)
    if stream is None:  # closed before the start (`>&-`)
        return

    def write() -> None:
        stream.write(display_text(line, LONGEST_LINE) + "\n")
        stream.flush()

    _attempt(name, write)


def _attempt(name: Literal["stdout", "stderr"], write: Callable[[], object]) -> None:
    """Write; where that fails mute the stream, since Python would try the same again at its end, and fail for good."""
    try:
        write()
    except BrokenPipeError:
        mute(name)
    except OSError:
        mute(name)
        if name == "stdout":  # results that cannot be written are a failure; of stderr only the exit code is left
            raise
