"""Run jobs in this process, in worker processes of loky, or on Ray: one function, and pools that stay for several lots of jobs."""

import contextlib
import io
import os
import pickle
import re
import resource
import signal
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe, active_children, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

import cloudpickle

from dataprune.errors import MachineError
from dataprune.workers import child
from dataprune.workers.jobs import ExecutorConfig, Job, Outcome, Pool, Task, Tell, drive, failed, logger

_FILES = 12  # that this process holds open for each worker
_TAIL_BYTES = 4000  # of what a worker printed: its last words
_PATIENCE_SECONDS = 2.0  # for loky to notice that a worker is dead


def run_jobs(
    jobs: Iterable[Job],
    executor_config: ExecutorConfig = ExecutorConfig(),  # noqa: B008 frozen
    on_message: Tell | None = None,
) -> Generator[Outcome]:
    """Run jobs and give their outcomes as they complete; workers start when the first is asked for.

    An exception in a job is recorded in its outcome and the job is not repeated. A lost worker (killed, out of memory, its node
    gone) has the job that it was at run again, three times in all; then that job has failed. The others go on. Closing the
    iterator, or an exception in the loop over it, kills the workers at once. Jobs are read one at a time, when a worker is free;
    `on_message` is called in this process with the job's key and message, before that job's outcome is given.

    Scripts and notebooks need no main guard, and functions defined there work. Workers have the driver's `sys.path` and working
    folder; what a process worker prints goes to the log of this module. On Linux they end with the thread that first asked for an
    outcome. A worker that cannot start is a MachineError.
    """
    tell = on_message or (lambda key, message: None)
    with open_pool(executor_config) as pool, contextlib.closing(pool.run(jobs, tell)) as outcomes:
        yield from outcomes


@contextlib.contextmanager
def open_pool(executor_config: ExecutorConfig) -> Iterator[Pool]:
    """Keep workers for several lots of jobs; leaving the block ends them."""
    if executor_config.executor == "serial":
        yield SerialPool()
    elif executor_config.executor == "processes":
        with contextlib.closing(ProcessPool(executor_config.workers or child.default_workers())) as processes:
            yield processes
    else:
        from dataprune.workers.ray import ray_pool

        with ray_pool(executor_config) as cluster:
            yield cluster


