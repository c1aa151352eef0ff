"""The commands, and what the process returns: everything that fails becomes one line and an exit code."""

import contextlib
import difflib
import errno
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, Parameter, UnknownOptionError
from cyclopts.exceptions import UnknownCommandError, UnusedCliTokensError, ValidationError

import dataprune
from dataprune.cli import noise
from dataprune.cli.advise import advise
from dataprune.cli.demo import demo
from dataprune.cli.duplicates import duplicates
from dataprune.cli.embed import embed
from dataprune.cli.help import HelpPage
from dataprune.cli.km import km
from dataprune.cli.lines import LogLines, complain, flush, say
from dataprune.cli.map import map_
from dataprune.cli.options import OPTIONS
from dataprune.cli.prune import prune
from dataprune.cli.report import report
from dataprune.cli.score import score
from dataprune.cli.show import show
from dataprune.cli.stop import INTERRUPTED, Stopped, signals_as_exceptions
from dataprune.cli.study import study
from dataprune.cli.verify import export, verify
from dataprune.errors import DatapruneError, InputError, MachineError, invalid, unknown_choice
from dataprune.report.text import display_text

TRACEBACK = "DATAPRUNE_TRACEBACK"
STOPPED_LINE = "interrupted; what was finished is kept, the same command goes on"
HELP = """Find out which examples of a training set are hard, and keep the part that is worth training on.

First score a set, then prune it:
    dataprune score flowers/train --out run
    dataprune prune run --keep 0.7 --out kept.csv

To see it work on a set that is built in, which takes about a minute: dataprune demo
"""

PAGE: Any = HelpPage()
SHARED: dict[str, Any] = {
    "help_flags": ["--help", "-h"],
    "help_format": "plaintext",
    "help_formatter": PAGE,
    "group_arguments": OPTIONS,
    "group_parameters": OPTIONS,
    "default_parameter": Parameter(negative=(), allow_repeating=True),
}
app = App("dataprune", help=HELP, version=lambda: f"dataprune {dataprune.__version__}", version_flags=["--version"], **SHARED)
noise_app = App("noise", help="Find, judge and correct wrong labels; or make them.", version_flags=[], sort_key=13, **SHARED)
app.command(noise_app)
Command = Callable[..., int | None]
COMMANDS: list[Command] = [demo, score, prune, embed, km, duplicates, show, study, advise, report, export, verify, map_]
NOISE_COMMANDS: list[Command] = [noise.inject, noise.find, noise.check, noise.apply]
for _parent, _commands in ((app, COMMANDS), (noise_app, NOISE_COMMANDS)):
    for _place, _command in enumerate(_commands):
        _parent.command(_command, sort_key=_place)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code.

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
        words = list(sys.argv[1:] if arguments is None else arguments)
        try:
            with signals_as_exceptions():
                code = _run(words)
            flush()
        except KeyboardInterrupt as stopped:
            complain(STOPPED_LINE)
            return stopped.exit_code if isinstance(stopped, Stopped) else INTERRUPTED
        except Exception as error:  # noqa: BLE001 the boundary: everything becomes one line
            return _failed(error, words)
    return code


