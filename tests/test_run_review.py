"""What reviews of runs found, each as the general check that would have caught it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dataprune import store
from dataprune.data import from_arrays, read
from dataprune.errors import InputError, MachineError, StoreError, WorkError
from dataprune.run.export import write_folder
from dataprune.run.run import SCORES_FILE, open_run, verify, work_folder
from dataprune.run.score import score
from dataprune.selection import select
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import Recipe
from dataprune.training.settings import Hardware, Settings

QUICK = Settings(folds=0, members=2, epochs=2, model="linear", recipe="fast-gray")
SERIAL = Hardware(executor="serial")


@pytest.fixture(scope="module")
def digits():
    return read("digits").take(np.arange(300))


@pytest.fixture
def run(digits, tmp_path):
    return score(digits, tmp_path / "run", QUICK, SERIAL)


def make_set(folder, names=("a", "b"), side=12):
    rng = np.random.default_rng(0)
    for index, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 90, (side, side, 3), dtype=np.uint8) + np.uint8(150 * index // (len(names) - 1))
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_a_name_in_a_stored_note_is_no_path_of_ours(run, digits):
    """A stranger's note that names a file outside the run must not move anything there."""
    (run.path / "run.json").unlink()
    note = run.path / "trace" / "member-000.json"
    record = json.loads(note.read_text())
    waiting = run.path / "scratch" / "member-000"
    waiting.mkdir(parents=True)
    shutil.move(run.path / record["file"], waiting / "trace.safetensors")
    note.write_text(json.dumps(record | {"file": "../ESCAPED.bin"}))
    again = score(digits, run.path, QUICK, SERIAL)
    assert not (run.path.parent / "ESCAPED.bin").exists()
    assert verify(again.path) == []


def test_a_damaged_trace_is_found_when_it_is_used(run):
    path = run.path / "trace" / "member-001.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"member-001\.safetensors is damaged"):
        _ = open_run(run.path).trace


def test_a_damaged_manifest_is_written_anew(run, digits):
    (run.path / "run.json").write_text("{}")
    again = score(digits, run.path, QUICK, SERIAL)
    assert verify(again.path) == []


def test_settings_that_are_no_settings(run, digits):
    """The manifest says them too; where that is gone as well, nothing is believed."""
    whole = (run.path / "spec.json").read_bytes()
    (run.path / "spec.json").write_text("[]")
    score(digits, run.path, QUICK, SERIAL)
    assert (run.path / "spec.json").read_bytes() == whole
    (run.path / "spec.json").write_text("[]")
    (run.path / "run.json").unlink()
    with pytest.raises(StoreError, match="it is not a table"):
        score(digits, run.path, QUICK, SERIAL)


def test_stale_files_are_swept(run, digits):
    left = run.path / "trace" / ".member-000.12345-abc.tmp.safetensors"
    with store.writing(run.path / "trace" / "probe.json") as temporary:
        left = temporary.with_name(temporary.name.replace("probe", "stale"))
        temporary.write_text("{}")
    left.write_text("half")
    (run.path / "scratch").mkdir()
    score(digits, run.path, QUICK, SERIAL)
    assert not left.exists()
    assert not (run.path / "scratch").exists()


def test_members_of_other_versions_are_not_mixed(run, digits):
    (run.path / "run.json").unlink()
    note = run.path / "trace" / "member-000.json"
    record = store.read_sealed(note)
    record["made_with"]["torch"] = "1.0"
    store.write_sealed(note, record)
    with pytest.raises(InputError, match=r"other versions or another device: torch 1\.0 there"):
        score(digits, run.path, QUICK, SERIAL)


def test_an_extended_run_stays_a_run_until_the_new_members_are_there(run, digits):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.epoch is not None:
            raise Stop

    four = Settings(folds=0, members=4, epochs=2, model="linear", recipe="fast-gray")
    with pytest.raises(Stop):
        score(digits, run.path, four, SERIAL, extend=True, listener=stop)
    assert len(open_run(run.path).manifest.members) == 2
    assert verify(run.path) == []


def drawing(shape, n_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(shape)), n_classes))


@pytest.mark.long
def test_what_a_module_draws_at_import_changes_no_weights(digits, tmp_path):
    """The driver has imported the module already, a worker imports it in the job."""
    (tmp_path / "drawing_at_import.py").write_text(
        "import torch\ntorch.manual_seed(0)\ntorch.rand(7)\nfrom test_run_review import drawing as model\n"
    )
    settings = Settings(folds=0, members=2, epochs=2, model="drawing_at_import:model", recipe="fast-gray")
    import sys

    sys.path.append(str(tmp_path))
    before = torch.random.get_rng_state()
    try:
        runs = [
            score(digits, tmp_path / executor, settings, Hardware(executor=executor, workers=1))
            for executor in ("processes", "serial")
        ]
    finally:
        sys.path.remove(str(tmp_path))
        torch.random.set_rng_state(before)
    assert (runs[0].path / SCORES_FILE).read_bytes() == (runs[1].path / SCORES_FILE).read_bytes()


