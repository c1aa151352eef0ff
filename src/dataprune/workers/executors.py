"""By which back end are jobs run?

Knows the back ends by name. Does not know how worker processes are kept.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from dataprune.errors import must, unknown
from dataprune.workers.cores import default_workers, torch_threads
from dataprune.workers.jobs import Job, Outcome, call, outcome
from dataprune.workers.processes import run_processes

Executor = Literal["serial", "processes"]


def run_jobs(
    jobs: Iterable[Job],
    *,
    executor: Executor = "processes",
    workers: int | None = None,
    on_message: Callable[[str, Any], None] | None = None,
    threads: int = 1,
) -> Iterator[Outcome]:
    """Run jobs and give their outcomes as they complete.

    An exception in a job is recorded in its outcome and the job is not repeated. A lost worker (killed, out of memory)
    has its job run again, three times in all; then the job has failed. The others go on. Closing the iterator, or an
    exception in the loop over it, kills the workers at once.

    Process workers start as modules of their own, so scripts and notebooks need no main guard, and functions defined
    there work. They have the driver's `sys.path` and working folder; what they print goes to the log of this module.
    On Linux they end with the thread that first asked for an outcome.

    Args:
        jobs: read one at a time, when a worker is free.
        executor: `serial` runs them in this process, one after the other; `processes` in worker processes.
        workers: how many processes at most, by default `default_workers()`; `serial` has none.
        on_message: called in this process with the job's key and message, before that job's outcome is given.
        threads: how many threads torch uses in a job. `serial` sets them for a job and sets them back after it; where
            the job itself is the first to import torch, through the environment.

    Raises:
        InputError: an unknown executor, or fewer than one worker or thread.
    """
    if threads < 1:
        raise must("threads", "be at least 1", threads)
    if workers is not None and workers < 1:
        raise must("workers", "be at least 1", workers)
    tell = on_message if on_message is not None else _ignore
    if executor == "serial":
        return _run_serial(jobs, tell, threads)
    if executor == "processes":
        return run_processes(jobs, workers or default_workers(), tell, threads)
    raise unknown("executor", executor, ("serial", "processes"))


def _ignore(key: str, message: object) -> None:
    """Take a message nobody asked for."""


class _ListenerError(BaseException):
    """Carries what `on_message` raised through a job of this process, which must not take it for its own error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _run_serial(jobs: Iterable[Job], tell: Callable[[str, Any], None], threads: int) -> Iterator[Outcome]:
    for job in jobs:

        def report(message: object, key: str = job.key) -> None:
            try:
                tell(key, message)
            except Exception as error:
                raise _ListenerError(error) from error

        try:
            with torch_threads(threads):
                result = call(job.function, job.argument, report)
        except _ListenerError as carrier:
            raise carrier.error from None
        yield outcome(job.key, result, 1)
