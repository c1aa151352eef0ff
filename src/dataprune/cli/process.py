"""The process: signals and streams; everything that fails becomes one line and an exit code."""

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from cyclopts import CycloptsError

from dataprune.cli.app import as_typed, run, usage
from dataprune.cli.lines import LogLines, collect, flush
from dataprune.cli.results import fail, take_json
from dataprune.errors import DatapruneError, InputError, MachineError
from dataprune.report.text import display_text

TRACEBACK = "DATAPRUNE_TRACEBACK"
STOPPED_LINE = "interrupted; what was finished is kept, the same command goes on"
INTERRUPTED = 128 + signal.SIGINT
AGAIN_SECONDS = 0.05
AT_ONCE_SECONDS = 0.3  # signals that come together are one

_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)  # it was there when it was looked for
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENXIO)  # by no work of ours: something else has that name


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end. A KeyboardInterrupt, so that no handler of errors takes it for its own."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code.

    Args:
        arguments: without the program's name; None takes them from `sys.argv`.
    """
    for number in range(3):  # a closed stream's number would go to the next file that is opened, and prints into it
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal or file that cannot hold a letter gets its escape
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    with contextlib.suppress(OSError):  # the folder may have been removed
        if "" not in sys.path and (here := os.getcwd()) not in sys.path:  # noqa: PTH109 only the text is wanted
            sys.path.append(here)  # for `module:function`; last, so that a file here shadows nothing
    handler = LogLines(logging.WARNING)
    logging.getLogger().addHandler(handler)
    words, as_json = take_json(list(sys.argv[1:] if arguments is None else arguments))
    collect(as_json)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")  # what libraries say to programmers
            with signals_as_exceptions():
                code = run(words)
            flush()
            return code
    except KeyboardInterrupt as stopped:
        return fail(STOPPED_LINE, stopped.exit_code if isinstance(stopped, Stopped) else INTERRUPTED, "interrupted")
    except Exception as error:  # noqa: BLE001 the boundary: everything becomes one line
        if os.environ.get(TRACEBACK, "") not in ("", "0"):
            traceback.print_exception(error)
        line, code = _failed(error)
        line = as_typed(line, words) if isinstance(error, CycloptsError | DatapruneError) else line
        return fail(line, code, "internal" if line.startswith("internal: ") else "")
    finally:
        collect(False)
        logging.getLogger().removeHandler(handler)


def _failed(error: Exception) -> tuple[str, int]:
    """Say in one line what failed, and with which exit code."""
    text = " ".join(str(error).split())
    if isinstance(error, CycloptsError):
        return str(error.__cause__) if isinstance(error.__cause__, InputError) else usage(error), InputError.exit_code
    if isinstance(error, DatapruneError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        return f"not enough memory{text and f': {text}'}. Try fewer --workers or a smaller --image-size.", MachineError.exit_code
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):  # a shared object that cannot be mapped
        cure = "Is there a limit of memory, or is the installation broken?"
        return f"a library cannot be loaded: {text}. {cure}", MachineError.exit_code
    if isinstance(error, OSError) and error.errno in (*_MACHINE, *_GONE):
        where = "the current folder (it was removed)" if isinstance(error, FileNotFoundError) else ""  # where no name is told
        where = where if error.filename is None else os.fsdecode(error.filename)
        what = f"{error.strerror}{where and f': {where}'}"
        return f"{what}. What was finished is kept, the same command goes on.", MachineError.exit_code
    if isinstance(error, OSError) and error.errno in _NO_PATH and error.filename is not None:
        where = display_text(os.fsdecode(error.filename), 203)
        return f"{error.strerror}: {where}. Name another path.", InputError.exit_code
    return f"internal: {type(error).__name__}: {text} (this is a defect; set {TRACEBACK}=1 to see where)", 1


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise `Stopped` in the main thread at the first SIGINT or SIGTERM, and leave at once at the second.

    So workers are killed and locks are let go on the way out. Signals that come together are one: `timeout` sends two. Where Python
    raises nothing, as in a finaliser, the signal is sent again a moment later; where compiled code makes another error of it, it is
    `Stopped` again.
    """
    first: float | None = None
    exit_code = 0
    over = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first, exit_code
        now = time.monotonic()
        if first is not None and now - first > AT_ONCE_SECONDS:
            os._exit(128 + number)
        if first is None:
            first, exit_code = now, 128 + number
            raise Stopped(exit_code)

    def swallowed(unraisable: Any) -> None:
        nonlocal first
        if not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)
            return
        first = None
        threading.Thread(target=send_again, args=(unraisable.exc_value.exit_code - 128,), daemon=True).start()

    def send_again(number: int) -> None:
        if not over.wait(AGAIN_SECONDS):
            os.kill(os.getpid(), number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        yield
    except Exception as error:
        if first is None:
            raise
        raise Stopped(exit_code) from error
    finally:
        over.set()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
