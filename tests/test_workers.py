"""Jobs in this process and in worker processes: what is each one's own. What all promise is in test_workers_conformance."""

import os
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import pytest

import worker_kit
from dataprune import workers
from dataprune.workers import Job, default_workers, run_jobs
from dataprune.workers.cores import _quota_cores
from worker_kit import square

# Workers cannot import a test module by name.
for module in (sys.modules[__name__], worker_kit):
    cloudpickle.register_pickle_by_value(module)


TOO_LITTLE = """
from dataprune.workers import Job, run_jobs

def take(megabytes, report):
    return sum(bytearray(b"1" * (megabytes << 20))[::4096]) and None

mine = b"1" * (300 << 20)
for outcome in run_jobs([Job("small", take, 1), Job("large", take, 150)], workers=1):
    print(outcome.key, outcome.attempts, outcome.error)
"""


class TestSerial:
    def test_in_order_and_in_this_process(self):
        outcomes = list(run_jobs([Job(str(x), lambda x, report: os.getpid(), x) for x in range(3)], executor="serial"))
        assert [(outcome.key, outcome.value) for outcome in outcomes] == [(key, os.getpid()) for key in "012"]

    def test_the_second_job_starts_when_the_first_was_taken(self):
        ran = []
        outcomes = run_jobs([Job(str(x), lambda x, report: ran.append(x), x) for x in range(3)], executor="serial")
        next(outcomes)
        assert ran == [0]

    def test_interrupts_are_not_swallowed(self):
        def interrupt(x, report):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(run_jobs([Job("a", interrupt, 0)], executor="serial"))


class TestProcesses:
    def test_a_forked_child_does_not_hide_the_death(self, tmp_path):
        def die(x, report):
            if os.fork() == 0:
                time.sleep(4)
                os._exit(0)
            os._exit(3)

        begin = time.monotonic()
        (outcome,) = run_jobs([Job("a", die, 0)])
        assert outcome.error == "worker died (exit code 3)"
        assert time.monotonic() - begin < 10

    def test_printing_corrupts_nothing(self, capfd, caplog):
        def loud(x, report):
            sys.stdout.write("out" * 100_000)
            os.write(1, b"raw\n")
            os.write(2, b"error\n")
            return x

        caplog.set_level("INFO", logger="dataprune.workers")
        assert [outcome.value for outcome in run_jobs([Job("a", loud, 1), Job("b", loud, 2)], workers=1)] == [1, 2]
        assert capfd.readouterr() == ("", "")
        assert "error" in caplog.text

    def test_a_worker_is_small(self):
        def imported(x, report):
            return [name for name in ("torch", "numpy", "pyarrow", "sklearn") if name in sys.modules]

        (outcome,) = run_jobs([Job("a", imported, 0)])
        assert outcome.value == []

    def test_the_workers_path_is_the_drivers(self, monkeypatch, tmp_path):
        monkeypatch.syspath_prepend(tmp_path / "with:colon")
        (outcome,) = run_jobs([Job("a", lambda x, report: (list(sys.path), str(Path.cwd())), 0)])
        assert outcome.value == (sys.path, str(Path.cwd()))

    def test_locks_and_files_are_not_inherited(self, tmp_path):
        with (tmp_path / "lock").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            (outcome,) = run_jobs([Job("a", lambda x, report: [str(p.resolve()) for p in Path("/proc/self/fd").iterdir()], 0)])
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
        before = len(list(Path("/proc/self/fd").iterdir()))
        list(run_jobs([Job(str(x), lambda x, report: os._exit(1) if x == 1 else x, x) for x in range(3)], workers=2))
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


class TestCores:
    def test_default_workers(self):
        assert 1 <= default_workers() <= (os.cpu_count() or 1)

    def test_affinity_counts(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4, 5, 6})
        for quota, workers_wanted in ((None, 7), (2.0, 2), (2.5, 3), (0.2, 1), (64.0, 7)):
            monkeypatch.setattr("dataprune.workers.cores._quota_cores", lambda mount, membership, quota=quota: quota)
            assert default_workers() == workers_wanted

    @pytest.mark.parametrize(
        ("files", "membership", "cores"),
        [
            ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
            ({"cpu.max": "max 100000\n"}, "0::/\n", None),
            ({"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n"}, "0::/a/b\n", 3.0),
            ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "1:cpu:/\n", 2.0),
            ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "1:cpu:/\n", None),
            ({}, None, None),
        ],
    )
    def test_quota(self, tmp_path, files, membership, cores):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        if membership is not None:
            (tmp_path / "membership").write_text(membership)
        assert _quota_cores(tmp_path, tmp_path / "membership") == cores


def test_an_unknown_executor():
    """In a process without the tests' own type checker, which would be the first to complain."""
    script = (
        "from dataprune.workers import run_jobs\ntry: run_jobs([], executor='process')\nexcept Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "`executor` must be one of processes, ray, serial, got 'process'. Did you mean 'processes'?\n"


def test_a_worker_that_cannot_start(monkeypatch):
    from dataprune.errors import MachineError

    monkeypatch.setattr(sys, "executable", "/none/python")
    with pytest.raises(MachineError, match=r"cannot start a worker process: No such file or directory\. Ask for fewer workers\."):
        list(workers.run_jobs([Job("a", square, 1)]))
