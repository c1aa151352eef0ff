"""What is run and by whom: jobs, their outcomes, the configuration of an executor, and what a pool of workers offers."""

import logging
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from dataprune.errors import DatapruneError, WorkError, invalid

Executor = Literal["serial", "processes", "ray"]
Report = Callable[[Any], None]  # what a job calls to send a message to the driver while it runs
Tell = Callable[[str, Any], None]  # what takes a job's key and its message in the driver
MAX_ATTEMPTS = 3  # how often a job is started whose workers die
logger = logging.getLogger("dataprune.workers")


@dataclass(frozen=True)
class ExecutorConfig:
    """Who runs jobs; none of it changes a result: `serial` this process, one after the other; `processes` workers of it; `ray` the
    cluster at `address` (auto or HOST:PORT), else the one that this program is connected to, at $RAY_ADDRESS, or started here and
    ended afterwards. At most so many `workers` at once (by default as many as cores, here or of the cluster), torch with one thread
    in each; on Ray a job takes a share of a GPU, `gpus`: 0.25 puts four on one."""

    executor: Executor = "processes"
    workers: int | None = None
    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.address is not None and self.executor != "ray":
            raise invalid("address", "go with --executor ray", f"{self.address!r} with {self.executor}")
        if not 0 <= self.gpus < float("inf"):
            raise invalid("gpus", "be 0 or more", self.gpus)
        if self.gpus and self.executor != "ray":
            raise invalid("gpus", "go with --executor ray", f"{self.gpus:g} with {self.executor}")


@dataclass(frozen=True)
class Job:
    """One piece of work: `function(argument, report)` gives the value of the outcome named `key`."""

    key: str
    function: Callable[[Any, Report], Any]
    argument: Any

    def run(self, report: Report) -> "Outcome":
        """Run in this process; what the function raises, other than an interrupt, is recorded."""
        try:
            return Outcome(self.key, self.function(self.argument, report))
        except (Exception, SystemExit) as error:  # noqa: BLE001 a job may raise anything; it is recorded, not hidden
            return failed(self.key, error)


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    key: str
    value: Any
    error: str | None = None  # one line; None when it went well
    traceback: str | None = None
    attempts: int = 1
    exception: BaseException | None = None  # what it raised, where it can travel
    lost: bool = False  # it raised nothing, but its worker died, again and again

    def result(self, what: str, cure: str = "") -> Any:
        """Return the value, or raise what the job did, where one line says it; else that `what` failed."""
        if isinstance(self.exception, DatapruneError | OSError):
            raise self.exception
        if self.error is not None:
            raise WorkError(f"{what} failed: {self.error.rstrip('.')}.{cure and f' {cure}'}") from self.exception
        return self.value


def failed(key: str, error: BaseException) -> Outcome:
    text = " ".join(str(error).split())
    line = text if isinstance(error, DatapruneError) else f"{type(error).__name__}: {text}".rstrip(": ")
    trace = "".join(traceback.format_exception(error))
    # Without its frames, which would keep alive all that the job held.
    return Outcome(key, None, line, trace, exception=error.with_traceback(None))


@dataclass
class Task:
    """A job in the driver's hands, and how often it was started."""

    job: Job
    attempts: int = 0

    def lose(self, reason: str, last_words: str = "") -> Outcome | None:
        """Return the outcome now that its worker has died, or None if it is to be started again."""
        reason = f"worker died ({reason})" + (f": {last_words.splitlines()[-1].strip()[:200]}" if last_words else "")
        logger.warning("job %s: %s (attempt %d of %d)", self.job.key, reason, self.attempts, MAX_ATTEMPTS)
        if self.attempts < MAX_ATTEMPTS:
            return None
        return Outcome(self.job.key, None, reason, last_words or None, self.attempts, lost=True)


@runtime_checkable
class Pool(Protocol):
    """Workers that stay from one lot of jobs to the next; on this machine unless it says otherwise."""

    def run(self, jobs: Iterable[Job], tell: Tell) -> Generator[Outcome]:
        """Run jobs as `run_jobs` does."""

    def nodes_without(self, paths: Sequence[Path]) -> list[str]:
        """Name the machines that do not see these files as the driver does."""
        return []

    def max_payload_bytes(self) -> int | None:
        """Return how many bytes of a data set may travel with the jobs where files are not seen; None is any number."""
        return None


@runtime_checkable
class Backend(Protocol):
    """What `drive` needs of workers."""

    def has_room(self) -> bool:
        """Return whether another task can start."""

    def start(self, task: Task) -> Outcome | None:
        """Start a task; return an outcome if it cannot even be sent."""

    def listen(self, tell: Tell) -> list[tuple[Task, Outcome | None]]:
        """Wait for something to happen; return the tasks that have ended, without an outcome if they are to start again."""

    def stop(self) -> None:
        """Kill the workers that are at a task."""


def drive(backend: Backend, jobs: Iterable[Job], tell: Tell) -> Generator[Outcome]:
    """Run jobs on workers as `run_jobs` says."""
    waiting, running = iter(jobs), 0
    lost: deque[Task] = deque()
    finished: deque[tuple[Task, Outcome]] = deque()
    try:
        while True:
            # Every worker has its next job before the caller gets an outcome, and so works on while the caller does.
            while backend.has_room() and (task := lost.popleft() if lost else next(map(Task, waiting), None)):
                if outcome := backend.start(task):
                    finished.append((task, outcome))
                else:
                    running += 1
            if finished:
                task, outcome = finished.popleft()
                yield replace(outcome, attempts=task.attempts)
            elif running:
                for task, ended in backend.listen(tell):
                    running -= 1
                    if ended:
                        finished.append((task, ended))
                    else:
                        lost.append(task)
            else:
                return
    finally:
        backend.stop()
