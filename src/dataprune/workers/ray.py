"""How are jobs run on Ray?"""

import contextlib
import io
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from dataprune.errors import MachineError
from dataprune.workers.jobs import MAX_ATTEMPTS, Job, Outcome, Result, failure, outcome
from dataprune.workers.ray_cluster import connected, silently
from dataprune.workers.worker import die_with_parent, work

STORE_SHARE = 0.2  # of the object store: what of a data set may travel through it
SENT_ONCE_BYTES = 2**20  # arrays from this size on go to the object store once, and not with every job
WAIT_SECONDS = 0.2  # between two looks for Ctrl-C
PROBE_SECONDS = 60.0

logger = logging.getLogger("dataprune.workers")


@contextlib.contextmanager
def ray_pool(address: str | None, most: int | None, threads: int, gpus: float) -> Iterator["RayTeam"]:
    with connected(address, most) as ray:
        yield RayPool(ray, most, threads, gpus)


@dataclass
class _Task:
    job: Job
    payload: bytes
    references: list[Any]
    attempts: int = 0
    begin: float = 0.0


@dataclass(eq=False)
class RayPool:
    """Jobs on a cluster that this process is connected to."""

    ray: Any
    most: int | None
    threads: int
    gpus: float
    sent: dict[int, tuple[np.ndarray, Any]] = field(default_factory=dict)

    def run(self, jobs: Iterable[Job], tell: Callable[[str, Any], None]) -> Iterator[Outcome]:
        self._check_gpus()
        executor_config = _Running(self, iter(jobs), tell)
        try:
            while True:
                executor_config.hand_out()
                if executor_config.finished:
                    yield executor_config.finished.popleft()
                elif executor_config.tasks:
                    executor_config.listen()
                else:
                    return
        finally:
            executor_config.end()

    def unseen(self, paths: Sequence[Path]) -> list[str]:
        """Name the nodes that do not find these files, or find others in their place, as this process does."""
        here = self.ray.util.get_node_ip_address()
        others = [node for node in self.ray.nodes() if node["Alive"] and node["NodeManagerAddress"] != here]
        if not others:
            return []
        wanted = [(str(path.absolute()), _look(path)) for path in paths]
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        probe = self.ray.remote(num_cpus=0, max_retries=0)(_sees)
        asked = {probe.options(scheduling_strategy=strategy(n["NodeID"], soft=False)).remote(wanted): n for n in others}
        answered, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)
        seeing = {asked[one]["NodeID"] for one in answered if self._value(one)}
        return sorted(node["NodeManagerHostname"] for node in others if node["NodeID"] not in seeing)

    def carries(self) -> int | None:
        """Return how many bytes of a data set may travel with the jobs: a fifth of the smallest object store."""
        stores = [node["Resources"].get("object_store_memory", 0.0) for node in self.ray.nodes() if node["Alive"]]
        return int(STORE_SHARE * min(stores))

    def places(self) -> int:
        """Return how many jobs are handed out at once: as many as the cluster has cores now, or shares of a GPU."""
        has = self.ray.cluster_resources()
        by_gpu = int(has.get("GPU", 0.0) / self.gpus) if self.gpus else sys.maxsize
        found = max(1, min(int(has.get("CPU", 1.0)), by_gpu))
        return found if self.most is None else min(self.most, found)

    def pack(self, thing: object) -> tuple[bytes, list[Any]]:
        """Pickle an argument; large arrays in it are put into the object store, each once, and only named in the pickle."""
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, self)
        pickler.dump(thing)
        return buffer.getvalue(), pickler.references

    def reference(self, array: np.ndarray) -> Any:
        if id(array) not in self.sent:
            self.sent[id(array)] = (array, self.ray.put(array))  # the array itself too: so that its id stays its own
        return self.sent[id(array)][1]

    def _check_gpus(self) -> None:
        if not self.gpus:
            return
        most = max((node["Resources"].get("GPU", 0.0) for node in self.ray.nodes() if node["Alive"]), default=0.0)
        if most < self.gpus:
            raise MachineError(f"no node of the Ray cluster has {self.gpus:g} GPUs; the most is {most:g}. Ask for fewer `gpus`.")

    def _value(self, reference: Any) -> bool:
        try:
            return bool(self.ray.get(reference))
        except self.ray.exceptions.RayError:
            return False


class _Pickler(cloudpickle.Pickler):
    def __init__(self, buffer: io.BytesIO, pool: RayPool) -> None:
        super().__init__(buffer)
        self._team = pool
        self.references: list[Any] = []

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, np.ndarray) and thing.nbytes >= SENT_ONCE_BYTES and not thing.dtype.hasobject:
            self.references.append(self._team.reference(thing))
            return _fetched, (len(self.references) - 1,)
        return super().reducer_override(thing)


