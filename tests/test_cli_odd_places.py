"""The command line in odd places: paths that no disk can have, pipes among tables, files that go while they are read."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from command_line import PATIENCE_SECONDS, SETTINGS, make_pictures
from dataprune.data import read
from dataprune.data.folders import refuse_output_inside_data
from dataprune.errors import InputError, MachineError, unknown_choice
from dataprune.store import lock

NO_NAMES = (".", "/")


class TestPaths:
    @pytest.mark.parametrize("path", NO_NAMES)
    def test_what_has_no_name_is_no_file_of_features(self, cli, flowers, tmp_path, path):
        code, _, err = cli("score", flowers, "--out", tmp_path / "run", "--features", path)
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(f"error: `{path}` must hold files that end in .npy or .parquet")

    @pytest.mark.parametrize("path", NO_NAMES)
    def test_what_has_no_name_is_no_table_of_suspects(self, cli, tmp_path, path):
        code, _, err = cli("noise", "apply", "--drop", "--suspects", path, "--out", tmp_path / "c.csv")
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith("error: ")
        assert "internal" not in err

    @pytest.mark.parametrize("path", NO_NAMES)
    def test_what_has_no_name_is_no_new_folder(self, cli, run_folder, path):
        code, _, err = cli("prune", run_folder, "--keep", "0.5", "--copy-to", path)
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(f"error: `{path}` already exists")

    @pytest.mark.parametrize("path", ["n" * 300, "d/" * 3000 + "d"], ids=["name", "path"])
    @pytest.mark.parametrize("command", ["verify", "advise", "report", "prune --keep 0.5", "km --clusters 2 --out k.csv"])
    def test_too_long_a_path_is_a_wrong_call(self, cli, tmp_path, monkeypatch, command, path):
        monkeypatch.chdir(tmp_path)
        verb, *options = command.split()
        code, _, err = cli(verb, path, *options)
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(f"error: File name too long: {path[:100]}...")
        assert len(err) < 300

    def test_a_pipe_named_as_a_table_is_not_waited_for(self, cli, tmp_path):
        os.mkfifo(tmp_path / "pipe.parquet")
        code, _, err = cli("score", tmp_path, "--out", tmp_path / "run")
        assert code == 2
        assert err.startswith("error: `DATA` must") or "no picture" in err

    def test_what_goes_while_it_is_used_is_said_in_one_line(self, cli, monkeypatch):
        def fail(_):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/x/y")

        monkeypatch.setattr("dataprune.open_run", fail)
        code, _, err = cli("prune", "x", "--keep", "1")
        assert (code, err.count("\n")) == (4, 1)
        assert err.startswith("error: No such file or directory: /x/y. ")

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["prune", "run", "--keep", "0.5", "--out", ""], "--out"),
            (["prune", "run", "--keep", "0.5", "--copy-to="], "--copy-to"),
            (["noise", "find", ""], "RUN"),
        ],
    )
    def test_an_unset_variable_of_the_shell_does_not_mean_the_current_folder(
        self, cli, run_folder, tmp_path, monkeypatch, arguments, named
    ):
        shutil.copytree(run_folder, tmp_path / "run")
        monkeypatch.chdir(tmp_path)
        code, out, err = cli(*arguments)
        assert (code, out) == (2, "")
        assert err == (
            f"error: `{named}` must not be empty, got nothing. Is a variable of the shell not set? Leave out what is not needed.\n"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["run"]

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["prune", "RUN", "--keep", "0.5", "--out", "k.csv"], "cannot write in .: No such file or directory."),
            (
                ["score", "digits", "--out", "o"],
                "No such file or directory: the current folder (it was removed). What was finished",
            ),
        ],
    )
    def test_the_current_folder_was_removed(self, cli, run_folder, tmp_path, monkeypatch, arguments, line):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        (tmp_path / "here").rmdir()
        code, _, err = cli(*(run_folder if one == "RUN" else one for one in arguments))
        assert (code, err.count("\n")) == (4, 1)
        assert err.startswith(f"error: {line}")

    def test_a_lock_in_a_folder_that_cannot_be_made_is_not_waited_for(self, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        (tmp_path / "here").rmdir()
        with pytest.raises(MachineError, match=r"^cannot write in run: No such file or directory\.$"), lock(Path("run"), wait=True):
            pass

    def test_a_library_that_cannot_be_loaded_is_the_machines_fault(self, cli, monkeypatch):
        def fail(_):
            raise ImportError("cmath.so: failed to map segment from shared object")

        monkeypatch.setattr("dataprune.open_run", fail)
        code, _, err = cli("prune", "x", "--keep", "1")
        assert (code, err.count("\n")) == (4, 1)
        assert err.startswith("error: a library cannot be loaded: cmath.so: failed to map segment from shared object. ")


class TestOutputs:
    """What is to be written is neither read by the same command nor part of a run."""

    def test_what_is_read_is_not_overwritten(self, cli, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        np.save("v.npy", np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32))
        write_labels(tmp_path / "labels.csv", 30)
        before = (tmp_path / "labels.csv").read_bytes()
        for labels, out in (("labels.csv", "labels.csv"), ("labels.csv:label", "./labels.csv"), ("labels.csv", "--out=labels.csv")):
            written = [out] if out.startswith("--") else ["--out", out]
            code, _, err = cli("km", "v.npy", "--clusters", "3", "--labels", labels, *written)
            assert (code, err.count("\n")) == (2, 1)
            assert err.startswith("error: `--out` must be another file than those that are read")
        assert (tmp_path / "labels.csv").read_bytes() == before

    @pytest.mark.parametrize("command", [["prune", "--keep", "0.5"], ["noise", "find"]])
    def test_files_of_a_run_are_not_overwritten(self, cli, run_folder, tmp_path, monkeypatch, command):
        monkeypatch.chdir(tmp_path)
        shutil.copytree(run_folder, tmp_path / "run")
        code, _, err = cli(*command, "run", "--out", "run/scores.parquet")
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(
            f"error: `--out` must not be a file of {tmp_path / 'run'}, got run/scores.parquet. It would be damaged"
        )
        assert cli("verify", "run")[0] == 0

    def test_a_file_of_yours_in_a_run_is_written_again(self, cli, run_folder, tmp_path):
        shutil.copytree(run_folder, tmp_path / "run")
        for _ in range(2):
            assert cli("prune", tmp_path / "run", "--keep", "0.5", "--out", tmp_path / "run" / "kept.csv")[0] == 0

    @pytest.mark.parametrize("place", ["run", "a/run", "new/run"])
    @pytest.mark.parametrize("command", ["score", "study"])
    def test_a_folder_among_the_classes_would_be_a_class_the_next_time(self, cli, tmp_path, command, place):
        data = make_pictures(tmp_path / "data", per_class=2, names=("a.png", "b.png"))
        code, _, err = cli(command, data, "--out", data / place)
        assert (code, [line for line in err.splitlines() if line.startswith("error: ")]) == (
            2,
            [
                f"error: `--out` must lie outside the data in {data}, got {data / place}. "
                "It would be taken for a class: choose another folder."
            ],
        )
        assert not (data / place).exists()

    @pytest.mark.parametrize("command", [["prune", "--keep", "0.5"], ["noise", "apply", "--drop"]])
    def test_a_cleaned_set_among_the_classes_would_be_one(self, cli, flowers, run_folder, command):
        code, _, err = cli(*command, run_folder, "--copy-to", flowers / "kept")
        assert code == 2
        assert f"`--copy-to` must lie outside the data in {flowers}, got {flowers / 'kept'}." in err
        assert not (flowers / "kept").exists()

    def test_a_folder_beside_the_splits_or_hidden_is_no_class(self, tmp_path):
        for split in ("train", "test"):
            make_pictures(tmp_path / "data" / split, per_class=2, names=("a.png", "b.png"))
        dataset = read(tmp_path / "data")
        refuse_output_inside_data(dataset, tmp_path / "data" / "run")
        refuse_output_inside_data(dataset, tmp_path / "data" / "train" / ".run")
        with pytest.raises(InputError, match="must lie outside the data in"):
            refuse_output_inside_data(dataset, tmp_path / "data" / "train" / "run")


def write_labels(path, n):
    path.write_text("label\n" + "".join("abc"[row % 3] + "\n" for row in range(n)), encoding="utf-8")


def test_of_no_choices_none_is_named():
    assert str(unknown_choice("labels", "x", [])) == "`labels` must name one that is there, got 'x'. There is none."


def test_of_thousands_of_choices_the_nearest_is_still_named():
    said = str(unknown_choice("column", "c77x", [f"c{number}" for number in range(10_000)]))
    assert said.endswith("and 9970 more, got 'c77x'. Did you mean 'c77'?")
    assert len(said) < 300


class TestStreams:
    """In processes of their own: a shell closes or redirects the streams."""

    @pytest.mark.parametrize("closed", [(1,), (0, 1, 2)])
    @pytest.mark.long
    def test_streams_closed_before_the_start_do_not_stop_the_work(self, flowers, run_folder, tmp_path, closed):
        arguments = ["score", str(flowers), "--out", str(tmp_path / "run"), *SETTINGS]
        assert run_with(lambda: [os.close(number) for number in closed], arguments) == 0
        assert (tmp_path / "run" / "scores.parquet").read_bytes() == (run_folder / "scores.parquet").read_bytes()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    @pytest.mark.parametrize(("full", "keep", "code"), [((2,), "5", 2), ((1, 2), "0.5", 4), ((2,), "0.5", 0)])
    def test_a_full_device_for_output_gives_the_exit_code(self, run_folder, full, keep, code):
        def fill():
            for number in full:
                os.dup2(os.open("/dev/full", os.O_WRONLY), number)

        assert run_with(fill, ["prune", str(run_folder), "--keep", keep]) == code

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_help_on_a_full_device_fails_in_one_line(self):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "dataprune", "--help"]
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, timeout=PATIENCE_SECONDS
            )
        assert done.returncode == 4
        assert done.stderr.startswith("error: No space left on device")
        assert done.stderr.count("\n") == 1


def run_with(prepare, arguments):
    """Run the command after `prepare` in the new process, as a shell without settings for Python would, and give its exit code."""
    command = [sys.executable, "-m", "dataprune", *arguments]
    nowhere, environment = subprocess.DEVNULL, {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    streams = {"stdin": nowhere, "stdout": nowhere, "stderr": nowhere}
    done = subprocess.run(command, **streams, env=environment, preexec_fn=prepare, timeout=PATIENCE_SECONDS)
    return done.returncode
