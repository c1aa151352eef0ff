"""The command line: each command parses, makes one library call, and prints."""

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give the exit code; see `dataprune.cli.process.main`, whose import takes a moment."""
    try:
        from dataprune.cli.process import main as run
    except KeyboardInterrupt:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"error: interrupted\n")
        return 130
    return run(arguments)
