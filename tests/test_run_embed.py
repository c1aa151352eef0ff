"""`dataprune embed` end to end: what it writes, how good, what it survives, what it refuses."""

import json
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
from dataprune.data import read_features, read_splits
from dataprune.errors import InputError, MachineError, StoreError, WorkError
from dataprune.run import EmbedSettings, embed
from dataprune.training.pixels import fit_components, on_components, pixel_rows
from dataprune.training.swav.recipes import SwavSettings

SERIAL = dp.Machine(executor="serial")
SWAV = EmbedSettings(swav=SwavSettings(epochs=3, batch=32))
PIXELS = EmbedSettings("pixels", components=8)


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch):
    """Write a checkpoint after every epoch of these tiny trainings; worker processes keep their own pace."""
    monkeypatch.setattr("dataprune.training.swav.job.CHECKPOINT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def splits():
    both = read_splits("digits")
    return both.train.take(np.arange(120)), both.test.take(np.arange(60))


@pytest.fixture(scope="module")
def digits(splits):
    return splits[0]


@pytest.fixture(scope="module")
def whole(splits, tmp_path_factory):
    """Features that nothing disturbed."""
    return embed(splits[0], tmp_path_factory.mktemp("features") / "x.npy", SWAV, SERIAL, test=splits[1])


def names(folder):
    return sorted(p.name for p in Path(folder).iterdir())


class TestWhole:
    def test_writes_features_and_says_how(self, whole, digits):
        assert (whole.features.shape, whole.features.dtype) == ((120, 128), np.float32)
        assert names(whole.path.parent) == ["x.json", "x.npy"]
        info = whole.info
        assert (info["asked"]["method"], info["asked"]["layer"], info["asked"]["seed"]) == ("swav", "backbone", 0)
        assert info["data"]["fingerprint"] == digits.fingerprint
        assert info["files"]["x.npy"]["sha256"] == store.sha256(whole.path)
        assert info["cost"][0]["examples_seen"] == 360
        assert info["cost"][0]["flops"] > 0

    def test_quality_stands_beside_that_of_the_pixels(self, whole):
        quality = whole.info["quality"]
        assert (quality["against"], quality["known"], quality["queries"], quality["neighbours"]) == ("test", 120, 60, 20)
        assert 0.2 < quality["knn_accuracy"] <= 1
        assert 0.7 < quality["pixels_knn_accuracy"] <= 1

    def test_again_returns_at_once(self, whole, digits):
        before = {name: (whole.path.parent / name).stat().st_mtime_ns for name in names(whole.path.parent)}
        heard = []
        embed(digits, whole.path, SWAV, SERIAL, listener=heard.append)
        assert heard == []
        assert {name: (whole.path.parent / name).stat().st_mtime_ns for name in names(whole.path.parent)} == before

    def test_processes_give_the_same_bytes(self, whole, digits, tmp_path):
        again = embed(digits, tmp_path / "x.npy", SWAV, dp.Machine(executor="processes"))
        assert again.path.read_bytes() == whole.path.read_bytes()

    @pytest.mark.parametrize(
        ("settings", "difference"),
        [
            (EmbedSettings(swav=SwavSettings(epochs=4, batch=32)), "epochs 3 there, 4 asked"),
            (EmbedSettings(swav=SwavSettings(epochs=3, batch=32, seed=1)), "seed 0 there, 1 asked"),
            (EmbedSettings(swav=SwavSettings(epochs=3, batch=16)), "recipe.steps.batch 32 there, 16 asked"),
            (PIXELS, "method 'swav' there, 'pixels' asked"),
        ],
    )
    def test_other_settings_are_refused_with_the_difference(self, whole, digits, settings, difference):
        with pytest.raises(InputError, match="holds features of other settings") as refused:
            embed(digits, whole.path, settings, SERIAL)
        assert difference in str(refused.value)

    def test_other_data_are_refused(self, whole, digits):
        with pytest.raises(InputError, match=r"data .* there, .* asked"):
            embed(digits.take(np.arange(100)), whole.path, SWAV, SERIAL)

    def test_without_labels_and_without_a_test_split(self, digits, tmp_path):
        assert embed(digits.with_labels(None), tmp_path / "a.npy", PIXELS).info["quality"] is None
        quality = embed(digits, tmp_path / "b.npy", PIXELS).info["quality"]
        assert (quality["against"], quality["queries"]) == ("each example among the others", 120)
        assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))

    def test_a_parquet_file_holds_the_same_and_names_the_rows(self, digits, tmp_path):
        few = digits.take(np.arange(50, 0, -1))
        numbers, named = (embed(few, tmp_path / name, PIXELS) for name in ("a.npy", "b.parquet"))
        assert np.array_equal(numbers.features, named.features)
        assert named.features.dtype == np.float32
        assert read_features(named.path).given_ids.tolist() == few.ids.tolist() != sorted(few.ids.tolist())
        written = named.path.read_bytes()
        named.path.unlink()
        assert embed(few, named.path, PIXELS).path.read_bytes() == written


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
        place, name = {"nothing": (module, "finite"), "features": (module, "_quality"), "manifest": (shutil, "rmtree")}[left]

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
        assert np.array_equal(through["weights.prototypes.weight"], _trained(digits, settings.swav, heard[-1].done))

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
    from dataprune.training.fit import Inputs, one_thread
    from dataprune.training.swav.fit import SwavFit
    from dataprune.training.swav.recipes import plan_swav

    with one_thread("cpu"):
        fit = SwavFit(plan_swav(dataset, asked), Inputs(dataset.inputs, "own", "cpu"))
        for _ in range(epochs):
            fit.train_epoch()
    return fit.arrays()["weights.prototypes.weight"]


