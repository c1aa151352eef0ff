"""The command line: each command parses, makes one library call, and prints."""

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give the exit code; see `dataprune.cli.process.main`, whose import takes a moment."""
    try:
        from dataprune.cli.process import main as run
    except KeyboardInterrupt:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"error: interrupted\n")
        return 130
    return run(arguments)


def command() -> NoReturn:
    """Run the command line of this process, and end it as Python does, but without the destructors of libraries.

    Now and then one of these aborts a process whose work is done ("terminate called without an active exception").
    """
    code = main()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)
