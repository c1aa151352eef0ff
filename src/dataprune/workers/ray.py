"""Run jobs on a Ray cluster that is there, or on one that is started for them. Addresses and tokens are Ray's own affair."""

import contextlib
import io
import logging
import os
import queue
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from dataprune.errors import DatapruneError, MachineError, invalid
from dataprune.workers.child import PackedJob, default_workers, end_with, keep_memory, set_environment, unpack
from dataprune.workers.jobs import ExecutorConfig, Job, Outcome, Task, Tell, drive, failed

STORE_SHARE = 0.2  # of the object store: what of a data set may travel through it
SENT_ONCE_BYTES = 2**20  # arrays from this size on go to the object store once, and not with every job
WAIT_SECONDS = 0.2  # between two looks for Ctrl-C
PROBE_SECONDS = 60.0
KNOCK_SECONDS = 10.0
# Workers as nice as this process; no word to anyone outside; no warning about tasks without a GPU; nothing of Ray's on stdout:
# which worker died is said in the outcomes.
VARIABLES = {
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
# Of the clusters that this process starts: Ray would write one into the home folder. It keeps to the first in a process.
_own_token: list[str] = []
_DEATHS = {
    "WorkerCrashedError": "its process ended",
    "NodeDiedError": "its node died",
    "LocalRayletDiedError": "its node died",
    "OutOfMemoryError": "its node was out of memory",
    "ObjectLostError": "its node died with the result",
}


@contextlib.contextmanager
def ray_pool(config: ExecutorConfig) -> Iterator["RayPool"]:
    """Open a pool on the cluster that this program is connected to, else on that at the address, else on one of its own."""
    with _ray_environment(), contextlib.ExitStack() as stack:
        try:
            import ray
        except ImportError:
            raise MachineError("Ray is not installed. Install it: pip install 'dataprune[ray]'") from None
        if not ray.is_initialized():
            handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            _connect(ray, config, stack)
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():  # Ray puts its own in place
                    signal.signal(number, handler)
        yield RayPool(ray, config)


@contextlib.contextmanager
def _ray_environment() -> Iterator[None]:
    """Set variables of Ray, and put all of Ray's back afterwards, also those that it sets itself."""
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    os.environ.update(VARIABLES | before)
    try:
        yield
    finally:
        set_environment({name: before.get(name) for name in [*before, *os.environ] if name.startswith("RAY_")})


def _connect(ray: Any, config: ExecutorConfig, stack: contextlib.ExitStack) -> None:
    address = config.address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        # Ray makes sockets in it, whose names must be short.
        root = tempfile.gettempdir() if len(tempfile.gettempdir()) < 16 else "/tmp"
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-", ignore_cleanup_errors=True, dir=root))
        os.environ["RAY_TMPDIR"] = folder
        if not os.environ.keys() & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
            if not _own_token:
                _own_token.append(secrets.token_hex(32))
            os.environ["RAY_AUTH_TOKEN"] = _own_token[0]
        options |= {"address": "local", "num_cpus": config.workers or default_workers(), "include_dashboard": False}
    elif _own_token:
        raise MachineError(
            f"a process that started a Ray cluster cannot join that at {address!r}: its token stays. Take a new process."
        )
    try:
        if address is not None:
            _knock(address)
        ray.init(**options)
    except DatapruneError:
        raise
    except Exception as error:  # nobody there, another version of Ray, another token: Ray has no one class for it
        said = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200].rstrip('.')}".rstrip(": ")
        if address is None:
            raise MachineError(f"cannot start Ray on this machine: {said}. Or use --executor processes.") from error
        cure = "Start one there (`ray start --head`), or leave --address out; for a token set RAY_AUTH_MODE and RAY_AUTH_TOKEN."
        raise MachineError(f"cannot reach a Ray cluster at {address!r}: {said}. {cure}") from error
    stack.callback(_shut_down, ray)


def _shut_down(ray: Any) -> None:
    with contextlib.suppress(Exception):
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise where nobody listens at an address, which Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit() or "/" in host:
        raise invalid("address", "be auto or HOST:PORT", repr(address), "It is what ray start --head printed.")
    socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