class TestPlaces:
    @pytest.fixture
    def mounted(self, tmp_path):
        places = []

        def mount(*arguments):
            place = tmp_path / f"mounted-{len(places)}"
            place.mkdir()
            done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
            places.append(place)
            return place

        yield mount
        for place in places:
            subprocess.run(["umount", "-l", str(place)], check=False)

    @pytest.mark.parametrize("kilobytes", [40, 1000, 5000])
    def test_a_full_disk_is_said_and_it_goes_on_once_there_is_room(self, whole, digits, mounted, kilobytes):
        place = mounted("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs")
        with pytest.raises(MachineError, match="no space left in"):
            embed(digits, place / "x.npy", SWAV, SERIAL)
        assert not list(place.rglob("*.tmp*"))
        subprocess.run(["mount", "-o", "remount,size=50m", str(place)], check=True)
        assert embed(digits, place / "x.npy", SWAV, SERIAL).path.read_bytes() == whole.path.read_bytes()

    def test_a_folder_that_cannot_be_written_is_said_before_training(self, cli, mounted, tmp_path):
        (tmp_path / "source").mkdir()
        place = mounted("--bind", str(tmp_path / "source"))
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        code, said, err = cli("embed", "digits", "--out", place / "x.npy")
        assert (code, said) == (4, "")
        assert "cannot write in" in err

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("x.txt", "`out` must end in .npy or .parquet, got"),
            ("none/x.npy", "`out` must lie in a folder that exists"),
            ("there.npy", "is there already and was not made by `dataprune embed`"),
            ("other.npy", "needs other.json beside it, which is there and says something else"),
            ("folder.npy", "`out` must be a file, got"),
        ],
    )
    def test_names_that_cannot_be(self, digits, tmp_path, name, message):
        np.save(tmp_path / "there.npy", np.zeros(3))
        (tmp_path / "other.json").write_text("{}")
        (tmp_path / "folder.npy").mkdir()
        before = names(tmp_path)
        with pytest.raises(InputError, match=message):
            embed(digits, tmp_path / name, PIXELS)
        assert names(tmp_path) == before


def squares(batch):
    """Give the mean and the largest value of each picture."""
    flat = batch.reshape(len(batch), -1).astype(np.float64)
    return np.stack([flat.mean(1), flat.max(1)], 1)