def test_scores_do_not_depend_on_the_threads_of_the_driver(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = rng.normal(size=(300, 700)).astype(np.float32) + labels[:, None].astype(np.float32)
    data, threads = from_arrays(features, labels), torch.get_num_threads()
    written = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            run = score(data, tmp_path / str(number), Settings(folds=0, members=2, epochs=3), SERIAL)
            written.append((run.path / SCORES_FILE).read_bytes())
    finally:
        torch.set_num_threads(threads)
    assert written[0] == written[1]


def test_moments_are_exact_in_blocks():
    images = np.random.default_rng(0).integers(0, 256, (300, 40, 30, 3), dtype=np.uint8)
    inputs = Inputs(images, "own", "cpu")
    np.testing.assert_allclose(inputs.shift, images.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(1 / inputs.scale, images.std((0, 1, 2)), rtol=1e-6)


def hungry(shape, n_classes):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9999 bytes")


def wild():
    return Recipe("wild", learning_rate=300.0, schedule="constant", momentum=0.0)


def test_a_diverged_member_feeds_no_score(digits, tmp_path):
    """Its loss is still a number, and its accuracy may beat chance."""
    settings = Settings(folds=0, members=2, epochs=2, model="simple", recipe="test_run_review:wild", batch=128)
    with pytest.raises(WorkError, match="its loss grew far beyond"):
        score(digits, tmp_path / "run", settings, SERIAL)


def test_memory_that_runs_out_is_the_machines_fault(digits, tmp_path, monkeypatch):
    def fail(self, on_batch=None):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("dataprune.training.fit.Fit.train_epoch", fail)
    with pytest.raises(MachineError, match="not enough memory to train member 0"):
        score(digits, tmp_path / "run", QUICK, SERIAL)
    monkeypatch.undo()
    assert score(digits, tmp_path / "run", QUICK, SERIAL).failed == []


def test_a_member_that_failed_is_not_repeated_and_its_traceback_is_kept(digits, tmp_path):
    settings = Settings(folds=0, members=2, epochs=2, model="test_run_review:hungry")
    with pytest.raises(InputError, match="failed with RuntimeError"):
        score(digits, tmp_path / "run", settings, SERIAL)
    assert not (tmp_path / "run" / "spec.json").exists()


def test_settings_that_do_nothing_are_refused(digits, tmp_path):
    with pytest.raises(InputError, match="`repeats` must be 1 without folds, got 3"):
        score(digits, tmp_path / "run", Settings(folds=0, repeats=3), SERIAL)
    with pytest.raises(InputError, match="`folds` must be at most the number of examples"):
        score(digits, tmp_path / "run", Settings(folds=301), SERIAL)
    assert not (tmp_path / "run" / "spec.json").exists()


def test_classes_whose_names_become_one_keep_folders_of_their_own(tmp_path):
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4, 1)
    data = from_arrays(images, np.array([0, 0, 0, 1, 1, 1]), classes=["a:b", "a_b"])
    write_folder(select(np.arange(6.0) / 7, keep=1.0, labels=data.labels), data, tmp_path / "out", "copy")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_b", "a_b_"]
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6


def test_a_long_name_keeps_its_ending(tmp_path):
    make_set(tmp_path / "set")
    long = tmp_path / "set" / "a" / ("n" * 230 + ".png")
    shutil.move(tmp_path / "set" / "a" / "0.png", long)
    data = read(tmp_path / "set")
    write_folder(select(np.arange(12.0) / 7, keep=1.0, labels=data.labels), data, tmp_path / "out", "copy")
    assert len(read(tmp_path / "out")) == 12


def test_pictures_are_found_again_without_the_local_note_and_without_the_labels_file(tmp_path):
    make_set(tmp_path / "set")
    (tmp_path / "labels.csv").write_text("label\n" + "\n".join("ab"[row // 6] for row in range(12)) + "\n")
    data = read(tmp_path / "set", image_size=8, labels=tmp_path / "labels.csv")
    run = score(data, tmp_path / "run", Settings(folds=0, members=2, epochs=9, model="linear"), SERIAL)
    (tmp_path / "labels.csv").unlink()
    (run.path / "local.json").unlink()
    assert run.dataset(tmp_path / "set").fingerprint == data.fingerprint


def test_an_output_that_cannot_be_is_refused_before_reading(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="which is a file"):
        work_folder(tmp_path / "file").check()
    with pytest.raises(InputError, match="holds file"):
        work_folder(tmp_path).check()
    work_folder(tmp_path / "new" / "run").check()
    assert not (tmp_path / "new").exists()


def test_numbers_are_names_where_classes_are_called_by_other_numbers(tmp_path):
    make_set(tmp_path / "set", names=("1", "10", "2"))
    (tmp_path / "labels.csv").write_text("label\n" + "10\n" * 6 + "2\n" * 6 + "1\n" * 6)
    data = read(tmp_path / "set", labels=tmp_path / "labels.csv")
    assert [data.classes[label] for label in data.labels[[0, 6, 12]]] == ["10", "2", "1"]


def test_a_semicolon_file_is_no_list_of_labels(tmp_path):
    make_set(tmp_path / "set")
    (tmp_path / "labels.csv").write_text("id;label\n" + "x;a\n" * 12)
    with pytest.raises(InputError, match="separated by commas"):
        read(tmp_path / "set", labels=tmp_path / "labels.csv")


def test_a_ranking_in_a_file_is_no_score(cli, run, tmp_path):
    np.save(tmp_path / "ranks.npy", np.random.default_rng(0).permutation(300))
    code, _, err = cli("prune", run.path, "--by", tmp_path / "ranks.npy", "--keep", "0.5")
    assert code == 2
    assert "a ranking, every number from 0 to 299 once" in err


@pytest.mark.parametrize("arguments", [["--strategy", "os:getcwd"], ["--by", "math:hypot"]])
def test_a_function_of_the_user_that_fails_is_named(cli, run, arguments):
    code, _, err = cli("prune", run.path, "--keep", "0.5", *arguments)
    assert code == 2
    assert f"'{arguments[1]}' failed with TypeError" in err
    assert err.count("\n") == 1
