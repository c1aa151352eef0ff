"""What the learning of features survives: kills, damage, a full disk, a lost worker, a second process."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import dataprune as dp
from dataprune import store
from dataprune.errors import InputError, MachineError, StoreError
from dataprune.run.embed import embed
from dataprune.run.encoders import EmbedSettings
from dataprune.training.fit import one_thread
from dataprune.training.inputs import Inputs
from dataprune.training.settings import SwavSettings
from dataprune.training.swav.fit import SwavFit
from dataprune.training.swav.recipe import FAST_GRAY, CropSpec, plan_swav
from embed_toys import PIXELS, SERIAL, SWAV, some_digits
from machine_kit import give_room, names


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch):
    """Write a checkpoint after every epoch of these tiny trainings; worker processes keep their own pace."""
    monkeypatch.setattr("dataprune.training.swav.job.CHECKPOINT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def digits():
    return some_digits().train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Features that nothing disturbed."""
    splits = some_digits()
    return embed(splits.train, tmp_path_factory.mktemp("features") / "x.npy", SWAV, SERIAL, test=splits.test)


class TestInterrupted:
    def test_stopped_between_epochs_it_goes_on_bit_for_bit(self, whole, digits, tmp_path):
        heard = []

        def stop(progress):
            heard.append(progress.done)
            if progress.epoch is not None:
                raise KeyboardInterrupt

        for _ in range(3):  # one epoch each
            with pytest.raises(KeyboardInterrupt):
                embed(digits, tmp_path / "x.npy", SWAV, SERIAL, listener=stop)
        assert heard == [0, 1, 0, 2, 0, 3]
        assert names(tmp_path) == [".x.npy.scratch"]
        with pytest.raises(InputError, match=r"other settings: seed 0 there, 1 asked.*or remove .*scratch"):
            embed(digits, tmp_path / "x.npy", EmbedSettings(swav=SwavSettings(epochs=3, batch=32, seed=1)), SERIAL)
        assert embed(digits, tmp_path / "x.npy", SWAV, SERIAL).path.read_bytes() == whole.path.read_bytes()
        assert names(tmp_path) == ["x.json", "x.npy"]

    @pytest.mark.parametrize("damage", ["cut", "flip", "note"])
    def test_a_damaged_checkpoint_is_dropped(self, whole, digits, tmp_path, damage):
        def stop(progress):
            if progress.done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            embed(digits, tmp_path / "x.npy", SWAV, SERIAL, listener=stop)
        scratch = tmp_path / ".x.npy.scratch"
        state = next(scratch.glob("epoch-*.safetensors")) if damage != "note" else scratch / "checkpoint.json"
        content = bytearray(state.read_bytes())
        content[-9] ^= 1
        state.write_bytes(content[:-50] if damage == "cut" else content)
        assert embed(digits, tmp_path / "x.npy", SWAV, SERIAL).path.read_bytes() == whole.path.read_bytes()

    @pytest.mark.parametrize("left", ["nothing", "features", "manifest"])
    def test_killed_while_writing_it_ends_the_same(self, whole, digits, tmp_path, left, monkeypatch):
        """A kill before the features, between features and manifest, and right after the manifest."""
        module = sys.modules["dataprune.run.embed"]  # the package's attribute of this name is the function
        place, name = {"nothing": (module, "write_vectors"), "features": (module, "_quality"), "manifest": (shutil, "rmtree")}[left]

        def killed(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed)
            with pytest.raises(KeyboardInterrupt):
                embed(digits, tmp_path / "x.npy", SWAV, SERIAL)
        assert (tmp_path / ".x.npy.scratch").is_dir()
        assert embed(digits, tmp_path / "x.npy", SWAV, SERIAL).path.read_bytes() == whole.path.read_bytes()
        assert names(tmp_path) == ["x.json", "x.npy"]

    def test_damaged_features_are_made_again(self, whole, digits, tmp_path):
        made = embed(digits, tmp_path / "x.npy", SWAV, SERIAL)
        content = bytearray(made.path.read_bytes())
        content[-1] ^= 1
        made.path.write_bytes(content)
        assert embed(digits, tmp_path / "x.npy", SWAV, SERIAL).path.read_bytes() == whole.path.read_bytes()

    def test_a_damaged_manifest_is_said(self, digits, tmp_path):
        embed(digits, tmp_path / "x.npy", PIXELS)
        (tmp_path / "x.json").write_text("{}")
        with pytest.raises(StoreError, match=r"damaged.*Choose another file"):
            embed(digits, tmp_path / "x.npy", PIXELS)

    @pytest.mark.long
    def test_killed_with_its_worker_the_same_command_gives_the_same_bytes(self, tmp_path):
        asked = ["embed", "digits", "--epochs", "60", "--batch", "512", "--out", "x.npy"]
        command = [sys.executable, "-m", "dataprune", *asked]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        note, until = tmp_path / ".x.npy.scratch" / "checkpoint.json", time.monotonic() + 300
        while not note.exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert note.exists()
        assert not (tmp_path / "x.npy").exists()
        settings = EmbedSettings(swav=SwavSettings(epochs=60, batch=512))
        first = store.read_json(note)["file"]
        heard = []
        digits = dp.read("digits")

        def stop(progress):
            heard.append(progress)
            if progress.epoch is not None and len(heard) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            embed(digits, tmp_path / "x.npy", settings, SERIAL, listener=stop)
        gone_on = store.read_json(note)["file"]
        assert heard[1].done > 1, "it went on, and did not begin anew"
        assert gone_on > first
        through = store.open_arrays(tmp_path / ".x.npy.scratch" / gone_on)
        assert np.array_equal(through.arrays["weights.prototypes.weight"], _trained(digits, settings.swav, heard[-1].done))

    def test_two_at_once(self, digits, tmp_path):
        refused = []

        def second(progress):
            with pytest.raises(InputError, match=rf"^`{tmp_path}/x\.npy` is in use by process {os.getpid()} on .*--wait") as error:
                embed(digits, tmp_path / "x.npy", SWAV, SERIAL)
            refused.append(error)

        embed(digits, tmp_path / "x.npy", SWAV, SERIAL, listener=second)
        assert len(refused) == 4