def as_tensor(batch):
    """Give a tensor that needs gradients."""
    import torch

    return torch.from_numpy(squares(batch)).requires_grad_()


def wrong_shape(batch):
    """Give a number in all."""
    return batch.mean()


def not_finite(batch):
    """Give NaN in every second row."""
    out = squares(batch)
    out[::2] = np.nan
    return out


class Broken:
    """Holds a function that fails."""

    @staticmethod
    def fails(batch):
        raise KeyError("weights")


class TestOthers:
    def test_pixels_by_an_independent_route(self, digits, tmp_path):
        from sklearn.decomposition import PCA

        made = embed(digits, tmp_path / "x.npy", PIXELS)
        rows = digits.images.reshape(120, -1) / 255
        theirs = PCA(8, svd_solver="full").fit(rows)
        assert np.allclose(np.abs(made.features), np.abs(theirs.transform(rows)), atol=1e-4)
        assert made.info["about"]["explained_variance"] == pytest.approx(theirs.explained_variance_ratio_.sum(), abs=1e-6)

    def test_larger_pictures_are_averaged_and_blocks_do_not_matter(self, monkeypatch):
        images = np.random.default_rng(0).integers(0, 256, (9, 66, 64, 3), dtype=np.uint8)
        rows = pixel_rows(images)
        assert rows.shape == (9, 22 * 21 * 3)
        assert rows[2, 0] == pytest.approx(images[2, :3, :3, 0].mean() / 255)
        found = fit_components(images, 4)
        monkeypatch.setattr("dataprune.training.pixels.BLOCK_VALUES", 2 * images[0].size)
        assert np.array_equal(pixel_rows(images), rows)
        assert np.allclose(
            np.abs(on_components(images, fit_components(images, 4))), np.abs(on_components(images, found)), atol=1e-4
        )

    def test_there_are_no_more_components_than_values_or_pictures(self, digits):
        assert fit_components(digits.images, 1000).ways.shape == (64, 64)
        assert fit_components(digits.images[:5], 1000).ways.shape == (64, 5)

    @pytest.mark.parametrize("name", ["squares", "as_tensor"])
    def test_a_function_of_ones_own(self, digits, tmp_path, name):
        made = embed(digits, tmp_path / "x.npy", EmbedSettings(f"test_run_embed:{name}"))
        assert np.allclose(made.features, squares(np.array(digits.images)))
        assert made.info["asked"]["method"] == f"test_run_embed:{name}"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("test_run_embed:wrong_shape", r"`method` must give \(120, D\) numbers for 120 pictures, got float64 of shape \(\)"),
            (
                "test_run_embed:not_finite",
                "`features` must be finite numbers, got NaN or infinity in row 0, 2, 4, 6, 8 and 55 more",
            ),
            ("test_run_embed:Broken.fails", "failed with KeyError"),
            ("test_run_embed:missing", "has no 'missing'"),
            ("swaw", r"`method` must be one of .*Did you mean 'swav'"),
            ("trace", "`run` must be given with --method trace"),
        ],
    )
    def test_wrong_methods(self, digits, tmp_path, name, message):
        with pytest.raises(InputError, match=message):
            embed(digits, tmp_path / "x.npy", EmbedSettings(name))
        assert not (tmp_path / "x.npy").exists()

    def test_vectors_are_refused_with_a_cure(self, tmp_path):
        vectors = dp.from_arrays(np.zeros((9, 3), np.float32), np.arange(9) % 2)
        for name in ("swav", "pixels", "test_run_embed:squares"):
            with pytest.raises(InputError, match=r"vectors of 3 columns.*`dataprune km`"):
                embed(vectors, tmp_path / "x.npy", EmbedSettings(name))

    def test_training_that_fails_is_said(self, digits, tmp_path, monkeypatch):
        monkeypatch.setattr("dataprune.training.swav.fit.swapped_loss", lambda scores, *_: scores[0].sum() * float("nan"))
        with pytest.raises(WorkError, match="training diverged in epoch 1"):
            embed(digits, tmp_path / "x.npy", SWAV, SERIAL)

    def test_tiny_sets(self, digits, tmp_path):
        made = embed(digits.take(np.arange(5)), tmp_path / "x.npy", EmbedSettings(swav=SwavSettings(epochs=2)), SERIAL)
        assert made.features.shape == (5, 128)
        assert np.isfinite(made.features).all()


