"""Work in processes that are killed, one after the other: forks of one that has imported what they need, which takes seconds."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

SERVER = """
import os, sys
sys.path.insert(0, {tests!r})
import torch._dynamo  # what a first step imports
{code}
answers = os.fdopen(os.dup(1), "w")  # no process inherits it: what the work or its orphans print is no status
os.dup2(2, 1)
for line in sys.stdin:  # each line is for one process of its own
    pid = os.fork()
    if not pid:
        code = 1
        os.close(answers.fileno())
        try:
            work(line.rstrip("\\n"))
            code = 0
        finally:
            os._exit(code)
    print(pid, file=answers, flush=True)
    print(os.waitpid(pid, 0)[1], file=answers, flush=True)
"""


class Forks:
    """Runs `work(text)`, which `code` defines, in one process after the other, each of which can be killed.

    Example:
        with Forks("def work(text): ...") as forks:
            forks.start("the text")
            forks.kill()
            assert forks.status() == signal.SIGKILL
    """

    def __init__(self, code):
        program = SERVER.format(tests=str(Path(__file__).parent), code=code)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, "-c", program], **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def start(self, text):
        """Begin the work; the one before must have ended, and its `status` been asked for."""
        self.server.stdin.write(f"{text}\n")
        self.server.stdin.flush()
        self.pid = int(self.server.stdout.readline())

    def has_ended(self):
        return bool(select.select([self.server.stdout], [], [], 0)[0])

    def kill(self):
        """Kill it; where it has ended by now, its status says so."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def status(self):
        """Wait for the end, and say how it was: 0, or the number of the signal."""
        return int(self.server.stdout.readline())