def _trained(dataset, asked, epochs):
    """Train without ever stopping."""
    with one_thread("cpu"):
        fit = SwavFit(plan_swav(dataset, asked), Inputs(dataset.inputs, "own", "cpu"))
        for _ in range(epochs):
            fit.train_epoch()
    return fit.arrays()["weights.prototypes.weight"]


class TestDisks:
    @pytest.mark.parametrize("kilobytes", [40, 1000, 5000])
    def test_a_full_disk_is_said_and_it_goes_on_once_there_is_room(self, whole, digits, small_disk, kilobytes):
        place = small_disk(kilobytes)
        with pytest.raises(MachineError, match="no space left in"):
            embed(digits, place / "x.npy", SWAV, SERIAL)
        assert not list(place.rglob("*.tmp*"))
        give_room(place)
        assert embed(digits, place / "x.npy", SWAV, SERIAL).path.read_bytes() == whole.path.read_bytes()

    def test_a_folder_that_cannot_be_written_is_said_before_training(self, cli, read_only):
        code, said, err = cli("embed", "digits", "--out", read_only / "x.npy")
        assert (code, said) == (4, "")
        assert "cannot write in" in err


def killing(shape, n_classes):
    """Return a model that kills its worker in its second epoch, once."""
    from dataprune.training.models import build

    network = build("mlp", shape, n_classes)
    calls = []

    def forward_hook(module, given, out):
        calls.append(1)
        flag = Path(os.environ["DATAPRUNE_TEST_FLAG"])
        if module.training and len(calls) == 6 and flag.exists():
            flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    network.register_forward_hook(forward_hook)
    return network


def small_mlp():
    """Return a recipe whose crops are whole pictures, as a perceptron needs them."""
    return dataclasses.replace(FAST_GRAY, crops=CropSpec(2, 1.0, 0.3, 1.0))


@pytest.mark.long
def test_a_worker_that_was_killed_is_begun_again_where_it_was(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAPRUNE_TEST_FLAG", str(tmp_path / "flag"))
    swav = SwavSettings(epochs=3, batch=40, model="test_run_embed_faults:killing", recipe="test_run_embed_faults:small_mlp")
    same = embed(digits, tmp_path / "same.npy", EmbedSettings(swav=swav), SERIAL)
    (tmp_path / "flag").touch()
    killed = embed(digits, tmp_path / "x.npy", EmbedSettings(swav=swav), dp.Hardware(executor="processes"))
    assert not (tmp_path / "flag").exists()
    assert killed.path.read_bytes() == same.path.read_bytes()
