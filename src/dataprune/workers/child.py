"""What happens in a worker process: it is set up, runs packed jobs, and ends with its driver. It imports little."""

import contextlib
import ctypes
import functools
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import cloudpickle

from dataprune.workers.jobs import Job, Outcome, failed

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of mallopt(3)
_KEEP_MEMORY = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1))
_GIVE_BACK = ((_MMAP_MAX, 65_536), (_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**26))  # as it is after some large pieces
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What the numeric libraries read when they are first loaded."""
ONE_THREAD = dict.fromkeys(THREAD_VARIABLES, "1")
_OUT_OF_MEMORY_SCORE = 500  # as if it held half of the memory besides, see proc(5)
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


@dataclass(frozen=True)
class PackedJob:
    """A job on its way to a worker. Its function and argument are pickled apart: that they cannot be loaded is the job's error."""

    key: str
    payload: bytes

    def run(self, report: Callable[[bytes], None]) -> bytes:
        """Run the job and return its outcome, pickled, as are its messages: (key, message)."""
        try:
            with one_thread():
                job = Job(self.key, *pickle.loads(self.payload))
                outcome = job.run(lambda message: report(cloudpickle.dumps((self.key, message))))
            return bytes(cloudpickle.dumps(outcome if _can_travel(outcome.exception) else replace(outcome, exception=None)))
        except BaseException as error:  # noqa: BLE001 the user's code runs in pickling, both ways; or an interrupt
            return bytes(cloudpickle.dumps(failed(self.key, error)))


def unpack(packed: bytes, key: str) -> Outcome:
    """Return the outcome that a worker sent; that it cannot be loaded is the job's error."""
    try:
        return cast("Outcome", pickle.loads(packed))
    except Exception as error:  # noqa: BLE001 unpickling calls the value's own code
        return failed(key, error)


def _can_travel(error: BaseException | None) -> bool:
    """Return whether the exception comes out of a pickle again; many with several arguments do not."""
    try:
        pickle.loads(cloudpickle.dumps(error))
    except Exception:  # noqa: BLE001 calls the exception's own code
        return False
    return True


@dataclass(frozen=True)
class Setup:
    """What a new worker process is told: its pipes to the driver, the driver's process id, and variables to put back."""

    messages: Connection
    output: Connection
    parent: int
    environment: Mapping[str, str | None]


_messages: list[Connection] = []  # the pipe of this worker


def set_up(setup: Setup) -> None:
    """Make this process a worker: what it prints goes to the driver, Ctrl-C is the driver's affair, and it ends with the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    end_with(setup.parent)
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):  # when memory runs out, Linux takes this process and not the driver
        if int(score.read_text()) < _OUT_OF_MEMORY_SCORE:
            score.write_text(str(_OUT_OF_MEMORY_SCORE))
    set_environment(setup.environment)
    keep_memory()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (setup.output.fileno(), 1), (setup.output.fileno(), 2)):
        os.dup2(source, target)
    os.close(nothing)
    setup.output.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="replace") for number in (1, 2))
    # Its end tells the driver of this worker's death: what a job starts or forks must not keep it open.
    os.set_inheritable(setup.messages.fileno(), False)
    os.register_at_fork(after_in_child=setup.messages.close)
    _messages.append(setup.messages)


def work(job: PackedJob) -> bytes:
    """Run a job in a worker that is set up; after its messages an empty one says that its outcome follows."""
    (messages,), sending = _messages, threading.Lock()

    def report(message: bytes) -> None:
        with sending:
            messages.send_bytes(message)

    try:
        return job.run(report)
    finally:
        report(b"")


@functools.cache
def end_with(parent: int) -> None:
    """End this process when its parent does; on Linux also while it computes without ever letting another thread run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[dict[str, str | None]]:
    """Set variables within; yield what they were before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield before
    finally:
        set_environment(before)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Have torch use one thread within, whether it is imported already or not."""
    before = None
    if torch := sys.modules.get("torch"):
        before = torch.get_num_threads()
        torch.set_num_threads(1)
    try:
        with environment(ONE_THREAD):
            yield
    finally:
        if torch := sys.modules.get("torch"):
            wanted = os.environ.get("OMP_NUM_THREADS", "")
            torch.set_num_threads(before or (int(wanted) if wanted.isdigit() else default_workers()))


def keep_memory(kept: bool = True) -> None:
    """Have C's library keep what is freed for what is allocated next. It would give large pieces back to the system at once, and to
    get them again page by page takes a network longer than some of its layers. With False it gives back what it has, and will."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another library than glibc
        library = ctypes.CDLL(None)
        for what, value in _KEEP_MEMORY if kept else _GIVE_BACK:
            library.mallopt(what, value)
        if not kept:
            library.malloc_trim(0)


def default_workers() -> int:
    """Count the cores that this process may use: its affinity, and the quota of its control group, rounded up."""
    from loky import cpu_count

    return int(cpu_count())
