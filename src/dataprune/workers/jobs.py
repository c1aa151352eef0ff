"""What is a job, what becomes of it, and how is one run in whatever process it has come to?"""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from dataprune.errors import DatapruneError

Report = Callable[[Any], None]
"""What a job calls to send a message to `on_message` while it runs."""
Tell = Callable[[str, Any], None]
"""What takes a job's key and its message in the driver."""
MAX_ATTEMPTS = 3
"""How often a job is begun whose workers die."""


@dataclass(frozen=True)
class Job:
    """One piece of work: `function(argument, report)` gives the value of the outcome named `key`."""

    key: str
    function: Callable[[Any, Report], Any]
    argument: Any


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    `error` is None when it went well, else one line; `exception` is what it raised, where it can travel; `lost` says that it raised
    nothing but its worker died, again and again.
    """

    key: str
    value: Any
    error: str | None
    traceback: str | None
    attempts: int
    seconds: float
    exception: BaseException | None = None
    lost: bool = False


@runtime_checkable
class Pool(Protocol):
    """Workers that stay from one lot of jobs to the next."""

    def run(self, jobs: Iterable[Job], tell: Tell) -> Iterator[Outcome]:
        """Run jobs as `run_jobs` does."""

    def unseen(self, paths: Sequence[Path]) -> list[str]:
        """Name the machines that do not see these files as the driver does."""

    def carries(self) -> int | None:
        """Return how many bytes of a data set may travel with the jobs where files are not seen; None is any number."""


@dataclass(frozen=True)
class Result:
    """What became of one call of a job's function."""

    value: Any
    error: str | None = None
    traceback: str | None = None
    exception: BaseException | None = None
    seconds: float = 0.0
    lost: bool = False


def call(function: Callable[[Any, Report], Any], argument: object, report: Report) -> Result:
    begin = time.perf_counter()
    try:
        value = function(argument, report)
    except (Exception, SystemExit) as error:  # noqa: BLE001 a job may raise anything; it is recorded, not hidden
        return failure(error, time.perf_counter() - begin)
    return Result(value, seconds=time.perf_counter() - begin)


def failure(error: BaseException, seconds: float = 0.0) -> Result:
    text = " ".join(str(error).split())
    line = text if isinstance(error, DatapruneError) else f"{type(error).__name__}: {text}".rstrip(": ")
    trace = "".join(traceback.format_exception(error))
    # Without its frames, which would keep alive all that the job held.
    return Result(None, line, trace, error.with_traceback(None), seconds)


def outcome(key: str, result: Result, attempts: int) -> Outcome:
    return Outcome(key, result.value, result.error, result.traceback, attempts, result.seconds, result.exception, result.lost)