class _Running:
    """The tasks of one `run`, and what they have sent."""

    def __init__(self, pool: RayPool, jobs: Iterator[Job], tell: Callable[[str, Any], None]) -> None:
        self.finished: deque[Outcome] = deque()
        self.tasks: dict[Any, _Task] = {}
        self._team, self._ray, self._jobs, self._tell = pool, pool.ray, jobs, tell
        self._lost: deque[_Task] = deque()
        about = {"path": sys.path, "folder": str(Path.cwd()), "PYTHONPATH": os.environ.get("PYTHONPATH"), "threads": pool.threads}
        self._about = about
        options = {"num_cpus": 1, "num_gpus": pool.gpus, "max_retries": 0, "num_returns": "streaming"}
        # Ray asks for a generator function, which a checker of types around `_serve` would hide.
        self._remote = self._ray.remote(**options)(lambda *given: (yield from _serve(*given)))

    def hand_out(self) -> None:
        places = self._team.places()
        while len(self.tasks) < places:
            task = self._next_task()
            if task is None:
                return
            task.attempts += 1
            task.begin = time.perf_counter()
            self.tasks[self._remote.remote(task.payload, task.references, self._about)] = task

    def listen(self) -> None:
        """Wait for something to come and take it in."""
        try:
            streams, _ = self._ray.wait(list(self.tasks), num_returns=1, timeout=WAIT_SECONDS)
        except SystemExit as error:
            if type(error) is not SystemExit:  # a signal's
                raise
            raise MachineError("the Ray cluster was lost. What was finished is kept: the same command goes on.") from error
        for stream in streams:
            try:
                kind, content = cloudpickle.loads(self._ray.get(next(stream)))
            except StopIteration:
                self._bury(stream, "its stream ended")
            except self._ray.exceptions.RayTaskError as error:  # not the job's: that comes as a result
                self._finish(stream, failure(error.cause))
            except self._ray.exceptions.RayError as error:
                self._bury(stream, _death(error))
            except Exception as error:  # noqa: BLE001 unpickling calls the value's own code
                self._finish(stream, failure(error))
            else:
                if kind == "message":
                    task = self.tasks[stream] = self.tasks.pop(stream)  # to the end: Ray gives the first that has something
                    self._tell(task.job.key, content)
                else:
                    self._finish(stream, content)

    def end(self) -> None:
        # Asked to cancel when it is no longer connected, Ray would connect anew, to whatever cluster it finds.
        for stream in self.tasks if self._ray.is_initialized() else ():
            silently(self._ray.cancel, stream, force=True)
        self.tasks.clear()

    def _next_task(self) -> _Task | None:
        if self._lost:
            return self._lost.popleft()
        for job in self._jobs:
            try:
                return _Task(job, *self._team.pack((job.function, job.argument)))
            except self._ray.exceptions.RayError:
                raise
            except Exception as error:  # noqa: BLE001 pickling calls the argument's own code
                self.finished.append(outcome(job.key, failure(error), 0))
        return None

    def _finish(self, stream: Any, result: Result) -> None:
        task = self.tasks.pop(stream)
        self.finished.append(outcome(task.job.key, result, task.attempts))

    def _bury(self, stream: Any, reason: str) -> None:
        task = self.tasks.pop(stream)
        reason = f"worker died ({reason})"
        logger.warning("job %s: %s (attempt %d of %d)", task.job.key, reason, task.attempts, MAX_ATTEMPTS)
        if task.attempts < MAX_ATTEMPTS:
            self._lost.append(task)
            return
        result = Result(None, reason, None, seconds=time.perf_counter() - task.begin, lost=True)
        self.finished.append(outcome(task.job.key, result, task.attempts))


def _serve(payload: bytes, references: list[Any], about: dict[str, Any]) -> Iterator[bytes]:
    """Run one job in a worker of Ray, and give its messages and then its result.

    Args:
        references: of the arrays that the payload names by their places. They travel beside it: in a pickle that Ray does not know
            of, they would forget who owns them, and be waited for without end on another node.
    """
    _received[:] = references
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    missing = [entry for entry in about["path"] if entry not in sys.path]
    sys.path[:0] = missing
    os.environ.pop("PYTHONPATH", None)
    if about["PYTHONPATH"] is not None:
        os.environ["PYTHONPATH"] = about["PYTHONPATH"]
    with contextlib.suppress(OSError):  # another machine may lack it
        os.chdir(about["folder"])
    outbox: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def send(kind: str, content: object) -> None:
        outbox.put((kind, cloudpickle.dumps((kind, content))))

    def act() -> None:
        try:
            send("result", work(payload, about["threads"], lambda message: send("message", message)))
        except BaseException as error:  # noqa: BLE001 a value that cannot be pickled, an interrupt: whatever it is, it must be said
            send("result", failure(error))

    # A thread of its own: what a job reports is sent while the job goes on.
    threading.Thread(target=act, daemon=True).start()
    while True:
        kind, packed = outbox.get()
        yield packed
        if kind == "result":
            return


_received: list[Any] = []  # what came with the one job that this process is at


def _fetched(place: int) -> Any:
    """Return an array from the object store of this node: read-only, and shared by all workers on it."""
    import ray

    return ray.get(_received[place])


def _sees(wanted: list[tuple[str, Any]]) -> bool:
    return all(_look(Path(path)) == here for path, here in wanted)


def _look(path: Path) -> tuple[int, int, bytes] | None:
    """Tell a file from others: its size, its time, and how it begins."""
    try:
        about = path.stat()
        with path.open("rb") as file:
            return about.st_size, about.st_mtime_ns, file.read(4096)
    except OSError:
        return None


def _death(error: Exception) -> str:
    """Return in a few words what Ray calls the death of a worker; its own account runs over a page."""
    words = {
        "WorkerCrashedError": "its process ended",
        "NodeDiedError": "its node died",
        "OutOfMemoryError": "its node was out of memory",
        "LocalRayletDiedError": "its node died",
        "ObjectLostError": "its node died with the result",
    }
    return words.get(type(error).__name__, type(error).__name__)
