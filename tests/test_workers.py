"""Jobs in this process and in worker processes: what is each one's own. What all promise is in test_workers_conformance."""

import errno
import gc
import importlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import loky
import pytest

import worker_kit
from dataprune.errors import MachineError
from dataprune.workers import Job, default_workers
from worker_kit import run, square

# Workers cannot import a test module by name.
for module in (sys.modules[__name__], worker_kit):
    cloudpickle.register_pickle_by_value(module)


TOO_LITTLE = """
from dataprune.workers import ExecutorConfig, Job, run_jobs

def take(megabytes, report):
    return sum(bytearray(b"1" * (megabytes << 20))[::4096]) and None

mine = b"1" * (300 << 20)
for outcome in run_jobs([Job("small", take, 1), Job("large", take, 150)], ExecutorConfig(workers=1)):
    print(outcome.key, outcome.attempts, outcome.error)
"""


PAGES = """
import sys
from dataprune.workers import ExecutorConfig, Job, run_jobs

def pages(_, report):  # that the system gives while 40 MB are allocated and freed ten times, after the first
    import resource
    for number in range(10):
        if number == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(b"1") * (40 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = pages(None, None)
(kept,) = run_jobs([Job("a", pages, None)], ExecutorConfig(executor=sys.argv[1], workers=1))
print(plain, kept.value, pages(None, None))
"""


def own_children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tunes glibc")
@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_what_a_job_frees_is_kept_for_what_it_allocates_next(executor):
    fresh = subprocess.run([sys.executable, "-c", PAGES, executor], capture_output=True, text=True, check=True)
    plain, kept, afterwards = map(int, fresh.stdout.split())
    assert kept < plain / 10
    assert afterwards > plain / 2  # of that process nothing was changed


class TestSerial:
    def test_in_order_and_in_this_process(self):
        outcomes = list(run([Job(str(x), lambda x, report: os.getpid(), x) for x in range(3)], executor="serial"))
        assert [(outcome.key, outcome.value) for outcome in outcomes] == [(key, os.getpid()) for key in "012"]

    def test_the_second_job_starts_when_the_first_was_taken(self):
        ran = []
        outcomes = run([Job(str(x), lambda x, report: ran.append(x), x) for x in range(3)], executor="serial")
        next(outcomes)
        assert ran == [0]

    def test_interrupts_are_not_swallowed(self):
        def interrupt(x, report):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(run([Job("a", interrupt, 0)], executor="serial"))


class TestProcesses:
    @pytest.mark.long
    def test_a_forked_child_does_not_hide_the_death(self, tmp_path):
        def die(x, report):
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
            os._exit(3)

        begin = time.monotonic()
        (outcome,) = run([Job("a", die, 0)])
        assert outcome.lost
        assert time.monotonic() - begin < 20

    def test_printing_corrupts_nothing(self, capfd, caplog):
        def loud(x, report):
            sys.stdout.write("out" * 100_000)
            os.write(1, b"raw\n")
            os.write(2, b"error\n")
            return x

        caplog.set_level("INFO", logger="dataprune.workers")
        assert [outcome.value for outcome in run([Job("a", loud, 1), Job("b", loud, 2)], workers=1)] == [1, 2]
        assert capfd.readouterr() == ("", "")
        assert "error" in caplog.text

    def test_a_worker_is_small(self):
        for name in ("loky", "joblib.externals.loky"):  # the second registers its own context by the name of the first's
            importlib.import_module(name)

        def imported(x, report):
            return [name for name in ("torch", "numpy", "pyarrow", "sklearn") if name in sys.modules]

        (outcome,) = run([Job("a", imported, 0)])
        assert outcome.value == []

    def test_the_workers_path_is_the_drivers(self, monkeypatch, tmp_path):
        monkeypatch.syspath_prepend(tmp_path / "with:colon")
        (outcome,) = run([Job("a", lambda x, report: (list(sys.path), str(Path.cwd())), 0)])
        assert outcome.value == (sys.path, str(Path.cwd()))

    def test_locks_and_files_are_not_inherited(self, tmp_path):
        with (tmp_path / "lock").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            (outcome,) = run([Job("a", lambda x, report: [str(p.resolve()) for p in Path("/proc/self/fd").iterdir()], 0)])
        assert str(tmp_path / "lock") not in outcome.value

    def test_when_memory_runs_out_the_worker_goes_and_not_the_driver(self, memory_limit):
        """A real memory killer, and a driver that holds more than the worker: on its own the kernel would take the driver."""
        done = subprocess.run(
            [sys.executable, "-c", TOO_LITTLE], capture_output=True, text=True, preexec_fn=lambda: memory_limit(500), check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            "small 1 None",
            "large 3 worker died (signal 9, perhaps out of memory: fewer workers need less)",
        ]

    def test_no_process_or_socket_is_left(self):
        list(run([Job("a", square, 1)]))  # loky's trackers of resources stay
        gc.collect()  # what earlier tests left in circles holds descriptors until then
        before, children = len(list(Path("/proc/self/fd").iterdir())), own_children()
        list(run([Job(str(x), lambda x, report: os._exit(1) if x == 1 else x, x) for x in range(3)], workers=2))
        end = time.monotonic() + 10  # threads of the executors end a moment after their workers
        while time.monotonic() < end and (len(list(Path("/proc/self/fd").iterdir())) > before or own_children() != children):
            gc.collect()
            time.sleep(0.05)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before
        assert own_children() == children


def test_default_workers():
    assert 1 <= default_workers() <= (os.cpu_count() or 1)


def test_a_worker_that_cannot_start(monkeypatch):
    def refuse(*given):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(loky.ProcessPoolExecutor, "submit", refuse)
    with pytest.raises(MachineError, match=r"cannot start a worker process: Resource temporarily unavailable.*fewer workers"):
        list(run([Job("a", square, 1)]))
