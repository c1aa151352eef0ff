"""Jobs in this process and in others: one contract for every back end, and what happens when somebody dies."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cloudpickle
import pytest

from dataprune import workers
from dataprune.errors import InputError
from dataprune.workers import Job, default_workers, run_jobs
from dataprune.workers.cores import _quota_cores

# Workers cannot import a test module by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

BACK_ENDS = ["serial", "processes"]


def square(x, report):
    return x * x


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
    end = time.monotonic() + 20
    while time.monotonic() < end:
        texts = [path.read_text() for path in folder.iterdir()]
        if len(texts) == count and all(texts):
            return [int(text) for text in texts]
        time.sleep(0.01)
    raise TimeoutError


@pytest.mark.parametrize("executor", BACK_ENDS)
class TestEveryBackEnd:
    def test_values(self, executor):
        outcomes = list(run_jobs([Job(str(x), square, x) for x in range(5)], executor=executor, workers=2))
        assert {outcome.key: outcome.value for outcome in outcomes} == {"0": 0, "1": 1, "2": 4, "3": 9, "4": 16}
        for outcome in outcomes:
            assert (outcome.error, outcome.traceback, outcome.exception, outcome.attempts) == (None, None, None, 1)
            assert 0 <= outcome.seconds < 5

    def test_no_jobs(self, executor):
        assert list(run_jobs([], executor=executor)) == []

    def test_an_exception_is_recorded_and_the_others_go_on(self, executor, tmp_path):
        def fail(x, report):
            with (tmp_path / str(x)).open("a") as file:
                file.write("once ")
            raise ValueError(f"bad\n{x}")

        found = by_key(run_jobs([Job("a", fail, 1), Job("b", square, 2), Job("c", fail, 3)], executor=executor, workers=2))
        assert found["b"].value == 4
        for key, x in (("a", 1), ("c", 3)):
            assert found[key].error == f"ValueError: bad {x}"
            assert found[key].value is None
            assert found[key].attempts == 1
            assert isinstance(found[key].exception, ValueError)
            assert "in fail" in found[key].traceback
            assert found[key].traceback.endswith(f"ValueError: bad\n{x}\n")
            assert (tmp_path / str(x)).read_text() == "once "

    def test_errors_of_ours_keep_class_and_words(self, executor):
        def fail(x, report):
            raise InputError("`keep` must be in (0, 1], got 30.")

        (outcome,) = run_jobs([Job("a", fail, 0)], executor=executor)
        assert outcome.error == "`keep` must be in (0, 1], got 30."
        assert type(outcome.exception) is InputError
        assert outcome.exception.exit_code == 2

    def test_exit_in_a_job_is_its_failure(self, executor):
        found = by_key(run_jobs([Job("a", lambda x, report: sys.exit("enough"), 0), Job("b", square, 3)], executor=executor))
        assert found["a"].error == "SystemExit: enough"
        assert found["b"].value == 9

    def test_messages_come_in_order_before_their_outcome(self, executor):
        def talk(x, report):
            for step in range(3):
                report({"step": step})
            return x

        events = []
        for outcome in run_jobs(
            [Job(str(x), talk, x) for x in range(4)], executor=executor, workers=2, on_message=lambda *m: events.append(m)
        ):
            events.append((outcome.key, "done"))
        for key in "0123":
            assert [what for who, what in events if who == key] == [{"step": 0}, {"step": 1}, {"step": 2}, "done"]
        assert len(list(run_jobs([Job("a", talk, 1)], executor=executor))) == 1

    def test_an_error_in_the_listener_is_the_callers(self, executor):
        def listen(key, message):
            raise RuntimeError("listener")

        def talk(x, report):
            with contextlib.suppress(Exception):
                report("x")

        with pytest.raises(RuntimeError, match="listener"):
            list(run_jobs([Job("a", talk, 0)], executor=executor, on_message=listen))

    def test_large_arguments_and_values(self, executor):
        (outcome,) = run_jobs([Job("a", lambda x, report: x + x, b"x" * 5_000_000)], executor=executor)
        assert outcome.value == b"x" * 10_000_000

    def test_jobs_are_read_as_they_are_needed(self, executor):
        read = []

        def jobs():
            for x in range(50):
                read.append(x)
                yield Job(str(x), square, x)

        outcomes = run_jobs(jobs(), executor=executor, workers=2)
        next(outcomes)
        assert len(read) < 10
        outcomes.close()

    def test_closed_early(self, executor, tmp_path):
        def note(x, report):
            (tmp_path / str(x)).touch()

        outcomes = run_jobs([Job(str(x), note, x) for x in range(50)], executor=executor, workers=2)
        next(outcomes)
        outcomes.close()
        after = len(list(tmp_path.iterdir()))
        time.sleep(0.2)
        assert after == len(list(tmp_path.iterdir())) < 50

    def test_many_small_jobs_are_quick(self, executor):
        begin = time.monotonic()
        assert len(list(run_jobs([Job(str(x), square, x) for x in range(20)], executor=executor, workers=2))) == 20
        assert time.monotonic() - begin < 5

    def test_an_error_in_the_jobs_is_the_callers(self, executor):
        def jobs():
            yield Job("a", square, 1)
            raise KeyError("jobs")

        with pytest.raises(KeyError, match="jobs"):
            list(run_jobs(jobs(), executor=executor))

    def test_the_environment_is_as_before(self, executor):
        before, path = dict(os.environ), list(sys.path)

        def environment(x, report):
            return {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONPATH")}

        (outcome,) = run_jobs([Job("a", environment, 0)], executor=executor, threads=3)
        assert dict(os.environ) == before
        assert sys.path == path
        assert outcome.value["PYTHONPATH"] == before.get("PYTHONPATH")
        if executor == "processes" or "torch" not in sys.modules:
            assert outcome.value["OMP_NUM_THREADS"] == outcome.value["MKL_NUM_THREADS"] == "3"

    @pytest.mark.parametrize(
        ("name", "message"),
        [("workers", "`workers` must be at least 1, got 0"), ("threads", "`threads` must be at least 1, got 0")],
    )
    def test_too_few(self, executor, name, message):
        with pytest.raises(InputError, match=message):
            run_jobs([], executor=executor, **{name: 0})

    def test_in_a_script_without_main_guard(self, executor, tmp_path):
        """Functions, classes and modules beside the script work; torch has the threads asked for, and its own after."""
        (tmp_path / "beside.py").write_text("class Thing:\n    def __init__(self, x): self.x = x\n")
        (tmp_path / "script.py").write_text(
            textwrap.dedent("""
            import os, sys
            from dataclasses import dataclass
            import beside
            from dataprune.workers import Job, run_jobs

            @dataclass
            class Own:
                x: int

            def work(own, report):
                import torch
                first = torch.get_num_threads()
                torch.set_num_threads(2)
                return Own(own.x + 1), beside.Thing(own.x), first

            outcomes = list(run_jobs([Job(str(x), work, Own(x)) for x in range(2)], executor=sys.argv[1], workers=1, threads=1))
            for outcome in outcomes:
                own, thing, threads = outcome.value
                assert own == Own(int(outcome.key) + 1), own
                assert isinstance(thing, beside.Thing)
                assert threads == 1, threads
            if sys.argv[1] == "serial":
                import torch
                assert torch.get_num_threads() == 3, torch.get_num_threads()
            else:
                assert "torch" not in sys.modules
            print("well")
            """)
        )
        done = subprocess.run(
            [sys.executable, str(tmp_path / "script.py"), executor],
            capture_output=True,
            text=True,
            cwd=tmp_path.parent,
            env=os.environ | {"OMP_NUM_THREADS": "3"},
        )
        assert (done.stdout, done.stderr) == ("well\n", "")


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
    def test_in_order_of_completion(self, tmp_path):
        def work(x, report):
            if x == "slow":
                while not (tmp_path / "quick").exists():
                    time.sleep(0.01)
                time.sleep(0.3)
            else:
                (tmp_path / x).touch()

        assert [o.key for o in run_jobs([Job("slow", work, "slow"), Job("quick", work, "quick")], workers=2)] == ["quick", "slow"]

    def test_workers_stay_and_are_no_more_than_jobs(self):
        jobs = [Job(str(x), lambda x, report: (os.getpid(), time.sleep(0.1))[0], x) for x in range(6)]
        assert len({outcome.value for outcome in run_jobs(jobs, workers=2)}) == 2
        assert len({outcome.value for outcome in run_jobs(jobs[:1], workers=8)} - {os.getpid()}) == 1

    def test_a_worker_works_while_the_caller_does(self, tmp_path):
        def work(x, report):
            (tmp_path / f"part-{x}").write_text(str(os.getpid()))

        outcomes = run_jobs([Job(str(x), work, x) for x in range(3)], workers=1)
        next(outcomes)
        assert len(set(wait_for_files(tmp_path, 2))) == 1
        outcomes.close()

    @pytest.mark.parametrize(
        ("deed", "error"),
        [
            (lambda: os.kill(os.getpid(), signal.SIGKILL), "worker died (signal 9, perhaps out of memory): last words"),
            (lambda: os.kill(os.getpid(), signal.SIGTERM), "worker died (signal 15): last words"),
            (lambda: os._exit(7), "worker died (exit code 7): last words"),
        ],
    )
    def test_a_lost_worker_is_tried_three_times(self, deed, error, tmp_path):
        def die(x, report):
            with (tmp_path / "tries").open("a") as file:
                file.write("x")
            sys.stdout.write("first words\nlast words\n")
            deed()

        found = by_key(run_jobs([Job("a", square, 1), Job("b", die, 2), *(Job(str(x), square, x) for x in range(5))], workers=2))
        assert found["b"].error == error
        assert found["b"].attempts == 3
        assert found["b"].lost
        assert found["b"].traceback == "first words\nlast words"
        assert (tmp_path / "tries").read_text() == "xxx"
        assert [found[str(x)].value for x in range(5)] == [0, 1, 4, 9, 16]

    def test_a_worker_lost_once_is_no_failure(self, tmp_path):
        def die_once(x, report):
            report("begun")
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "well"

        messages = []
        (outcome,) = run_jobs([Job("a", die_once, 0)], on_message=lambda *message: messages.append(message))
        assert (outcome.value, outcome.error, outcome.attempts) == ("well", None, 2)
        assert messages == [("a", "begun")] * 2

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

    def test_what_cannot_travel(self):
        class Two(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} and {b}")

        def fail(x, report):
            raise Two(1, 2)

        found = by_key(
            run_jobs(
                [
                    Job("argument", square, (x for x in "ab")),
                    Job("value", lambda x, report: (x for x in "ab"), 0),
                    Job("message", lambda x, report: report(x for x in "ab"), 0),
                    Job("exception", fail, 0),
                    Job("good", square, 2),
                ]
            )
        )
        for key in ("argument", "value", "message"):
            assert "cannot pickle 'generator' object" in found[key].error
            assert found[key].value is None
        assert found["exception"].error == "Two: 1 and 2"
        assert found["exception"].exception is None
        assert found["good"].value == 4

    def test_a_function_that_cannot_be_loaded(self):
        class Broken:
            def __reduce__(self):
                return (int, ("x",))

        found = by_key(
            run_jobs([Job("a", square, Broken()), Job("b", lambda x, report: Broken(), 0), Job("c", square, 3)], workers=1)
        )
        assert found["a"].error.startswith("ValueError: invalid literal for int()")
        assert found["b"].error.startswith("ValueError: invalid literal for int()")
        assert found["c"].value == 9

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

    @pytest.mark.parametrize("error", [GeneratorExit, KeyboardInterrupt, ValueError])
    def test_leaving_the_loop_kills_the_workers_at_once(self, tmp_path, error):
        def work(x, report):
            if x:
                (tmp_path / str(x)).write_text(str(os.getpid()))
                time.sleep(60)

        outcomes = run_jobs([Job("first", work, 0), Job("second", work, 1), Job("third", work, 2)], workers=2)
        next(outcomes)
        pids = wait_for_files(tmp_path, 2)
        begin = time.monotonic()
        if error is GeneratorExit:
            outcomes.close()
        else:
            with pytest.raises(error):
                outcomes.throw(error)
        assert time.monotonic() - begin < 1
        assert all_gone(pids, within=0)

    @pytest.mark.parametrize(
        ("occupation", "how"),
        [
            ("time.sleep(60)", signal.SIGKILL),
            ("time.sleep(60)", signal.SIGTERM),
            ("time.sleep(60)", signal.SIGINT),
            ("[None for _ in iter(int, 1)]", signal.SIGKILL),
            # One call into C that never lets another thread of its process run.
            ("sum(range(10 ** 15))", signal.SIGKILL),
        ],
    )
    def test_workers_end_with_their_driver(self, tmp_path, occupation, how):
        script = f"""
            import os, time
            from pathlib import Path
            from dataprune.workers import Job, run_jobs

            def work(x, report):
                Path({str(tmp_path)!r}, str(x)).write_text(str(os.getpid()))
                {occupation}

            for _ in run_jobs([Job(str(x), work, x) for x in range(2)], workers=2):
                pass
        """
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.DEVNULL) as driver:
            pids = wait_for_files(tmp_path, 2)
            time.sleep(0.1)
            assert all(is_alive(pid) for pid in pids)
            driver.send_signal(how)
            driver.wait(timeout=60)
            assert all_gone(pids, within=1)

    def test_interrupts_are_the_drivers_affair(self):
        def interrupted(x, report):
            os.kill(os.getpid(), signal.SIGINT)
            return "well"

        (outcome,) = run_jobs([Job("a", interrupted, 0)])
        assert (outcome.value, outcome.attempts) == ("well", 1)

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
    assert done.stdout == "`executor` must be one of processes, serial, got 'process'. Did you mean 'processes'?\n"


def test_a_worker_that_cannot_start(monkeypatch):
    from dataprune.errors import MachineError

    monkeypatch.setattr(sys, "executable", "/none/python")
    with pytest.raises(MachineError, match=r"cannot start a worker process: No such file or directory\. Ask for fewer workers\."):
        list(workers.run_jobs([Job("a", square, 1)]))
