"""How does a command speak? Results in lines on stdout, warnings and errors on stderr."""

import logging
import os
import sys
from collections.abc import Sequence
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


def say_columns(rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> None:
    """Print rows in aligned columns, indented.

    Args:
        rows: of equal length; each cell is shown harmlessly and cut at 80 characters.
        right: which columns are aligned on the right.
    """
    from rich.cells import cell_len

    cells = [[display_text(cell) for cell in row] for row in rows]
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


def pluralise(count: int, thing: str) -> str:
    """Write a count with its noun.

    Example:
        >>> pluralise(1, "member"), pluralise(2000, "example"), pluralise(2, "class")
        ('1 member', '2,000 examples', '2 classes')
    """
    ending = "" if count == 1 else "es" if thing.endswith("s") else "s"
    return f"{count:,} {thing}{ending}"


def _write(name: Literal["stdout", "stderr"], line: str) -> None:
    stream = getattr(sys, name)
    if stream is None:  # closed before the start (`>&-`)
        return
    try:
        stream.write(display_text(line, LONGEST_LINE) + "\n")
        stream.flush()
    except BrokenPipeError:
        mute(name)
    except OSError:
        if name == "stdout":  # results that cannot be written are a failure
            raise
        mute(name)  # nothing is left to say it on: the exit code does
