"""How does the driver keep its worker processes: start, feed, listen, replace and end them?"""

import contextlib
import logging
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle

from dataprune.errors import MachineError
from dataprune.workers.cores import THREAD_VARIABLES
from dataprune.workers.jobs import MAX_ATTEMPTS, Job, Outcome, Result, Tell, failure, outcome
from dataprune.workers.worker import LENGTH_BYTES, send

_TAIL_BYTES = 4000

logger = logging.getLogger("dataprune.workers")


@dataclass
class _Task:
    job: Job
    attempts: int = 0
    begin: float = 0.0


@dataclass(eq=False)
class _Worker:
    """A worker process, the socket to it and what it printed last."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    inbox: bytearray = field(default_factory=bytearray)
    tail: bytes = b""
    task: _Task | None = None

    def end(self) -> None:
        self.process.kill()
        self.channel.close()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def process_pool(most: int, threads: int) -> Iterator["ProcessTeam"]:
    pool = ProcessPool(most, threads)
    try:
        yield pool
    finally:
        pool.end()


class ProcessPool:
    """Worker processes, started as they are needed, which stay until the end."""

    def __init__(self, most: int, threads: int) -> None:
        self.finished: deque[Outcome] = deque()
        self._jobs: Iterator[Job] = iter(())
        self._tell: Tell = lambda key, message: None
        self._most = most
        self._threads = threads
        self._lost: deque[_Task] = deque()
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def run(self, jobs: Iterable[Job], tell: Tell) -> Iterator[Outcome]:
        self._jobs, self._tell = iter(jobs), tell
        try:
            while True:
                # Every worker has its next job before the caller gets an outcome, and so works on while the caller does.
                self.hand_out()
                if self.finished:
                    yield self.finished.popleft()
                elif self.is_busy():
                    self.listen()
                else:
                    return
        finally:
            self._stop()

    def unseen(self, paths: Sequence[Path]) -> list[str]:
        return []

    def carries(self) -> int | None:
        return None

    def is_busy(self) -> bool:
        return any(worker.task is not None for worker in self._workers)

    def hand_out(self) -> None:
        """Return jobs to free workers, and start workers, as long as there are both."""
        while True:
            free = next((worker for worker in self._workers if worker.task is None), None)
            if free is None and len(self._workers) >= self._most:
                return
            task = self._next_task()
            if task is None:
                return
            try:
                payload = cloudpickle.dumps((task.job.function, task.job.argument))
            except Exception as error:  # noqa: BLE001 pickling calls the argument's own code
                self.finished.append(outcome(task.job.key, failure(error), task.attempts))
                continue
            self._give(self._start() if free is None else free, task, payload)

    def listen(self) -> None:
        """Wait for something to happen and take it in."""
        events = self._selector.select(timeout=0.5)
        for key, _ in events:
            worker, is_channel = key.data
            if worker in self._workers:
                (self._take_channel if is_channel else self._take_output)(worker)
        if not events:
            # A child that a worker forked can hold the socket open after the worker has died.
            for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
                self._bury(worker)

    def end(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._selector.close()

    def _stop(self) -> None:
        """Kill the workers that are still at a job of a run that was left, and forget what it had not given."""
        for worker in [worker for worker in self._workers if worker.task is not None]:
            self._dismiss(worker)
            worker.end()
        self._lost.clear()
        self.finished.clear()

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._selector.unregister(worker.channel)
        if worker.process.stdout is not None and worker.process.stdout in self._selector.get_map():
            self._selector.unregister(worker.process.stdout)

    def _next_task(self) -> _Task | None:
        if self._lost:
            return self._lost.popleft()
        job = next(self._jobs, None)
        return None if job is None else _Task(job)

    def _start(self) -> _Worker:
        channel, theirs = socket.socketpair()
        # In the driver's own order, so that nothing is shadowed before the worker takes over the exact list.
        path = [str(entry) or str(Path.cwd()) for entry in sys.path]
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(self._threads)) | {"PYTHONPATH": os.pathsep.join(path)}
        command = [sys.executable, "-u", "-P", "-m", "dataprune.workers", str(theirs.fileno())]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        except OSError as error:
            channel.close()
            raise MachineError(f"cannot start a worker process: {error.strerror}. Ask for fewer workers.") from error
        finally:
            theirs.close()
        worker = _Worker(process, channel)
        self._workers.append(worker)
        self._selector.register(channel, selectors.EVENT_READ, (worker, True))
        if process.stdout is not None:
            self._selector.register(process.stdout, selectors.EVENT_READ, (worker, False))
        hello = {"path": sys.path, "threads": self._threads, "PYTHONPATH": os.environ.get("PYTHONPATH")}
        with contextlib.suppress(OSError):  # died already: found when it is listened to
            send(channel, pickle.dumps(hello))
        return worker

    def _give(self, worker: _Worker, task: _Task, payload: bytes) -> None:
        worker.task = task
        worker.tail = b""
        task.attempts += 1
        task.begin = time.perf_counter()
        with contextlib.suppress(OSError):
            send(worker.channel, payload)

    def _take_channel(self, worker: _Worker) -> None:
        try:
            data = worker.channel.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._bury(worker)
            return
        worker.inbox += data
        while len(worker.inbox) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(worker.inbox[:LENGTH_BYTES], "little")
            if len(worker.inbox) < end:
                return
            payload = bytes(worker.inbox[LENGTH_BYTES:end])
            del worker.inbox[:end]
            self._take_message(worker, payload)

    def _take_message(self, worker: _Worker, payload: bytes) -> None:
        assert worker.task is not None
        try:
            kind, content = pickle.loads(payload)
        except Exception as error:  # noqa: BLE001 unpickling calls the value's own code
            kind, content = "result", failure(error)
        if kind == "message":
            self._tell(worker.task.job.key, content)
        else:
            self.finished.append(outcome(worker.task.job.key, content, worker.task.attempts))
            worker.task = None

    def _take_output(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        data = os.read(worker.process.stdout.fileno(), 1 << 16)
        if not data:
            self._selector.unregister(worker.process.stdout)
            return
        worker.tail = (worker.tail + data)[-_TAIL_BYTES:]
        logger.info("worker %d: %s", worker.process.pid, data.decode(errors="replace").rstrip())

    def _bury(self, worker: _Worker) -> None:
        """Take a dead worker out, and have its job run again or recorded as failed."""
        self._workers.remove(worker)
        self._selector.unregister(worker.channel)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(timeout=1)
        if worker.process.stdout is not None and worker.process.stdout in self._selector.get_map():
            os.set_blocking(worker.process.stdout.fileno(), False)
            with contextlib.suppress(BlockingIOError):
                worker.tail = (worker.tail + os.read(worker.process.stdout.fileno(), 1 << 20))[-_TAIL_BYTES:]
            self._selector.unregister(worker.process.stdout)
        code = worker.process.returncode
        worker.end()
        task = worker.task
        if task is None:
            return
        last_words = worker.tail.decode(errors="replace").strip()
        reason = _death(code, last_words)
        logger.warning("job %s: %s (attempt %d of %d)", task.job.key, reason, task.attempts, MAX_ATTEMPTS)
        if task.attempts < MAX_ATTEMPTS:
            self._lost.append(task)
            return
        result = Result(None, reason, last_words or None, seconds=time.perf_counter() - task.begin, lost=True)
        self.finished.append(outcome(task.job.key, result, task.attempts))


def _death(code: int | None, last_words: str) -> str:
    if code == -signal.SIGKILL:
        how = "signal 9, perhaps out of memory: fewer workers need less"
    elif code is not None and code < 0:
        how = f"signal {-code}"
    else:
        how = "its connection closed" if code is None else f"exit code {code}"
    return f"worker died ({how})" + (f": {last_words.splitlines()[-1].strip()[:200]}" if last_words else "")