class _ListenerError(BaseException):
    """Carries what `on_message` raised through a job of this process, which must not take it for its own error."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class SerialPool(Pool):
    """This process, one job after the other."""

    def run(self, jobs: Iterable[Job], tell: Tell) -> Generator[Outcome]:
        child.keep_memory()
        try:
            for job in jobs:

                def report(message: object, key: str = job.key) -> None:
                    try:
                        tell(key, message)
                    except Exception as error:
                        raise _ListenerError(error) from error

                try:
                    with child.one_thread():
                        outcome = job.run(report)
                except _ListenerError as carrier:
                    raise carrier.error from None
                yield outcome
        finally:
            child.keep_memory(False)


@dataclass(eq=False)
class _Worker:
    """One worker process, in a loky executor of its own: its death breaks no other, and which job it died of is plain."""

    executor: Any
    messages: Connection
    output: Connection
    tail: bytes = b""
    task: Task | None = None
    future: Any = None

    def read_output(self) -> bool:
        """Take in some of what the worker printed; return False at its end."""
        data = os.read(self.output.fileno(), 1 << 16)
        self.tail = (self.tail + data)[-_TAIL_BYTES:]
        if data:
            logger.info("worker: %s", data.decode(errors="replace").rstrip())
        return bool(data)

    def last_words(self) -> str:
        while not self.output.closed and self.output.poll() and self.read_output():
            pass
        return self.tail.decode(errors="replace").strip()


@dataclass(eq=False)
class ProcessPool(Pool):
    """Worker processes, started as they are needed, which stay until the end."""

    workers: int
    _started: list[_Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Where `pgrep` is missing, loky warns with a traceback that what a job started itself is not killed with its worker.
        warnings.filterwarnings("ignore", "Failed to kill subprocesses")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = soft // 2 + _FILES * self.workers
        needed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if 0 <= soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

    def run(self, jobs: Iterable[Job], tell: Tell) -> Generator[Outcome]:
        return drive(self, jobs, tell)

    def close(self) -> None:
        for worker in list(self._started):
            self._end(worker)
        active_children()  # takes leave of those that died, with what was held open for them

    def has_room(self) -> bool:
        return len(self._started) < self.workers or any(worker.task is None for worker in self._started)

    def start(self, task: Task) -> Outcome | None:
        from loky import BrokenProcessPool

        try:
            payload = cloudpickle.dumps((task.job.function, task.job.argument))
        except Exception as error:  # noqa: BLE001 pickling calls the argument's own code
            return failed(task.job.key, error)
        worker = next((worker for worker in self._started if worker.task is None), None) or self._new_worker()
        try:
            worker.future = worker.executor.submit(child.work, child.PackedJob(task.job.key, payload))
        except BrokenProcessPool:  # it died while it had nothing to do
            self._end(worker)
            return self.start(task)
        worker.task, worker.tail = task, b""
        task.attempts += 1
        return None

    def listen(self, tell: Tell) -> list[tuple[Task, Outcome | None]]:
        ended = []
        busy = [worker for worker in self._started if worker.task is not None]
        ready = wait([pipe for worker in busy for pipe in (worker.messages, worker.output) if not pipe.closed])
        for worker in busy:
            if worker.output in ready and not worker.read_output():
                worker.output.close()
            if worker.messages in ready:
                try:
                    message = worker.messages.recv_bytes()
                except (EOFError, OSError):
                    ended.append(self._take(worker, _PATIENCE_SECONDS))
                    continue
                if message:
                    tell(*pickle.loads(message))
                else:
                    ended.append(self._take(worker, None))
        return ended

    def stop(self) -> None:
        for worker in [worker for worker in self._started if worker.task is not None]:
            self._end(worker)

    def _end(self, worker: _Worker) -> None:
        self._started.remove(worker)
        worker.executor.shutdown(wait=True, kill_workers=True)
        worker.messages.close()
        worker.output.close()

    def _new_worker(self) -> _Worker:
        from loky import ProcessPoolExecutor
        from loky.backend.context import LokyContext  # named, as joblib, once it is at work, puts its own in this one's place

        (messages, messages_there), (output, output_there) = Pipe(duplex=False), Pipe(duplex=False)
        variables = child.ONE_THREAD | {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}
        try:
            with _starting() as before:
                setup = child.Setup(messages_there, output_there, os.getpid(), before)
                executor = ProcessPoolExecutor(1, context=LokyContext(), initializer=child.set_up, initargs=(setup,), env=variables)
                executor.submit(os.getpid)
        except OSError as error:
            raise MachineError(f"cannot start a worker process: {error.strerror}. Ask for fewer workers.") from error
        finally:
            messages_there.close()
            output_there.close()
        self._started.append(_Worker(executor, messages, output))
        return self._started[-1]

    def _take(self, worker: _Worker, patience: float | None) -> tuple[Task, Outcome | None]:
        """Take in how a task ended: with its outcome, or with its worker."""
        from loky import BrokenProcessPool

        task, worker.task = worker.task, None
        assert task is not None
        try:
            error = worker.future.exception(patience)
        except TimeoutError as no_word:  # a process that the job forked holds on to what loky watches
            error = BrokenProcessPool(str(no_word))
        if error is None:
            return task, child.unpack(worker.future.result(), task.job.key)
        if not isinstance(error, BrokenProcessPool):
            return task, failed(task.job.key, error)
        last_words = worker.last_words()
        self._end(worker)
        return task, task.lose(_death(error), last_words)


def _death(error: BaseException) -> str:
    code = re.search(r"\((-?\d+)\)\}", str(error))  # loky says it so: {SIGKILL(-9)}
    if code is None:
        return "its connection closed"
    number = int(code[1])
    if number == -signal.SIGKILL:
        return "signal 9, perhaps out of memory: fewer workers need less"
    return f"signal {-number}" if number < 0 else f"exit code {number}"


@contextlib.contextmanager
def _starting() -> Iterator[dict[str, str | None]]:
    """Have processes that are started within be safe from Ctrl-C from their first moment; yield what to put back in them."""
    # Nothing in the working folder shadows their modules; nothing is said of semaphores that a killed driver leaves to the tracker.
    warned = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker"]))
    nowhere = io.StringIO()  # loky flushes both streams, and a program whose streams are closed has none
    streams = contextlib.redirect_stdout(sys.stdout or nowhere), contextlib.redirect_stderr(sys.stderr or nowhere)
    with child.environment({"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": warned}) as before, streams[0], streams[1]:
        resource_tracker.ensure_running()  # which unblocks signals
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            yield before
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