def own_model(shape, n_classes):
    """Give a model of the user's."""
    from dataprune.training.models import build

    return build("mlp", shape, n_classes)


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """Give a scored run of the same pictures."""
    return dp.score(digits, tmp_path_factory.mktemp("runs") / "run", dp.Settings(members=2, epochs=8), SERIAL)


class TestTrace:
    def test_features_are_those_behind_median_distance(self, run, splits, tmp_path):
        from dataprune.scores import median_distance

        made = embed(splits[0], tmp_path / "x.npy", EmbedSettings("trace"), SERIAL, test=splits[1], run=run)
        assert np.allclose(median_distance(np.array(made.features), run.labels), run.scores["median_distance"].values, atol=1e-6)
        assert made.info["asked"]["weights"] == run.info["members"][0]["sha256"]
        assert made.info["quality"]["knn_accuracy"] > 0.6

    def test_other_data_and_damage_are_refused(self, run, digits, tmp_path):
        with pytest.raises(InputError, match="the data are not those of"):
            embed(digits.take(np.arange(50)), tmp_path / "x.npy", EmbedSettings("trace"), run=run)
        with pytest.raises(InputError, match="`run` must go with --method trace"):
            embed(digits, tmp_path / "x.npy", PIXELS, run=run)
        member = run.path / run.info["members"][0]["file"]
        content = bytearray(member.read_bytes())
        content[-1] ^= 1
        member.write_bytes(content)
        try:
            with pytest.raises(StoreError, match="is damaged"):
                embed(digits, tmp_path / "x.npy", EmbedSettings("trace"), run=run)
        finally:
            content[-1] ^= 1
            member.write_bytes(content)

    def test_stored_names_of_code_are_not_followed(self, digits, tmp_path):
        name = "test_run_embed:own_model"
        run = dp.score(digits, tmp_path / "run", dp.Settings(members=2, epochs=8, model=name, recipe="fast-plain"), SERIAL)
        with pytest.raises(InputError, match=r"which is not run unasked.*--model test_run_embed:own_model"):
            embed(digits, tmp_path / "x.npy", EmbedSettings("trace"), SERIAL, run=run)
        assert embed(digits, tmp_path / "x.npy", EmbedSettings("trace", model=name), SERIAL, run=run).features.shape == (120, 256)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """Run the command in a process of its own; give the folder and what came of it."""
    place = tmp_path_factory.mktemp("cli")
    command = [sys.executable, "-m", "dataprune", "embed", "digits", "--epochs", "2", "--out", "x.npy"]
    return place, subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=600, check=False)


class TestCommand:
    def test_what_is_said(self, embedded):
        place, done = embedded
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].startswith("read digits: 1,437 examples, 10 classes")
        assert lines[1].startswith("to train: 2 epochs without labels, under a minute, ")
        assert [line.split(":")[0] for line in lines[2:4]] == ["epoch 1/2", "epoch 2/2"]
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
        assert "is finished since" in said
        assert cli("km", place / "x.npy", "--out", place / "km.parquet", "--clusters", "20")[0] == 0

    def test_of_a_run_as_it_was_read(self, cli, flowers, run_folder, tmp_path):
        code, said, err = cli("embed", flowers, "--method", "trace", "--run", run_folder, "--out", tmp_path / "x.npy")
        assert code == 0, err
        assert "each example among the others, as no test split is there" in said
        code, _, err = cli(
            "embed", flowers, "--method", "trace", "--run", run_folder, "--out", tmp_path / "y.npy", "--image-size", 9
        )
        assert (code, "`image_size` must be left out with --run" in err) == (2, True)

    def test_pixels_and_their_share(self, cli, flowers, tmp_path):
        code, said, _ = cli("embed", flowers, "--method", "pixels", "--components", "3", "--out", tmp_path / "x.npy")
        assert code == 0
        assert "3 components hold " in said

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--method", "pixels", "--epochs", "3"], "`epochs` must go with --method swav, got --method pixels."),
            (["--components", "3"], "`components` must go with --method pixels, got --method swav."),
            (["--method", "pixels", "--model", "proxy"], "`model` must go with --method swav or trace, got --method pixels."),
            (["--recipe", "none"], "`recipe` must be one of fast, fast-gray, report, got 'none'."),
            (["--method", "trace"], "`run` must be given with --method trace, got none. Name a folder"),
            (["--model", "mlq"], "`model` must be one of "),
        ],
    )
    def test_wrong_calls_are_one_line(self, cli, tmp_path, arguments, message):
        code, _, err = cli("embed", "digits", "--out", tmp_path / "x.npy", *arguments)
        assert code == 2
        assert err.startswith(f"error: {message}")
        assert names(tmp_path) == []


