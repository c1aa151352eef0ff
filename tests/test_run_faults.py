"""What a run survives outside itself: a full disk, a folder that cannot be written, a lost worker, a damaged cache of pictures."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataprune.data import pack, read
from dataprune.errors import InputError, MachineError, StoreError, WorkError
from dataprune.run.run import SCORES_FILE, verify
from dataprune.run.score import score
from dataprune.training.settings import Hardware, Settings
from machine_kit import give_room

SETTINGS = Settings(folds=0, members=2, epochs=3)
SERIAL = Hardware(executor="serial")


@pytest.fixture(autouse=True)
def _always_saved(monkeypatch):
    """Write a checkpoint after every epoch of these tiny trainings; worker processes keep their own pace."""
    monkeypatch.setattr("dataprune.training.ensemble.CHECKPOINT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def digits():
    return read("digits").take(np.arange(200))


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    return score(digits, tmp_path_factory.mktemp("runs") / "whole", SETTINGS, SERIAL)


@pytest.mark.parametrize(
    ("kilobytes", "executor"),
    [
        pytest.param(4, "serial", id="not the settings"),
        pytest.param(8, "serial", id="not where the data lie"),
        pytest.param(16, "serial", id="not the data"),
        pytest.param(900, "serial", id="not the first checkpoint"),
        pytest.param(2200, "serial", id="not the second checkpoint"),
        pytest.param(2200, "processes", id="not the second checkpoint of workers", marks=pytest.mark.long),
    ],
)
def test_a_full_disk_is_said_and_the_same_command_goes_on_once_there_is_room(digits, whole, small_disk, kilobytes, executor):
    place = small_disk(kilobytes)
    with pytest.raises(MachineError, match="no space left in"):
        score(digits, place / "run", SETTINGS, Hardware(executor=executor, workers=2))
    if executor == "serial":  # a worker that is ended while it writes leaves its own, which the same command removes
        assert not list(place.rglob("*.tmp*")), "temporary files are gone"
    give_room(place)
    run = score(digits, place / "run", SETTINGS, SERIAL)
    assert (run.path / SCORES_FILE).read_bytes() == (whole.path / SCORES_FILE).read_bytes()
    assert verify(run.path) == []


def test_a_folder_that_cannot_be_written_is_said_before_any_training(digits, read_only):
    heard = []
    with pytest.raises(MachineError, match="cannot write in"):
        score(digits, read_only / "run", SETTINGS, SERIAL, listener=heard.append)
    assert heard == []


def killing(shape, n_classes):
    """Return a model that kills its process the first time it is built in a worker."""
    from dataprune.training.models import build

    flag = Path(os.environ["DATAPRUNE_TEST_FLAG"])
    if os.environ.get("DATAPRUNE_TEST_DRIVER") != str(os.getpid()) and flag.exists():
        flag.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return build("linear", shape, n_classes)


@pytest.mark.long
def test_a_member_whose_worker_was_killed_is_trained_again(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAPRUNE_TEST_FLAG", str(tmp_path / "flag"))
    monkeypatch.setenv("DATAPRUNE_TEST_DRIVER", str(os.getpid()))
    (tmp_path / "flag").touch()
    settings = Settings(folds=0, members=2, epochs=2, model="test_run_faults:killing")
    run = score(digits, tmp_path / "run", settings, Hardware(executor="processes", workers=1))
    assert not (tmp_path / "flag").exists(), "one was killed"
    same = score(digits, tmp_path / "same", settings, SERIAL)
    assert (run.path / SCORES_FILE).read_bytes() == (same.path / SCORES_FILE).read_bytes()


def deadly(shape, n_classes):
    """Return a model that always kills its worker."""
    if os.environ["DATAPRUNE_TEST_DRIVER"] != str(os.getpid()):
        os._exit(9)
    from dataprune.training.models import build

    return build("linear", shape, n_classes)


@pytest.mark.long
def test_a_worker_lost_again_and_again_is_recorded_nowhere_and_said(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAPRUNE_TEST_DRIVER", str(os.getpid()))
    settings = Settings(folds=0, members=1, epochs=2, model="test_run_faults:deadly")
    with pytest.raises(WorkError, match=r"member 0: worker died .*the same command goes on"):
        score(digits, tmp_path / "run", settings, Hardware(executor="processes", workers=1))
    assert not (tmp_path / "run" / "run.json").exists()


def make_set(folder):
    """Make two classes of pictures, a dark and a light one."""
    rng = np.random.default_rng(0)
    for index, name in enumerate("ab"):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 100, (8, 8, 3), dtype=np.uint8) + np.uint8(150 * index)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_a_damaged_cache_is_found_and_made_again(tmp_path):
    make_set(tmp_path / "set")
    first = read(tmp_path / "set")
    pixels = np.array(first.images)
    stored = first.pack / "pixels.npy"
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        pack.verify(first)
    again = read(tmp_path / "set")
    assert np.array_equal(again.images, pixels)


def test_data_that_have_changed_since_are_not_copied(tmp_path):
    make_set(tmp_path / "set")
    run = score(read(tmp_path / "set"), tmp_path / "run", Settings(folds=0, members=2, epochs=9, model="linear"), SERIAL)
    assert run.dataset().fingerprint == run.manifest.spec.data
    (tmp_path / "set" / "a" / "0.png").unlink()
    with pytest.raises(InputError, match="are not those of"):
        run.dataset()
    (tmp_path / "run" / "local.json").unlink()
    with pytest.raises(InputError, match="Give them with --data DATA"):
        run.dataset()
