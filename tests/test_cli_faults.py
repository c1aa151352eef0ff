"""The command line when something outside it goes wrong: signals, closed outputs, odd terminals."""

import errno
import io
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from command_line import SETTINGS, run_cli
from dataprune.cli import progress
from dataprune.cli.lines import begin
from dataprune.cli.process import AT_ONCE_SECONDS, Stopped, signals_as_exceptions
from dataprune.cli.progress import Progress, training
from dataprune.report.text import duration, pluralise
from dataprune.run.score import Progress as RunProgress
from dataprune.training.ensemble import Ensemble, EpochDone
from dataprune.training.recipes import RECIPES
from dataprune.training.settings import Cost


class TestFaults:
    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (MemoryError(), 4, "error: not enough memory. Try fewer --workers or a smaller --image-size."),
            (
                OSError(errno.ENOSPC, "No space left on device", "/x/y"),
                4,
                "error: No space left on device: /x/y. What was finished is kept",
            ),
            (OSError(errno.EROFS, "Read-only file system"), 4, "error: Read-only file system. What was"),
            (ValueError("two\nlines"), 1, "error: internal: ValueError: two lines (this is a defect; set DATAPRUNE_TRACEBACK=1"),
            (KeyboardInterrupt(), 130, "error: interrupted; what was finished is kept, the same command goes on"),
        ],
    )
    def test_everything_else_is_one_line(self, cli_as_it_ends, monkeypatch, error, code, line):
        def fail(_):
            raise error

        monkeypatch.setattr("dataprune.open_run", fail)
        got, out, err = cli_as_it_ends("prune", "x", "--keep", "1")
        assert (got, out) == (code, "")
        assert err.startswith(line)
        assert err.count("\n") == 1

    def test_the_traceback_is_there_for_the_asking(self, cli, monkeypatch):
        monkeypatch.setenv("DATAPRUNE_TRACEBACK", "1")
        _, _, err = cli("verify", "/no/such/run")
        assert "Traceback (most recent call last)" in err
        assert err.splitlines()[-1].startswith("error: `RUN` must be a folder")

    def test_a_closed_output_is_no_error(self, run_folder):
        for arguments in (["--help"], ["prune", str(run_folder), "--by", "el2n", "--keep", "0.9"]):
            assert run_through_closed_pipe(arguments) == (0, b"")

    def test_a_terminal_of_letters_only(self, run_folder, tmp_path):
        environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
        done = run_cli("prune", run_folder, "--by", "el2n", "--keep", "0.9", text=False, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"gr\\xfcn" in done.stdout


def run_through_closed_pipe(arguments):
    """Run the command with an output that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-m", "dataprune", *arguments], stdout=writer, stderr=subprocess.PIPE, timeout=300)
    finally:
        os.close(writer)
    return done.returncode, done.stderr


class TestInterrupts:
    @pytest.mark.parametrize(
        ("number", "code", "executor"),
        [pytest.param(signal.SIGINT, 130, "processes", marks=pytest.mark.long), (signal.SIGTERM, 143, "serial")],
    )
    def test_interrupted_and_resumed_gives_the_same_bytes(self, cli, flowers, run_folder, tmp_path, number, code, executor):
        out = tmp_path / "run"
        command = [sys.executable, "-m", "dataprune", "score", str(flowers), "--out", str(out), *SETTINGS, "--executor", executor]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith("1 of "):
                    break
            process.send_signal(number)
            _, err = process.communicate(timeout=120)
        assert process.returncode == code
        assert err == "error: interrupted; what was finished is kept, the same command goes on\n"
        assert not (out / "run.json").exists()
        assert any((out / "scratch").iterdir())
        assert cli("prune", out, "--keep", "0.5")[0] == 2
        assert cli("score", flowers, "--out", out, *SETTINGS, "--executor", "serial")[0] == 0
        assert (out / "scores.parquet").read_bytes() == (run_folder / "scores.parquet").read_bytes()

    def test_the_second_interrupt_ends_at_once(self):
        code = textwrap.dedent(
            """
            import sys, time
            from dataprune.cli.process import Stopped, signals_as_exceptions
            with signals_as_exceptions():
                try:
                    print("ready", flush=True)
                    time.sleep(60)
                except Stopped:
                    print("slow to clean up", flush=True)
                    time.sleep(60)
            """
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)  # as `timeout` does, which signals a process and its group
            assert process.stdout.readline() == "slow to clean up\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2 * AT_ONCE_SECONDS)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=120) == 130
            assert time.monotonic() - begun < 5

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_that_finds_a_finaliser_is_not_lost(self, number, capfd):
        """Python raises nothing out of one: it prints, and goes on as if nothing had been asked."""
        came = []

        class Finalised:
            def __del__(self):
                os.kill(os.getpid(), number)
                came.append(number)  # the handler runs before this

        def work():
            Finalised()
            limit = time.monotonic() + 20
            while time.monotonic() < limit:
                time.sleep(0.01)

        with pytest.raises(Stopped) as stopped, signals_as_exceptions():
            work()
        assert (stopped.value.exit_code, came) == (128 + number, [])
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_what_compiled_code_makes_of_a_signal_is_no_defect(self, number):
        """A page that was being drawn said "Invalid affine transformation matrix": matplotlib had asked Python for an array."""

        def drawn():
            try:
                signal.raise_signal(number)
            except Stopped:
                raise ValueError("Invalid affine transformation matrix") from None

        with pytest.raises(Stopped) as stopped, signals_as_exceptions():
            drawn()
        assert stopped.value.exit_code == 128 + number
        with pytest.raises(ValueError, match="our own"), signals_as_exceptions():
            raise ValueError("our own")


class TestProgress:
    def test_a_terminal_gets_a_bar(self, monkeypatch):
        terminal = Terminal()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stdout", terminal)
        follow(quiet=False)
        shown = terminal.getvalue()
        assert "to train: 2 networks × 3 epochs (model proxy, recipe fast), 1 GFLOP, about 2.0 min" in shown
        assert "2 of 6 epochs: loss 0.600, accuracy on training labels 50.0 %" in shown

    def test_a_log_gets_lines(self, capsys):
        follow(quiet=False)
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].startswith("1 of 6 epochs: loss 0.500, accuracy on training labels 25.0 %, about ")
        assert len(lines) == 2, "it has ended before the next line was due"

    @pytest.mark.parametrize(("total", "seconds"), [(3, 1.0), (100, 1.0), (20_000, 0.5)])
    def test_a_log_gets_some_ten_lines_whatever_the_epochs(self, capsys, monkeypatch, total, seconds):
        clock = iter(range(10**9))
        monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock) * seconds / 2)
        shown = progress.Progress("scoring")
        shown.start(total, "networks", Cost(1e9, 0, seconds * total))
        for done in range(1, total + 1):
            shown.step(done, f"{done} of {total} epochs")
        lines = capsys.readouterr().out.splitlines()[1:]
        assert lines[0].startswith("1 of ")
        assert lines[-1] == f"{total} of {total} epochs"
        assert len(lines) <= 13

    def test_what_is_done_already_is_said(self, capsys):
        follow(quiet=False, done=3)
        assert "resuming: 2 of 6 epochs done" in capsys.readouterr().out

    def test_quiet_says_nothing_and_hears_all(self, capsys):
        assert follow(quiet=True).heard
        assert capsys.readouterr().out == ""

    def test_words(self):
        assert [duration(s) for s in (0, 9.96, 59.9, 60, 3600)] == ["0.0 s", "10 s", "60 s", "1.0 min", "1.0 h"]
        assert pluralise(0, "class") == "0 classes"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def follow(quiet, done=1):
    """Let a training of two members be heard up to its second epoch."""
    ensemble = Ensemble("proxy", RECIPES["fast"], 2, 3, 2)
    begin((), quiet)
    with Progress("training") as progress:
        hear = training(progress)
        hear(RunProgress(ensemble, 0, 6, cost=Cost(120.0, 0, 10**9)))
        hear(RunProgress(ensemble, done, 6, epoch=EpochDone(0, 1, 0.5, 0.25, 1.0)))
        hear(RunProgress(ensemble, done + 1, 6, epoch=EpochDone(1, 1, 0.7, 0.75, 1.0)))
    return progress


def test_trials_that_end_together_have_one_estimate(capsys, monkeypatch):
    clock = iter([0.0, 0.0, *(0.01 * step for step in range(9)), 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock, 50.0))
    begin((), quiet=False)
    shown = progress.Progress("studying")
    shown.start(100, "trials", Cost(1e9, 0, 1000.0))
    for done in (10, 20, 30):
        shown.step(done, "", f"trial of {done}")
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [" left" in line for line in lines] == [True, False, False]


def test_trials_that_were_trained_together_are_no_faster_than_they_were(monkeypatch, capsys):
    """Four lots of sixteen, a minute each: the second has told the pace when it ends, the first has not."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = progress.Progress("studying")
    shown.start(64)
    for done in (*range(1, 17), *range(17, 33)):
        now[0] += 60 * (done % 16 == 1)
        shown.step(done, "", f"trial {done}")
    assert "left" not in capsys.readouterr().out.split("trial 17")[0]
    now[0] += 60
    shown.step(48, "", "trial 48")
    assert capsys.readouterr().out == "trial 48, about 1.0 min left\n"


def test_what_is_left_is_told_by_the_work_of_epochs_and_not_their_number(monkeypatch, capsys):
    """A minute for an epoch on whole pictures; the first four are on smaller ones."""
    now, worked = [100.0], 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    begin((), quiet=False)
    with Progress("training") as shown:
        hear, ensemble = training(shown), Ensemble("proxy", RECIPES["fast"], 1, 8, 2)
        shown.start(8)
        for done, work in enumerate((0.25, 0.25, 0.5, 0.5), 1):
            now[0], worked = now[0] + 60 * work, worked + work
            hear(RunProgress(ensemble, done, 8, epoch=EpochDone(0, done, 0.5, 0.25, 1.0), worked=worked))
    assert capsys.readouterr().out.splitlines()[-1].endswith("about 6.5 min left"), "of eight, by their work"
