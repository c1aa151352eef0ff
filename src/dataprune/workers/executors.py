"""By which back end are jobs run?"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dataprune.errors import invalid, unknown_choice
from dataprune.workers.cores import default_workers, torch_threads
from dataprune.workers.jobs import Job, Outcome, Pool, Tell, call, outcome
from dataprune.workers.processes import process_pool

Executor = Literal["serial", "processes", "ray"]


@dataclass(frozen=True)
class ExecutorConfig:
    """Who runs jobs; none of it changes a result.

    Attributes:
        executor: `serial` runs them in this process, one after the other; `processes` in worker processes; `ray` on Ray.
        workers: how many at once at most, by default `default_workers()`, on Ray as many as the cluster has cores; `serial` has
            none.
        threads: how many threads torch uses in a job. `serial` sets them for a job and sets them back after it; where
            the job itself is the first to import torch, through the environment.
        address: of a Ray cluster, `auto` or `HOST:PORT`; None uses the one this program is connected to, else starts one on this
            machine and ends it afterwards.
        gpus: the share of a GPU that a job takes on Ray: 0.25 puts four on one.

    Raises:
        InputError: an unknown executor, fewer than one worker or thread, an address or GPUs for another executor than Ray.
    """

    executor: Executor = "processes"
    workers: int | None = None
    threads: int = 1
    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise invalid("threads", "be at least 1", self.threads)
        if self.workers is not None and self.workers < 1:
            raise invalid("workers", "be at least 1", self.workers)
        if self.executor not in get_args(Executor):
            raise unknown_choice("executor", self.executor, get_args(Executor))
        if self.address is not None and self.executor != "ray":
            raise invalid("address", "go with --executor ray", f"{self.address!r} with {self.executor}")
        if not 0 <= self.gpus < float("inf"):
            raise invalid("gpus", "be 0 or more", self.gpus)
        if self.gpus and self.executor != "ray":
            raise invalid("gpus", "go with --executor ray", f"{self.gpus:g} with {self.executor}")


def run_jobs(
    jobs: Iterable[Job],
    *,
    executor: Executor = "processes",
    workers: int | None = None,
    on_message: Tell | None = None,
    threads: int = 1,
    address: str | None = None,
    gpus: float = 0.0,
) -> Iterator[Outcome]:
    """Run jobs and give their outcomes as they complete.

    An exception in a job is recorded in its outcome and the job is not repeated. A lost worker (killed, out of memory, its node
    gone) has its job run again, three times in all; then the job has failed. The others go on. Closing the iterator, or an
    exception in the loop over it, kills the workers at once.

    Workers start as modules of their own, so scripts and notebooks need no main guard, and functions defined
    there work. They have the driver's `sys.path` and working folder; what a process worker prints goes to the log of this module.
    On Linux they end with the thread that first asked for an outcome.

    Args:
        jobs: read one at a time, when a worker is free.
        executor: as of `ExecutorConfig`, as are `workers`, `threads`, `address` and `gpus`.
        on_message: called in this process with the job's key and message, before that job's outcome is given.

    Raises:
        InputError: what `ExecutorConfig` refuses.
        MachineError: (when the first outcome is asked for) a worker cannot start; Ray is not installed or not reached.
    """
    return _run_once(ExecutorConfig(executor, workers, threads, address, gpus), jobs, on_message or _ignore)


@contextlib.contextmanager
def open_pool(executor_config: ExecutorConfig) -> Iterator[Pool]:
    """Keep workers for several lots of jobs; leaving the block ends them."""
    if executor_config.executor == "serial":
        yield _SerialPool(executor_config.threads)
    elif executor_config.executor == "processes":
        with process_pool(executor_config.workers or default_workers(), executor_config.threads) as processes:
            yield processes
    else:
        from dataprune.workers.ray import ray_pool

        with ray_pool(executor_config.address, executor_config.workers, executor_config.threads, executor_config.gpus) as cluster:
            yield cluster


def _run_once(executor_config: ExecutorConfig, jobs: Iterable[Job], tell: Tell) -> Iterator[Outcome]:
    with open_pool(executor_config) as workers, contextlib.closing(workers.run(jobs, tell)) as outcomes:  # type: ignore[type-var]
        yield from outcomes


def _ignore(key: str, message: object) -> None:
    """Take a message nobody asked for."""


class _ListenerError(BaseException):
    """Carries what `on_message` raised through a job of this process, which must not take it for its own error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@dataclass(frozen=True)
class _SerialPool:
    threads: int

    def run(self, jobs: Iterable[Job], tell: Tell) -> Iterator[Outcome]:
        return _run_serial(jobs, tell, self.threads)

    def unseen(self, paths: Sequence[Path]) -> list[str]:
        return []

    def carries(self) -> int | None:
        return None


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
