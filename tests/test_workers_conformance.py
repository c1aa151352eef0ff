"""One contract for every back end: the same outcomes, in the order in which they end, whatever dies in between.

Serial and processes are tested by default, Ray under its marker.
"""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import cloudpickle
import pytest

import worker_kit
from dataprune.errors import InputError
from dataprune.workers import Job
from worker_kit import BACK_ENDS, PARALLEL, all_gone, by_key, is_alive, ray_started, run, square, wait_for_files

# Workers cannot import a test module by name.
for module in (sys.modules[__name__], worker_kit):
    cloudpickle.register_pickle_by_value(module)


@pytest.fixture(scope="module")
def one_ray():
    with ray_started() as ray:
        yield ray


@pytest.fixture(autouse=True)
def _ray_where_it_is_tested(request):
    if request.node.callspec.params["executor"] == "ray":
        request.getfixturevalue("one_ray")


@pytest.mark.parametrize("executor", BACK_ENDS)
class TestEveryBackEnd:
    def test_values(self, executor):
        outcomes = list(run([Job(str(x), square, x) for x in range(5)], executor=executor, workers=2))
        assert {outcome.key: outcome.value for outcome in outcomes} == {"0": 0, "1": 1, "2": 4, "3": 9, "4": 16}
        for outcome in outcomes:
            assert (outcome.error, outcome.traceback, outcome.exception, outcome.attempts) == (None, None, None, 1)

    def test_no_jobs(self, executor):
        assert list(run([], executor=executor)) == []

    def test_an_exception_is_recorded_and_the_others_go_on(self, executor, tmp_path):
        def fail(x, report):
            with (tmp_path / str(x)).open("a") as file:
                file.write("once ")
            raise ValueError(f"bad\n{x}")

        found = by_key(run([Job("a", fail, 1), Job("b", square, 2), Job("c", fail, 3)], executor=executor, workers=2))
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

        (outcome,) = run([Job("a", fail, 0)], executor=executor)
        assert outcome.error == "`keep` must be in (0, 1], got 30."
        assert type(outcome.exception) is InputError
        assert outcome.exception.exit_code == 2

    def test_exit_in_a_job_is_its_failure(self, executor):
        found = by_key(run([Job("a", lambda x, report: sys.exit("enough"), 0), Job("b", square, 3)], executor=executor))
        assert found["a"].error == "SystemExit: enough"
        assert found["b"].value == 9

    def test_messages_come_in_order_before_their_outcome(self, executor):
        def talk(x, report):
            for step in range(3):
                report({"step": step})
            return x

        events = []
        for outcome in run(
            [Job(str(x), talk, x) for x in range(4)], executor=executor, workers=2, on_message=lambda *m: events.append(m)
        ):
            events.append((outcome.key, "done"))
        for key in "0123":
            assert [what for who, what in events if who == key] == [{"step": 0}, {"step": 1}, {"step": 2}, "done"]
        assert len(list(run([Job("a", talk, 1)], executor=executor))) == 1

    def test_an_error_in_the_listener_is_the_callers(self, executor):
        def listen(key, message):
            raise RuntimeError("listener")

        def talk(x, report):
            with contextlib.suppress(Exception):
                report("x")

        with pytest.raises(RuntimeError, match="listener"):
            list(run([Job("a", talk, 0)], executor=executor, on_message=listen))

    def test_large_arguments_and_values(self, executor):
        (outcome,) = run([Job("a", lambda x, report: x + x, b"x" * 5_000_000)], executor=executor)
        assert outcome.value == b"x" * 10_000_000

    def test_jobs_are_read_as_they_are_needed(self, executor):
        read = []

        def jobs():
            for x in range(50):
                read.append(x)
                yield Job(str(x), square, x)

        outcomes = run(jobs(), executor=executor, workers=2)
        next(outcomes)
        assert len(read) < 10
        outcomes.close()

    def test_closed_early(self, executor, tmp_path):
        def note(x, report):
            (tmp_path / str(x)).touch()

        outcomes = run([Job(str(x), note, x) for x in range(50)], executor=executor, workers=2)
        next(outcomes)
        outcomes.close()
        time.sleep(0.5)  # Ray ends a worker in the middle of a job, but not within the call
        after = len(list(tmp_path.iterdir()))
        time.sleep(0.2)
        assert after == len(list(tmp_path.iterdir())) < 50

    def test_many_small_jobs_are_quick(self, executor):
        begin = time.monotonic()
        assert len(list(run([Job(str(x), square, x) for x in range(20)], executor=executor, workers=2))) == 20
        assert time.monotonic() - begin < (60 if executor == "ray" else 5)  # the test before has had Ray's workers killed

    def test_an_error_in_the_jobs_is_the_callers(self, executor):
        def jobs():
            yield Job("a", square, 1)
            raise KeyError("jobs")

        with pytest.raises(KeyError, match="jobs"):
            list(run(jobs(), executor=executor))

    def test_the_environment_is_as_before(self, executor, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        before, path = dict(os.environ), list(sys.path)

        def environment(x, report):
            return {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONPATH")}

        (outcome,) = run([Job("a", environment, 0)], executor=executor)
        assert dict(os.environ) == before
        assert sys.path == path
        assert outcome.value["PYTHONPATH"] == before.get("PYTHONPATH")
        if executor == "processes" or "torch" not in sys.modules:
            assert outcome.value["OMP_NUM_THREADS"] == outcome.value["MKL_NUM_THREADS"] == "1"

    def test_in_a_script_without_main_guard(self, executor, tmp_path):
        """Functions, classes and modules beside the script work; torch has the threads asked for, and its own after."""
        (tmp_path / "beside.py").write_text("class Thing:\n    def __init__(self, x): self.x = x\n")
        (tmp_path / "script.py").write_text(
            textwrap.dedent("""
            import os, sys
            from dataclasses import dataclass
            import beside
            from dataprune.workers import ExecutorConfig, Job, run_jobs

            @dataclass
            class Own:
                x: int

            def work(own, report):
                import torch
                first = torch.get_num_threads()
                torch.set_num_threads(2)
                return Own(own.x + 1), beside.Thing(own.x), first

            outcomes = list(run_jobs([Job(str(x), work, Own(x)) for x in range(2)], ExecutorConfig(sys.argv[1], workers=1)))
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


@pytest.mark.parametrize("executor", PARALLEL)
class TestEveryParallelBackEnd:
    def test_in_order_of_completion(self, executor, tmp_path):
        def work(x, report):
            if x == "slow":
                while not (tmp_path / "quick").exists():
                    time.sleep(0.01)
                time.sleep(0.3)
            else:
                (tmp_path / x).touch()

        assert [o.key for o in run([Job("slow", work, "slow"), Job("quick", work, "quick")], executor=executor, workers=2)] == [
            "quick",
            "slow",
        ]

    def test_workers_stay_and_are_no_more_than_jobs(self, executor):
        jobs = [Job(str(x), lambda x, report: (os.getpid(), time.sleep(0.1))[0], x) for x in range(6)]
        assert len({outcome.value for outcome in run(jobs, executor=executor, workers=2)}) == 2
        assert len({outcome.value for outcome in run(jobs[:1], executor=executor, workers=8)} - {os.getpid()}) == 1

    def test_a_worker_works_while_the_caller_does(self, executor, tmp_path):
        def work(x, report):
            (tmp_path / f"part-{x}").write_text(str(os.getpid()))

        outcomes = run([Job(str(x), work, x) for x in range(3)], executor=executor, workers=1)
        next(outcomes)
        assert len(set(wait_for_files(tmp_path, 2))) == 1
        outcomes.close()

    @pytest.mark.parametrize(
        ("deed", "error"),
        [
            (
                lambda: os.kill(os.getpid(), signal.SIGKILL),
                "worker died (signal 9, perhaps out of memory: fewer workers need less): last words",
            ),
            (lambda: os.kill(os.getpid(), signal.SIGTERM), "worker died (signal 15): last words"),
            (lambda: os._exit(7), "worker died (exit code 7): last words"),
        ],
    )
    def test_a_lost_worker_is_tried_three_times(self, executor, deed, error, tmp_path):
        def die(x, report):
            with (tmp_path / "tries").open("a") as file:
                file.write("x")
            sys.stdout.write("first words\nlast words\n")
            deed()

        found = by_key(
            run([Job("a", square, 1), Job("b", die, 2), *(Job(str(x), square, x) for x in range(5))], executor=executor, workers=2)
        )
        assert found["b"].error == (error if executor == "processes" else "worker died (its process ended)")
        assert found["b"].attempts == 3
        assert found["b"].lost
        assert found["b"].traceback == ("first words\nlast words" if executor == "processes" else None)
        assert (tmp_path / "tries").read_text() == "xxx"
        assert [found[str(x)].value for x in range(5)] == [0, 1, 4, 9, 16]

    def test_a_worker_lost_once_is_no_failure(self, executor, tmp_path):
        def die_once(x, report):
            report("begun")
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "well"

        messages = []
        (outcome,) = run([Job("a", die_once, 0)], executor=executor, on_message=lambda *message: messages.append(message))
        assert (outcome.value, outcome.error, outcome.attempts) == ("well", None, 2)
        told = [("a", "begun")] * 2
        assert messages in ([told] if executor == "processes" else [told, told[1:]])  # Ray may lose the last words of the dead

    def test_what_cannot_travel(self, executor):
        class Two(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} and {b}")

        def fail(x, report):
            raise Two(1, 2)

        found = by_key(
            run(
                [
                    Job("argument", square, (x for x in "ab")),
                    Job("value", lambda x, report: (x for x in "ab"), 0),
                    Job("message", lambda x, report: report(x for x in "ab"), 0),
                    Job("exception", fail, 0),
                    Job("good", square, 2),
                ],
                executor=executor,
            )
        )
        for key in ("argument", "value", "message"):
            assert "cannot pickle 'generator' object" in found[key].error
            assert found[key].value is None
        assert found["exception"].error == "Two: 1 and 2"
        assert found["exception"].exception is None
        assert found["good"].value == 4

    def test_a_function_that_cannot_be_loaded(self, executor):
        class Broken:
            def __reduce__(self):
                return (int, ("x",))

        found = by_key(
            run(
                [Job("a", square, Broken()), Job("b", lambda x, report: Broken(), 0), Job("c", square, 3)],
                executor=executor,
                workers=1,
            )
        )
        assert found["a"].error.startswith("ValueError: invalid literal for int()")
        assert found["b"].error.startswith("ValueError: invalid literal for int()")
        assert found["c"].value == 9

    @pytest.mark.parametrize("error", [GeneratorExit, KeyboardInterrupt, ValueError])
    def test_leaving_the_loop_kills_the_workers_at_once(self, executor, tmp_path, error):
        def work(x, report):
            if x:
                (tmp_path / str(x)).write_text(str(os.getpid()))
                time.sleep(60)

        outcomes = run([Job("first", work, 0), Job("second", work, 1), Job("third", work, 2)], executor=executor, workers=2)
        next(outcomes)
        pids = wait_for_files(tmp_path, 2)
        begin = time.monotonic()
        if error is GeneratorExit:
            outcomes.close()
        else:
            with pytest.raises(error):
                outcomes.throw(error)
        assert time.monotonic() - begin < 1
        assert all_gone(pids, within=0 if executor == "processes" else 1)

    @pytest.mark.parametrize(
        ("occupation", "how"),
        [
            ("time.sleep(60)", signal.SIGTERM),
            ("time.sleep(60)", signal.SIGINT),
            # One call into C that never lets another thread of its process run, and a driver without a chance to tell.
            ("sum(range(10 ** 15))", signal.SIGKILL),
        ],
    )
    def test_workers_end_with_their_driver(self, executor, tmp_path, occupation, how):
        script = f"""
            import os, signal, time
            from pathlib import Path
            from dataprune.workers import ExecutorConfig, Job, run_jobs

            signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background it is ignored

            def work(x, report):
                Path({str(tmp_path)!r}, str(x)).write_text(str(os.getpid()))
                {occupation}

            for _ in run_jobs([Job(str(x), work, x) for x in range(2)], ExecutorConfig({executor!r}, workers=2)):
                pass
        """
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.DEVNULL) as driver:
            pids = wait_for_files(tmp_path, 2)
            time.sleep(0.1)
            assert all(is_alive(pid) for pid in pids)
            driver.send_signal(how)
            driver.wait(timeout=60)
            # Ray's workers have a niceness of 15: beside other work a second of the clock is not theirs.
            assert all_gone(pids, within=1 if executor == "processes" else 5)

    def test_interrupts_are_the_drivers_affair(self, executor):
        def interrupted(x, report):
            os.kill(os.getpid(), signal.SIGINT)
            return "well"

        (outcome,) = run([Job("a", interrupted, 0)], executor=executor)
        assert (outcome.value, outcome.attempts) == ("well", 1)