def test_score_learns_features_inside_the_run(cli, flowers, tmp_path):
    asked = ["score", flowers, "--out", tmp_path / "run", "--members", "2", "--epochs", "3", "--batch", "4", "--features", "swav"]
    code, said, err = cli(*asked, "--clusters", "4")
    assert code == 0, err
    assert "epochs without labels" in said
    run = dp.open_run(tmp_path / "run")
    assert {"km", "km_cosine", "prototype_distance"} <= set(run.scores)
    made = read_features(tmp_path / "run" / "features" / "swav.npy")
    assert (made.rows, run.info["features"]["digest"]) == (24, made.digest)
    assert dp.verify(tmp_path / "run") == []
    n_files = len(run.info["files"]) + 1
    assert cli("verify", tmp_path / "run") == (0, f"sound: {n_files} files\n", "")
    before = (tmp_path / "run" / "run.json").read_bytes()
    code, said, _ = cli(*asked, "--clusters", "4")
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
    manifest.write_text(manifest.read_text().replace('"method": "swav"', '"method": "swaw"'))
    (fault,) = dp.verify(tmp_path / "run")
    assert "features/swav.json` is damaged or was edited" in fault


def test_features_for_vectors_are_refused_before_the_ensemble_is_trained(cli, tmp_path):
    np.savez(tmp_path / "v.npz", x=np.random.default_rng(0).normal(size=(20, 3)), y=np.arange(20) % 2)
    code, _, err = cli("score", tmp_path / "v.npz", "--out", tmp_path / "run", "--features", "swav")
    assert code == 2
    assert "learns from pictures" in err
    assert not (tmp_path / "run").exists()


def killing(shape, n_classes):
    """Give a model that kills its worker in its second epoch, once."""
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
    """Give a recipe whose crops are whole pictures, as a perceptron needs them."""
    import dataclasses

    from dataprune.training.swav.recipes import FAST_GRAY, Crops

    return dataclasses.replace(FAST_GRAY, large=Crops(2, 1.0, 0.3, 1.0), small=None)


def test_a_worker_that_was_killed_is_begun_again_where_it_was(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAPRUNE_TEST_FLAG", str(tmp_path / "flag"))
    swav = SwavSettings(epochs=3, batch=40, model="test_run_embed:killing", recipe="test_run_embed:small_mlp")
    same = embed(digits, tmp_path / "same.npy", EmbedSettings(swav=swav), SERIAL)
    (tmp_path / "flag").touch()
    killed = embed(digits, tmp_path / "x.npy", EmbedSettings(swav=swav), dp.Machine(executor="processes"))
    assert not (tmp_path / "flag").exists()
    assert killed.path.read_bytes() == same.path.read_bytes()


def test_directions_by_hand():
    """Two columns, the second constant: left are the signs of the first; a row at the mean has no direction."""
    from dataprune.run.encoders import _directions

    features = np.array([[0, 5], [4, 5], [2, 5]], np.float32)
    found = _directions(features, features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64))
    assert found.tolist() == [[-1, 0], [1, 0], [0, 0]]
