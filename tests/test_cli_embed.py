"""`dataprune embed` as somebody types it: stopped by Ctrl-C, and with the report's recipe."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from dataprune import store
from dataprune.cli import main
from dataprune.data import read
from dataprune.training.fit import Inputs
from dataprune.training.swav.fit import SwavFit
from dataprune.training.swav.recipes import SwavSettings, plan_swav

# The command, with a checkpoint after every epoch: those of a tiny set take less time than is between two.
WITH_CHECKPOINTS = """
import sys
from dataprune.cli import main
from dataprune.training.swav import job

job.CHECKPOINT_SECONDS = 0.0
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
    [pytest.param(["-m", "dataprune"], "processes", marks=pytest.mark.slow), (["-c", WITH_CHECKPOINTS], "serial")],
    ids=["as it is", "kept"],
)
def test_after_ctrl_c_the_same_command_comes_to_the_same(cli, asked, whole, tmp_path, start, executor):
    """Ctrl-C reaches the whole group of processes, workers too."""
    command = [sys.executable, *start, *asked, "--out", str(tmp_path / "x.npy"), "--executor", executor]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        for line in process.stdout:
            if line.startswith("epoch 3/"):
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
    epochs = [line for line in said.splitlines() if line.startswith("epoch ")]
    assert epochs[0].startswith(f"epoch {kept + 1}/10"), "it went on where the checkpoint is"
    assert (f"gone on after epoch {kept} of 10" in said.splitlines()) == (kept > 0)
    assert (tmp_path / "x.npy").read_bytes() == whole
    assert not scratch.exists()


def test_the_reports_recipe_trains(tmp_path):
    """Two crops of the full size, a ResNet-18, 512-512-128, Adam: one epoch is one step here."""
    dataset = read(str(pictures(tmp_path, 16, 32)))
    swav = plan_swav(dataset, SwavSettings(recipe="report", epochs=2))
    fit = SwavFit(swav, Inputs(dataset.inputs, "own", "cpu"))
    recipe, model = swav.recipe, fit.model
    assert [crops.size(fit.inputs.shape) for crops in recipe.groups for _ in range(crops.count)] == [(32, 32)] * 2
    assert (model.widths["backbone"], recipe.hidden, recipe.projection, swav.queue) == (512, 512, 128, 0)
    assert (recipe.steps.optimiser, recipe.steps.learning_rate, recipe.steps.weight_decay) == ("adam", 1e-3, 1e-6)
    assert recipe.prototypes == 4, "a fourth of so small a set; of 2,048 pictures and more, 512"
    before = {name: value.copy() for name, value in fit.arrays().items() if name.startswith("weights.")}
    losses = []
    for _ in range(2):
        fit.train_epoch()
        losses.append(fit.loss)
    assert all(0 < loss < 2 * np.log(4) for loss in losses)
    moved = {name for name, value in fit.arrays().items() if name in before and not np.array_equal(value, before[name])}
    assert {"weights.prototypes.weight", "weights.projection.2.weight"} <= moved
    assert any(name.startswith("weights.network.") for name in moved)


def test_the_command_with_the_reports_recipe(cli, tmp_path):
    how = ("--method", "swav", "--recipe", "report", "--epochs", "1", "--layer", "prototypes", "--executor", "serial", "--quiet")
    code, said, _ = cli("embed", pictures(tmp_path, 12, 32), "--out", tmp_path / "x.npy", *how)
    assert (code, said) == (0, "")
    features = np.load(tmp_path / "x.npy")
    assert features.shape == (12, 3)
    assert np.isfinite(features).all()
    assert (np.abs(features) <= 1 + 1e-5).all(), "cosines"
