"""Which commands are there, and what does the process return?"""

import contextlib
import errno
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from dataprune.cli.advise import advise
from dataprune.cli.arguments import check_arguments
from dataprune.cli.check import verify
from dataprune.cli.demo import demo
from dataprune.cli.duplicates import duplicates
from dataprune.cli.embed import embed
from dataprune.cli.export import export
from dataprune.cli.km import km
from dataprune.cli.lines import LogLines, complain, mute
from dataprune.cli.map import map_
from dataprune.cli.noise import app as noise
from dataprune.cli.prune import prune
from dataprune.cli.report import report
from dataprune.cli.score import score
from dataprune.cli.show import show
from dataprune.cli.stop import INTERRUPTED, Stopped, signals_as_exceptions
from dataprune.cli.study import study
from dataprune.errors import DatapruneError, InputError, MachineError

TRACEBACK = "DATAPRUNE_TRACEBACK"
STOPPED_LINE = "interrupted; what was finished is kept, the same command goes on"

# What a wrong command line raises (UsageError and its kin): typer exports only this member of the family.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"dataprune {version('dataprune')}")
        raise typer.Exit
    return wanted


@app.callback(context_settings={"help_option_names": ["--help", "-h"]})
def dataprune(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Find out which examples of a training set are hard, and keep the part that is worth training on.

    \b
    First score a set, then prune it:
        dataprune score flowers/train --out run
        dataprune prune run --keep 0.7 --out kept.csv

    To see it work on a set that is built in, which takes about a minute: dataprune demo
    """


for _command in (demo, score, prune, embed, km, duplicates, show, study, advise, report, export, verify):
    app.command()(_command)
app.command("map")(map_)
app.add_typer(noise, name="noise")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give the exit code.

    Args:
        arguments: without the program's name; None takes them from `sys.argv`.
    """
    _hold_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal or file that cannot hold a letter gets its escape
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    with contextlib.suppress(OSError):  # the folder may have been removed
        if "" not in sys.path and (here := os.getcwd()) not in sys.path:  # noqa: PTH109 only the text is wanted
            sys.path.append(here)  # for `module:function`; last, so that a file here shadows nothing
    with _logging_as_lines(), warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # what libraries say to programmers
        try:
            with signals_as_exceptions():
                code = _run((sys.argv[1:] if arguments is None else arguments) or ["--help"])
            if sys.stdout is not None:
                sys.stdout.flush()
        except KeyboardInterrupt as stopped:
            complain(STOPPED_LINE)
            return stopped.exit_code if isinstance(stopped, Stopped) else INTERRUPTED
        except BrokenPipeError:
            mute("stdout")
            return 0
        except Exception as error:  # noqa: BLE001 the boundary: everything becomes one line
            return _failed(error)
    return code


def _hold_closed_streams() -> None:
    """Put nothing in the place of a stream that was closed before the start: else the next file that is opened takes its number,
    and what a library prints goes into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _run(arguments: Sequence[str]) -> int:
    """Parse and call. Not through the library's own `main`, which answers interrupts and closed pipes in its own way."""
    check_arguments(arguments)
    command = typer.main.get_command(app)
    try:
        with command.make_context("dataprune", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    return 0


def _failed(error: Exception) -> int:
    """Return in one line what failed, and give the exit code."""
    if os.environ.get(TRACEBACK, "") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, _UsageError):
        complain(_usage_line(error))
        return 2
    if isinstance(error, DatapruneError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, MemoryError):
        complain(
            f"not enough memory{f': {_one_line(str(error))}' if str(error) else ''}. Try fewer --workers or a smaller --image-size."
        )
        return MachineError.exit_code
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):  # a shared object that cannot be mapped
        complain(f"a library cannot be loaded: {_one_line(str(error))}. Is there a limit of memory, or is the installation broken?")
        return MachineError.exit_code
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
        where = _CURRENT if isinstance(error, FileNotFoundError) else ""  # a name of none is where the process is
        where = where if error.filename is None else f": {os.fsdecode(error.filename)}"
        complain(f"{error.strerror}{where}. What was finished is kept, the same command goes on.")
        return MachineError.exit_code
    if isinstance(error, OSError) and error.errno in _NO_PATH and error.filename is not None:
        complain(f"{error.strerror}: {_shortened(os.fsdecode(error.filename))}. Name another path.")
        return InputError.exit_code
    detail = f"{type(error).__name__}: {_one_line(str(error))}"
    complain(f"internal: {detail} (this is a defect; set {TRACEBACK}=1 to see where)")
    return 1


_ENVIRONMENT = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    # What was there when it was looked for, and went while it was used.
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ESTALE,
)
_CURRENT = ": the current folder (it was removed)"
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENXIO)  # by no work of ours: something else has that name


def _usage_line(error: Exception) -> str:
    said = _one_line(error.format_message() if hasattr(error, "format_message") else str(error))
    context = getattr(error, "ctx", None)
    path = "dataprune" if context is None else context.command_path
    return f"{said}{'' if said.endswith(('.', '?')) else '.'} See {path} --help."


def _shortened(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:100]}...{path[-100:]}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def _logging_as_lines() -> Iterator[None]:
    handler = LogLines(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
