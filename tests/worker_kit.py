"""What the tests of workers share: small jobs, and looking after processes."""

import contextlib
import time
from pathlib import Path

import pytest

from dataprune.workers import ExecutorConfig, open_pool, run_jobs
from dataprune.workers.child import environment

BACK_ENDS = ["serial", "processes", pytest.param("ray", marks=pytest.mark.ray)]
PARALLEL = BACK_ENDS[1:]


def square(x, report):
    return x * x


def run(jobs, on_message=None, **config):
    return run_jobs(jobs, ExecutorConfig(**config), on_message)


def by_key(outcomes):
    return {outcome.key: outcome for outcome in outcomes}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def all_gone(pids, within):
    end = time.monotonic() + within
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def wait_for_files(folder, count):
    """Wait until there are as many files, each with a process id in it, and give these."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        texts = [path.read_text() for path in folder.iterdir()]
        if len(texts) == count and all(texts):
            return [int(text) for text in texts]
        time.sleep(0.01)
    raise TimeoutError


@contextlib.contextmanager
def ray_started(workers=2):
    """Keep one local Ray for several tests, since starting it takes seconds; skip where it is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dataprune[ray]'")
    # Without a token, which Ray would keep: this process joins other clusters too.
    with environment({"RAY_AUTH_MODE": "disabled"}), open_pool(ExecutorConfig("ray", workers)) as pool:
        yield pool.ray