def _hold_closed_streams() -> None:
    """Put nothing in the place of a stream that was closed before the start: else the next file that is opened takes its number,
    and what a library prints goes into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _run(words: list[str]) -> int:
    """Parse and call."""
    command, bound, _ = app.parse_args(words, console=PAGE, error_console=PAGE, exit_on_error=False, print_error=False)
    if command.__module__.startswith("cyclopts"):  # the page of help, or the version
        command(*bound.args, **bound.kwargs)
        for line in PAGE.lines():
            say(line)
        return 0
    return command(*bound.args, **bound.kwargs) or 0


def _failed(error: Exception, words: list[str]) -> int:
    """Say in one line what failed, and return the exit code."""
    if os.environ.get(TRACEBACK, "") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, CycloptsError):
        cause = error.__cause__
        complain(_as_typed(str(cause) if isinstance(cause, InputError) else _usage(error), words))
        return InputError.exit_code
    if isinstance(error, DatapruneError):
        complain(_as_typed(str(error), words))
        return error.exit_code
    if isinstance(error, MemoryError):
        what = f": {_one_line(str(error))}" if str(error) else ""
        complain(f"not enough memory{what}. Try fewer --workers or a smaller --image-size.")
        return MachineError.exit_code
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):  # a shared object that cannot be mapped
        complain(f"a library cannot be loaded: {_one_line(str(error))}. Is there a limit of memory, or is the installation broken?")
        return MachineError.exit_code
    if isinstance(error, OSError) and error.errno in (*_MACHINE, *_GONE):
        where = _CURRENT if isinstance(error, FileNotFoundError) else ""  # without a name it is where the process is
        where = where if error.filename is None else f": {os.fsdecode(error.filename)}"
        complain(f"{error.strerror}{where}. What was finished is kept, the same command goes on.")
        return MachineError.exit_code
    if isinstance(error, OSError) and error.errno in _NO_PATH and error.filename is not None:
        complain(f"{error.strerror}: {display_text(os.fsdecode(error.filename), 203)}. Name another path.")
        return InputError.exit_code
    detail = f"{type(error).__name__}: {_one_line(str(error))}"
    complain(f"internal: {detail} (this is a defect; set {TRACEBACK}=1 to see where)")
    return 1


_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)  # it was there when it was looked for
_CURRENT = ": the current folder (it was removed)"
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENXIO)  # by no work of ours: something else has that name


def _usage(error: CycloptsError) -> str:
    """Say in our words what is wrong with a command line."""
    command = " ".join(("dataprune", *(error.command_chain or ())))
    see = f"See {command} --help."
    argument = error.argument
    name = "" if argument is None else argument.name
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        names = [one for one in (error.app or app) if not one.startswith("-")]
        return f"{unknown_choice('command', error.unused_tokens[0], names)} {see}"
    if isinstance(error, UnknownOptionError):
        word, options = error.token.keyword or error.token.value, _options(error.argument_collection)
        if word not in options:
            return f"{_no_option(word, options)} {see}"
        error = UnusedCliTokensError(unused_tokens=[word])  # behind a `--`
    if isinstance(error, UnusedCliTokensError):
        return f"there are more arguments than {command} takes: {' '.join(error.unused_tokens or ())}. {see}"
    if isinstance(error, MissingArgumentError):
        mistyped = [one for one in error.unused_tokens or () if difflib.get_close_matches(name, [one]) and one != name]
        if mistyped:
            return f"{_no_option(mistyped[0], [name])} {see}"
        return f"`{name}` must be {'followed by its value' if error.keyword or (argument and argument.tokens) else 'given'}. {see}"
    if isinstance(error, ValidationError) and argument is not None:
        return str(invalid(name, error.exception_message, argument.value))
    if isinstance(error, CoercionError) and error.token is not None:
        choices, value = get_args(error.target_type), error.token.value
        if choices and all(isinstance(one, str) for one in choices):
            return str(unknown_choice(name, value, choices))
        kind = {int: "a whole number", float: "a number"}.get(error.target_type or str, str(error.target_type))
        return str(invalid(name, f"be {kind}", repr(value)))
    return f"{_one_line(str(error))} {see}"


def _no_option(word: str, options: list[str]) -> str:
    near = difflib.get_close_matches(word, options, n=1)
    return f"there is no option `{word}`.{f' Did you mean `{near[0]}`?' if near else ''}"


def _as_typed(message: str, words: list[str]) -> str:
    """Name an option as it is typed where a message begins with the name of a setting: `epochs` becomes `--epochs`."""
    found = re.match(r"`(\w+)`", message)
    if found is None:
        return message
    with contextlib.suppress(CycloptsError):
        _, apps, _ = app.parse_commands(words)
        option = f"--{found[1].replace('_', '-')}"
        if apps[-1].default_command is not None and option in _options(apps[-1].assemble_argument_collection()):
            return f"`{option}`{message[found.end() :]}"
    return message


def _options(arguments: Any) -> list[str]:
    return [name for argument in arguments for name in argument.names if name.startswith("-")]


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