@dataclass(eq=False)
class RayPool:
    """Workers on a cluster that this process is connected to."""

    ray: Any
    config: ExecutorConfig
    sent: dict[int, tuple[np.ndarray, Any]] = field(default_factory=dict)
    _tasks: dict[Any, Task] = field(default_factory=dict)

    def run(self, jobs: Iterable[Job], tell: Tell) -> Generator[Outcome]:
        """Run jobs over the cluster; MachineError if no node has the GPUs that a job asks for."""
        gpus = self.config.gpus
        most = max((node["Resources"].get("GPU", 0.0) for node in self.ray.nodes() if node["Alive"]), default=0.0)
        if most < gpus:
            raise MachineError(f"no node of the Ray cluster has {gpus:g} GPUs; the most is {most:g}. Ask for fewer `gpus`.")
        yield from drive(self, jobs, tell)

    def nodes_without(self, paths: Sequence[Path]) -> list[str]:
        own = self.ray.util.get_node_ip_address()
        others = [node for node in self.ray.nodes() if node["Alive"] and node["NodeManagerAddress"] != own]
        if not others:
            return []
        wanted = [(str(path.absolute()), _look(path)) for path in paths]
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        probe = self.ray.remote(num_cpus=0, max_retries=0)(lambda: all(_look(Path(path)) == here for path, here in wanted))
        asked = {probe.options(scheduling_strategy=strategy(n["NodeID"], soft=False)).remote(): n for n in others}
        for answered in self.ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)[0]:
            with contextlib.suppress(self.ray.exceptions.RayError):
                if self.ray.get(answered):
                    del asked[answered]
        return sorted(node["NodeManagerHostname"] for node in asked.values())

    def max_payload_bytes(self) -> int | None:
        stores = [node["Resources"].get("object_store_memory", 0.0) for node in self.ray.nodes() if node["Alive"]]
        return int(STORE_SHARE * min(stores))

    def reference(self, array: np.ndarray) -> Any:
        """Return a reference to an array in the object store, where it is put once."""
        if id(array) not in self.sent:
            self.sent[id(array)] = (array, self.ray.put(array))  # the array itself too: so that its id stays its own
        return self.sent[id(array)][1]

    def has_room(self) -> bool:
        """Return whether there are fewer tasks than `workers`, cores of the cluster now, and shares of a GPU."""
        has, gpus = self.ray.cluster_resources(), self.config.gpus
        by_gpu = int(has.get("GPU", 0.0) / gpus) if gpus else sys.maxsize
        found = max(1, min(int(has.get("CPU", 1.0)), by_gpu))
        return len(self._tasks) < min(found, self.config.workers or sys.maxsize)

    def start(self, task: Task) -> Outcome | None:
        pickler = _Pickler(self)
        try:
            pickler.dump((task.job.function, task.job.argument))
        except self.ray.exceptions.RayError:
            raise
        except Exception as error:  # noqa: BLE001 pickling calls the argument's own code
            return failed(task.job.key, error)
        options = {"num_cpus": 1, "num_gpus": self.config.gpus, "max_retries": 0, "num_returns": "streaming"}
        # Ray asks for a generator function, which a checker of types around `_serve` would hide.
        remote = self.ray.remote(**options)(lambda *given: (yield from _serve(*given)))
        packed = PackedJob(task.job.key, pickler.buffer.getvalue())
        task.attempts += 1
        here = (sys.path, str(Path.cwd()), os.environ.get("PYTHONPATH"))
        self._tasks[remote.remote(packed, pickler.references, here)] = task
        return None

    def listen(self, tell: Tell) -> list[tuple[Task, Outcome | None]]:
        try:
            streams, _ = self.ray.wait(list(self._tasks), num_returns=1, timeout=WAIT_SECONDS)
        except SystemExit as error:
            if type(error) is not SystemExit:  # a signal's
                raise
            raise MachineError("the Ray cluster was lost. What was finished is kept: the same command goes on.") from error
        return [ended for stream in streams if (ended := self._hear(stream, tell))]

    def stop(self) -> None:
        # Asked to cancel when it is no longer connected, Ray would connect anew, to whatever cluster it finds.
        for stream in self._tasks if self.ray.is_initialized() else ():
            with contextlib.suppress(Exception):
                self.ray.cancel(stream, force=True)
        self._tasks.clear()

    def _hear(self, stream: Any, tell: Tell) -> tuple[Task, Outcome | None] | None:
        """Take in the next word of a task; return the task if it was the last."""
        task = self._tasks.pop(stream)
        try:
            is_message, packed = self.ray.get(next(stream))
        except StopIteration:
            return task, task.lose("its stream ended")
        except self.ray.exceptions.RayTaskError as error:  # not the job's: that comes as an outcome
            return task, failed(task.job.key, error.cause)
        except self.ray.exceptions.RayError as error:  # whose own account runs over a page
            return task, task.lose(_DEATHS.get(type(error).__name__, type(error).__name__))
        if not is_message:
            return task, unpack(packed, task.job.key)
        self._tasks[stream] = task  # to the end: Ray gives the first that has something
        tell(*cloudpickle.loads(packed))
        return None


class _Pickler(cloudpickle.Pickler):
    """Puts large arrays into the object store and only names them in the pickle. Their references travel beside it: in a pickle
    that Ray does not know of they would forget who owns them, and be waited for without end on another node."""

    def __init__(self, pool: RayPool) -> None:
        self.buffer, self.references = io.BytesIO(), list[Any]()
        super().__init__(self.buffer)
        self._pool = pool

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, np.ndarray) and thing.nbytes >= SENT_ONCE_BYTES and not thing.dtype.hasobject:
            self.references.append(self._pool.reference(thing))
            return _fetched, (len(self.references) - 1,)
        return super().reducer_override(thing)


_received: list[Any] = []  # what came with the one job that this process is at


def _fetched(place: int) -> Any:
    """Return an array from the object store of this node: read-only, and shared by all workers on it."""
    import ray

    return ray.get(_received[place])


def _serve(job: PackedJob, references: list[Any], there: tuple[list[str], str, str | None]) -> Iterator[tuple[bool, bytes]]:
    """Run one job in a worker of Ray, which is where its driver is; yield its messages, and its outcome as what is no message."""
    path, folder, python_path = there
    _received[:] = references
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(os.getppid())
    keep_memory()
    sys.path[:0] = [entry for entry in path if entry not in sys.path]
    set_environment({"PYTHONPATH": python_path})
    with contextlib.suppress(OSError):  # another machine may lack it
        os.chdir(folder)
    outbox: queue.SimpleQueue[tuple[bool, bytes]] = queue.SimpleQueue()
    # A thread of its own: what a job reports is sent while the job goes on.
    threading.Thread(target=lambda: outbox.put((False, job.run(lambda message: outbox.put((True, message))))), daemon=True).start()
    is_message = True
    while is_message:
        is_message, packed = outbox.get()
        yield is_message, packed


def _look(path: Path) -> tuple[int, int, bytes] | None:
    """Tell a file from others: its size, its time, and how it begins."""
    try:
        about = path.stat()
        with path.open("rb") as file:
            return about.st_size, about.st_mtime_ns, file.read(4096)
    except OSError:
        return None
