"""Features by other means than learning: pixels, a function of one's own, a run's networks; and what goes wrong in each."""

import numpy as np
import pytest

import dataprune as dp
from dataprune.components import on_components, pixel_components, pixel_rows
from dataprune.errors import InputError, StoreError, WorkError
from dataprune.run.embed import embed
from dataprune.run.encoders import EmbedSettings
from dataprune.training.settings import SwavSettings
from embed_toys import PIXELS, SERIAL, SWAV, some_digits


@pytest.fixture(scope="module")
def digits():
    return some_digits().train


def squares(batch):
    """Return the mean and the largest value of each picture."""
    flat = batch.reshape(len(batch), -1).astype(np.float64)
    return np.stack([flat.mean(1), flat.max(1)], 1)


def as_tensor(batch):
    """Return a tensor that needs gradients."""
    import torch

    return torch.from_numpy(squares(batch)).requires_grad_()


def wrong_shape(batch):
    """Return a number in all."""
    return batch.mean()


def not_finite(batch):
    """Return NaN in every second row."""
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
        assert made.manifest.about["explained_variance"] == pytest.approx(theirs.explained_variance_ratio_.sum(), abs=1e-6)

    def test_larger_pictures_are_averaged_and_blocks_do_not_matter(self, monkeypatch):
        images = np.random.default_rng(0).integers(0, 256, (9, 66, 64, 3), dtype=np.uint8)
        rows = pixel_rows(images)
        assert rows.shape == (9, 22 * 21 * 3)
        assert rows[2, 0] == pytest.approx(images[2, :3, :3, 0].mean() / 255)
        found = pixel_components(images, 4)
        monkeypatch.setattr("dataprune.components.BLOCK_VALUES", 2 * images[0].size)
        assert np.array_equal(pixel_rows(images), rows)
        assert np.allclose(
            np.abs(on_components(images, pixel_components(images, 4))), np.abs(on_components(images, found)), atol=1e-4
        )

    def test_there_are_no_more_components_than_values_or_pictures(self, digits):
        assert pixel_components(digits.images, 1000).ways.shape == (64, 64)
        assert pixel_components(digits.images[:5], 1000).ways.shape == (5, 64)

    @pytest.mark.parametrize("name", ["squares", "as_tensor"])
    def test_a_function_of_ones_own(self, digits, tmp_path, name):
        made = embed(digits, tmp_path / "x.npy", EmbedSettings(f"test_run_embed_methods:{name}"))
        assert np.allclose(made.features, squares(np.array(digits.images)))
        assert made.manifest.asked["encoder"] == f"test_run_embed_methods:{name}"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "test_run_embed_methods:wrong_shape",
                r"`encoder` must give \(32, D\) numbers, got float64 \(\)",
            ),
            (
                "test_run_embed_methods:not_finite",
                "`encoder` must give finite numbers, got NaN or infinity",
            ),
            ("test_run_embed_methods:Broken.fails", "failed with KeyError"),
            ("test_run_embed_methods:missing", "has no 'missing'"),
            ("swaw", r"`encoder` must be one of .*Did you mean 'swav'"),
            ("trace", "`run` must be given with --encoder trace"),
        ],
    )
    def test_wrong_methods(self, digits, tmp_path, name, message):
        with pytest.raises(InputError, match=message):
            embed(digits, tmp_path / "x.npy", EmbedSettings(name))
        assert not (tmp_path / "x.npy").exists()

    def test_vectors_are_refused_with_a_cure(self, tmp_path):
        vectors = dp.from_arrays(np.zeros((9, 3), np.float32), np.arange(9) % 2)
        for name in ("swav", "pixels", "test_run_embed_methods:squares"):
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
    """Return a model of the user's."""
    from dataprune.training.models import build

    return build("mlp", shape, n_classes)


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """Return a scored run of the same pictures."""
    return dp.score(digits, tmp_path_factory.mktemp("runs") / "run", dp.Settings(folds=0, members=2, epochs=8), SERIAL)


class TestTrace:
    def test_features_are_those_behind_median_distance(self, run, digits, tmp_path):
        from dataprune.scores import median_distance

        made = embed(digits, tmp_path / "x.npy", EmbedSettings("trace"), SERIAL, test=some_digits().test, run=run)
        assert np.allclose(median_distance(np.array(made.features), run.labels), run.scores["median_distance"].values, atol=1e-6)
        assert made.manifest.asked["weights"] == run.manifest.members[0].sha256
        assert made.manifest.quality.knn_accuracy >= 0.6  # chance is a third

    def test_other_data_and_damage_are_refused(self, run, digits, tmp_path):
        with pytest.raises(InputError, match="the data are not those of"):
            embed(digits.take(np.arange(50)), tmp_path / "x.npy", EmbedSettings("trace"), run=run)
        with pytest.raises(InputError, match="`run` must go with --encoder trace"):
            embed(digits, tmp_path / "x.npy", PIXELS, run=run)
        member = run.path / run.manifest.members[0].file
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
        name = "test_run_embed_methods:own_model"
        run = dp.score(digits, tmp_path / "run", dp.Settings(folds=0, members=2, epochs=8, model=name, recipe="fast-plain"), SERIAL)
        with pytest.raises(InputError, match=r"not run unasked.*--model test_run_embed_methods:own_model"):
            embed(digits, tmp_path / "x.npy", EmbedSettings("trace"), SERIAL, run=run)
        assert embed(digits, tmp_path / "x.npy", EmbedSettings("trace", model=name), SERIAL, run=run).features.shape == (120, 256)


def test_directions_by_hand():
    """Two columns, the second constant: left are the signs of the first; a row at the mean has no direction."""
    from dataprune.run.encoders import _directions

    features = np.array([[0, 5], [4, 5], [2, 5]], np.float32)
    found = _directions(features, features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64))
    assert found.tolist() == [[-1, 0], [1, 0], [0, 0]]
