"""`dataprune.run.embed`: what it writes, how good, what it finds again, which names and settings it refuses."""

import numpy as np
import pytest

import dataprune as dp
from dataprune import store
from dataprune.data import read_features
from dataprune.errors import InputError
from dataprune.run.embed import embed
from dataprune.run.encoders import EmbedSettings
from dataprune.training.settings import SwavSettings
from embed_toys import PIXELS, SERIAL, SWAV, some_digits
from machine_kit import names


@pytest.fixture(scope="module")
def digits():
    return some_digits().train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Features that nothing disturbed."""
    splits = some_digits()
    return embed(splits.train, tmp_path_factory.mktemp("features") / "x.npy", SWAV, SERIAL, test=splits.test)


class TestWhole:
    def test_writes_features_and_says_how(self, whole, digits):
        assert (whole.features.shape, whole.features.dtype) == ((120, 128), np.float32)
        assert names(whole.path.parent) == ["x.json", "x.npy"]
        manifest, asked = whole.manifest, whole.manifest.asked
        assert (asked["encoder"], asked["seed"]) == ("swav", 0)
        assert manifest.data.fingerprint == digits.fingerprint
        assert manifest.files["x.npy"].sha256 == store.sha256(whole.path)
        assert manifest.cost[0].examples_seen == 360
        assert manifest.cost[0].flops > 0

    def test_quality_stands_beside_that_of_the_pixels(self, whole):
        quality = whole.manifest.quality
        assert (quality.against, quality.known, quality.queries, quality.neighbours) == ("test", 120, 60, 20)
        assert 0.2 < quality.knn_accuracy <= 1
        assert 0.7 < quality.pixels_knn_accuracy <= 1

    def test_again_returns_at_once(self, whole, digits):
        before = {name: (whole.path.parent / name).stat().st_mtime_ns for name in names(whole.path.parent)}
        heard = []
        embed(digits, whole.path, SWAV, SERIAL, listener=heard.append)
        assert heard == []
        assert {name: (whole.path.parent / name).stat().st_mtime_ns for name in names(whole.path.parent)} == before

    @pytest.mark.long
    def test_processes_give_the_same_bytes(self, whole, digits, tmp_path):
        again = embed(digits, tmp_path / "x.npy", SWAV, dp.Hardware(executor="processes"))
        assert again.path.read_bytes() == whole.path.read_bytes()

    @pytest.mark.parametrize(
        ("settings", "difference"),
        [
            (EmbedSettings(swav=SwavSettings(epochs=4, batch=32)), "epochs 3 there, 4 asked"),
            (EmbedSettings(swav=SwavSettings(epochs=3, batch=32, seed=1)), "seed 0 there, 1 asked"),
            (EmbedSettings(swav=SwavSettings(epochs=3, batch=16)), "recipe.steps.batch 32 there, 16 asked"),
            (PIXELS, "encoder swav there, pixels asked"),
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
        assert embed(digits.with_labels(None), tmp_path / "a.npy", PIXELS).manifest.quality is None
        quality = embed(digits, tmp_path / "b.npy", PIXELS).manifest.quality
        assert (quality.against, quality.queries) == ("each example among the others", 120)
        assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))

    def test_a_parquet_file_holds_the_same_and_names_the_rows(self, digits, tmp_path):
        few = digits.take(np.arange(50, 0, -1))
        numbers, named = (embed(few, tmp_path / name, PIXELS) for name in ("a.npy", "b.parquet"))
        assert np.array_equal(numbers.features, named.features)
        assert named.features.dtype == np.float32
        assert read_features(named.path).ids.tolist() == few.ids.tolist() != sorted(few.ids.tolist())
        written = named.path.read_bytes()
        named.path.unlink()
        assert embed(few, named.path, PIXELS).path.read_bytes() == written


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.txt", "`out` must end in .npy or .parquet, got"),
        ("none/x.npy", "`out` must lie in a folder that exists"),
        ("there.npy", "is there already and was not made by this command"),
        ("other.npy", "needs other.json beside it, which is of another kind"),
        ("folder.npy", "`out` must be a file, got"),
    ],
)
def test_names_that_cannot_be(digits, tmp_path, name, message):
    np.save(tmp_path / "there.npy", np.zeros(3))
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "folder.npy").mkdir()
    before = names(tmp_path)
    with pytest.raises(InputError, match=message):
        embed(digits, tmp_path / name, PIXELS)
    assert names(tmp_path) == before
