"""What happens on Ctrl-C and SIGTERM?

The first one is an exception wherever the work stands, so that workers are killed and locks are let go on the way out; every
file is written so that any moment is safe. The second ends the process at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
AGAIN_SECONDS = 0.05


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end. A KeyboardInterrupt, so that no handler of errors takes it for its own."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise `Stopped` in the main thread at the first SIGINT or SIGTERM, and leave at once at the second.

    Where Python raises nothing, as in a finaliser, the signal is sent again a moment later.
    """
    seen, over = 0, threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            os._exit(128 + number)
        raise Stopped(128 + number)

    def swallowed(unraisable: Any) -> None:
        nonlocal seen
        if not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)
            return
        seen = 0
        threading.Thread(target=send_again, args=(unraisable.exc_value.exit_code - 128,), daemon=True).start()

    def send_again(number: int) -> None:
        if not over.wait(AGAIN_SECONDS):
            os.kill(os.getpid(), number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        yield
    finally:
        over.set()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
