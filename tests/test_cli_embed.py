"""`dataprune embed` as somebody types it: what is said, stopped by Ctrl-C, with the report's recipe, and inside `score`."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import dataprune as dp
from dataprune import store
from dataprune.cli import main
from dataprune.data import read, read_features
from dataprune.training.inputs import Inputs
from dataprune.training.settings import SwavSettings
from dataprune.training.swav.fit import SwavFit
from dataprune.training.swav.recipe import plan_swav
from machine_kit import names

# The command, with a checkpoint after every epoch: those of a tiny set take less time than is between two.
WITH_CHECKPOINTS = """
import sys
from dataprune.cli import main, progress
from dataprune.training.swav import job

job.CHECKPOINT_SECONDS = progress.LOG_SECONDS = 0.0
progress.LOG_LINES = 10**9
sys.exit(main(sys.argv[1:]))
"""


def pictures(folder, count, side):
    """Write pictures whose colour is their class as one file."""
    draw = np.random.default_rng(0)
    labels = np.arange(count) % 3
    x = draw.integers(0, 150, (count, side, side, 3), dtype=np.uint8)
    x[np.arange(count), :, :, labels] += 100
    np.savez(folder / "pictures.npz", x=x, y=labels)
    return folder / "pictures.npz"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return ["embed", str(pictures(tmp_path_factory.mktemp("data"), 48, 16)), "--epochs", "10", "--batch", "24", "--seed", "3"]


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory):
    """Features that nothing disturbed, as bytes."""
    out = tmp_path_factory.mktemp("whole") / "x.npy"
    assert main([*asked, "--out", str(out), "--executor", "serial", "--quiet"]) == 0
    return out.read_bytes()


@pytest.mark.parametrize(
    ("start", "executor"),
    [
        pytest.param(["-m", "dataprune"], "processes", marks=pytest.mark.slow),
        pytest.param(["-c", WITH_CHECKPOINTS], "serial", marks=pytest.mark.long),
    ],
    ids=["as it is", "kept"],
)
def test_after_ctrl_c_the_same_command_comes_to_the_same(cli, asked, whole, tmp_path, start, executor):
    """Ctrl-C reaches the whole group of processes, workers too."""
    command = [sys.executable, *start, *asked, "--out", str(tmp_path / "x.npy"), "--executor", executor]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        for line in process.stdout:
            if line.startswith("3 of 10 epochs" if executor == "serial" else "1 of 10 epochs"):
                break
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == "error: interrupted; what was finished is kept, the same command goes on\n"
    scratch = tmp_path / ".x.npy.scratch"
    assert list(tmp_path.iterdir()) == [scratch]
    assert list(scratch.rglob("*.tmp*")) == []
    note = scratch / "checkpoint.json"
    kept = int(store.read_json(note)["file"][len("epoch-") :][:4]) if note.exists() else 0
    assert kept >= (3 if executor == "serial" else 0)
    code, said, err = cli(*asked, "--out", tmp_path / "x.npy", "--executor", executor)
    assert (code, err) == (0, "")
    epochs = [line for line in said.splitlines() if " of 10 epochs: " in line]
    assert epochs[0].startswith(f"{kept + 1} of 10 epochs"), "it went on where the checkpoint is"
    assert (f"resuming: {kept} of 10 epochs done" in said.splitlines()) == (kept > 0)
    assert (tmp_path / "x.npy").read_bytes() == whole
    assert not scratch.exists()


def test_the_reports_recipe_trains(tmp_path):
    """Two crops of the full size, a ResNet-18, 512-512-128, Adam: one epoch is one step here."""
    dataset = read(str(pictures(tmp_path, 16, 32)))
    swav = plan_swav(dataset, SwavSettings(recipe="report", epochs=2))
    fit = SwavFit(swav, Inputs(dataset.inputs, "own", "cpu"))
    recipe, model = swav.recipe, fit.model
    assert (recipe.crops.count, recipe.crops.size(fit.inputs.shape)) == (2, (32, 32))
    assert (model.width, recipe.hidden, recipe.projection) == (512, 512, 128)
    assert (recipe.steps.optimiser, recipe.steps.learning_rate, recipe.steps.weight_decay) == ("adam", 1e-3, 1e-6)
    assert recipe.prototypes == 4, "a fourth of so small a set; of 2,048 pictures and more, 512"
    before = {name: value.copy() for name, value in fit.arrays().items() if name.startswith("weights.")}
    fit.train_epoch()
    assert 0 < fit.loss < 2 * np.log(4)
    moved = {name for name, value in fit.arrays().items() if name in before and not np.array_equal(value, before[name])}
    assert {"weights.prototypes.weight", "weights.projection.2.weight"} <= moved
    assert any(name.startswith("weights.network.") for name in moved)


@pytest.mark.long
def test_the_command_with_the_reports_recipe(cli, tmp_path):
    how = ("--encoder", "swav", "--recipe", "report", "--epochs", "1", "--executor", "serial", "--quiet")
    code, said, _ = cli("embed", pictures(tmp_path, 12, 32), "--out", tmp_path / "x.npy", *how)
    assert (code, said) == (0, "")
    features = np.load(tmp_path / "x.npy")
    assert features.shape == (12, 512)
    assert np.isfinite(features).all()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """Run the command; give the folder and what was said."""
    place, said = tmp_path_factory.mktemp("cli"), io.StringIO()
    with contextlib.chdir(place), contextlib.redirect_stdout(said):
        assert main(["embed", "digits", "--epochs", "2", "--out", "x.npy", "--executor", "serial"]) == 0
    return place, said.getvalue()


class TestCommand:
    def test_what_is_said(self, embedded):
        place, said = embedded
        lines = said.splitlines()
        assert lines[0].startswith("read digits: 1,437 examples, 10 classes")
        assert lines[1].startswith("to train: 2 epochs without labels, ")
        assert [line.split(":")[0] for line in lines[2:4]] == ["1 of 2 epochs", "2 of 2 epochs"]
        assert lines[4].startswith("cost: ")
        assert "2,874 examples seen" in lines[4]
        assert lines[5].startswith("quality: the 20 nearest name the class of ")
        assert "(360 test examples); of the bare pixels 95.3 %" in lines[5]
        assert lines[6] == "written: x.npy, 1,437 rows of 128 columns; how: x.json"
        assert lines[7] == "next: dataprune km x.npy --out km.parquet"
        assert json.loads((place / "x.json").read_text())["columns"] == 128

    def test_again_and_on_to_km(self, embedded, cli):
        place, _ = embedded
        code, said, _ = cli("embed", "digits", "--epochs", "2", "--out", place / "x.npy")
        assert code == 0
        assert "was finished at" in said
        assert cli("km", place / "x.npy", "--out", place / "km.parquet", "--clusters", "20")[0] == 0

    def test_of_a_run_as_it_was_read(self, cli, flowers, run_folder, tmp_path):
        code, said, err = cli("embed", flowers, "--encoder", "trace", "--run", run_folder, "--out", tmp_path / "x.npy")
        assert code == 0, err
        assert "each example among the others, as no test split is there" in said
        code, _, err = cli(
            "embed", flowers, "--encoder", "trace", "--run", run_folder, "--out", tmp_path / "y.npy", "--image-size", 9
        )
        assert (code, "`--image-size` must be left out with --run" in err) == (2, True)

    def test_pixels_and_their_share(self, cli, flowers, tmp_path):
        code, said, _ = cli("embed", flowers, "--encoder", "pixels", "--components", "3", "--out", tmp_path / "x.npy")
        assert code == 0
        assert "3 components hold " in said

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--encoder", "pixels", "--epochs", "3"], "`--epochs` must go with --encoder swav, got --encoder pixels."),
            (["--components", "3"], "`--components` must go with --encoder pixels, got --encoder auto."),
            (["--encoder", "pixels", "--model", "proxy"], "`--model` must go with --encoder swav or trace, got --encoder pixels."),
            (["--recipe", "none"], "`--recipe` must be one of fast, fast-gray, report, got 'none'."),
            (["--encoder", "trace"], "`--run` must be given with --encoder trace, got none. Name a folder"),
            (["--model", "mlq"], "`--model` must be one of "),
        ],
    )
    def test_wrong_calls_are_one_line(self, cli, tmp_path, arguments, message):
        code, _, err = cli("embed", "digits", "--out", tmp_path / "x.npy", *arguments)
        assert code == 2
        assert err.startswith(f"error: {message}")
        assert names(tmp_path) == []


def test_score_learns_features_inside_the_run(cli, flowers, tmp_path, monkeypatch):
    monkeypatch.setattr("dataprune.training.swav.recipe.MOST", 0.5)  # an eighth of the epochs
    asked = [
        "score",
        flowers,
        "--out",
        tmp_path / "run",
        "--folds",
        "0",
        "--members",
        "2",
        "--epochs",
        "3",
        "--batch",
        "4",
        "--executor",
        "serial",
    ]
    asked += ["--features", "swav", "--clusters", "4"]
    code, said, err = cli(*asked)
    assert code == 0, err
    assert "epochs without labels" in said
    run = dp.open_run(tmp_path / "run")
    assert {"km", "km_cosine", "prototype_distance"} <= set(run.scores)
    made = read_features(tmp_path / "run" / "features" / "swav.npy")
    assert (made.rows, run.manifest.features.digest) == (24, made.digest)
    assert dp.verify(tmp_path / "run") == []
    n_files = len(run.manifest.files) + 1
    assert cli("verify", tmp_path / "run") == (0, f"sound: {n_files} files\n", "")
    before = (tmp_path / "run" / "run.json").read_bytes()
    code, said, _ = cli(*asked)
    assert code == 0
    assert said.count("nothing had to be trained") == 2
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    harmed = tmp_path / "run" / "features" / "swav.npy"
    content = bytearray(harmed.read_bytes())
    content[-1] ^= 1
    harmed.write_bytes(content)
    message = f"{tmp_path / 'run'}: features/swav.npy has another checksum than when it was written"
    assert cli("verify", tmp_path / "run") == (3, "", f"error: {message}\n")
    manifest = harmed.with_suffix(".json")
    manifest.write_text(manifest.read_text().replace('"encoder": "swav"', '"encoder": "swaw"'))
    (fault,) = dp.verify(tmp_path / "run")
    assert "features/swav.json` is damaged or was edited" in fault


def test_features_for_vectors_are_refused_before_the_ensemble_is_trained(cli, tmp_path):
    np.savez(tmp_path / "v.npz", x=np.random.default_rng(0).normal(size=(20, 3)), y=np.arange(20) % 2)
    code, _, err = cli("score", tmp_path / "v.npz", "--out", tmp_path / "run", "--features", "swav")
    assert code == 2
    assert "learns from pictures" in err
    assert not (tmp_path / "run").exists()
