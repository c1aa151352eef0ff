"""What does a worker process do? It takes jobs from a socket, runs them one by one, and ends with its driver."""

import contextlib
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from pathlib import Path

import cloudpickle

from dataprune.workers.cores import torch_threads
from dataprune.workers.jobs import Report, Result, call, failure

LENGTH_BYTES = 8
"""A message on the socket is its length in so many bytes, little-endian, then a pickle."""
_OUT_OF_MEMORY_SCORE = 500  # as if it held half of the memory besides, see proc(5)


def send(channel: socket.socket, payload: bytes) -> None:
    """Send one message; the other side reads its length first."""
    channel.sendall(len(payload).to_bytes(LENGTH_BYTES, "little"))
    channel.sendall(payload)


def serve(descriptor: int) -> None:
    """Run the jobs that come over the socket `descriptor` until it closes; then end this process at once."""
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    go_before_parent()
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # The thread that receives is also the watcher: however the driver dies, the socket closes.
    threading.Thread(target=_receive, args=(channel, inbox), daemon=True).start()
    hello = pickle.loads(inbox.get())
    sys.path[:] = hello["path"]
    os.environ.pop("PYTHONPATH")
    if hello["PYTHONPATH"] is not None:
        os.environ["PYTHONPATH"] = hello["PYTHONPATH"]
    sending = threading.Lock()

    def tell(kind: str, content: object) -> None:
        payload = cloudpickle.dumps((kind, content))
        with sending:
            send(channel, payload)

    while True:
        result = work(inbox.get(), hello["threads"], lambda message: tell("message", message))
        try:
            tell("result", result)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 pickling calls the value's own code
            tell("result", failure(error))


def work(payload: bytes, threads: int, report: Report) -> Result:
    """Run the pickled job; give its result in a form that can travel."""
    try:
        function, argument = pickle.loads(payload)
    except Exception as error:  # noqa: BLE001 unpickling imports and calls the user's code
        return failure(error)
    with torch_threads(threads):
        result = call(function, argument, report)
    return result if _can_travel(result.exception) else Result(None, result.error, result.traceback, None, result.seconds)


def _can_travel(error: BaseException | None) -> bool:
    """Return whether the exception comes out of a pickle again; many with several arguments do not."""
    try:
        pickle.loads(cloudpickle.dumps(error))
    except Exception:  # noqa: BLE001 calls the exception's own code
        return False
    return True


def _receive(channel: socket.socket, inbox: "queue.SimpleQueue[bytes]") -> None:
    while True:
        length = int.from_bytes(_exactly(channel, LENGTH_BYTES), "little")
        inbox.put(_exactly(channel, length))


def _exactly(channel: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        try:
            part = channel.recv(min(1 << 20, count - len(data)))
        except OSError:
            part = b""
        if not part:
            os._exit(0)
        data += part
    return bytes(data)


def die_with_parent() -> None:
    """Have Linux kill this process with its parent, also while it computes without ever letting another thread run."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL))


def go_before_parent() -> None:
    """Have Linux, when memory runs out, kill this process rather than the driver, which can start another and say what happened."""
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):  # no such file, or not for us to write: then Linux chooses
        if int(score.read_text()) < _OUT_OF_MEMORY_SCORE:
            score.write_text(str(_OUT_OF_MEMORY_SCORE))
