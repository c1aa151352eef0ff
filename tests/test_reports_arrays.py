"""Situations from public bug reports of the field's tools: arrays and pictures give the right value, or are refused."""

import re

import numpy as np
import pytest

import dataprune as dp
from dataprune.errors import InputError


class TestArrays:
    """S6, S7: channels first, and numbers of other ranges."""

    def test_channels_first(self):
        x = np.random.default_rng(0).integers(0, 255, (40, 3, 16, 16), dtype=np.uint8)
        assert np.array_equal(dp.from_arrays(x, np.arange(40) % 4).images, x.transpose(0, 2, 3, 1))

    def test_many_channels_first_are_never_taken_for_rows(self):
        found = dp.from_arrays(np.zeros((40, 10, 16, 16), np.uint8), np.arange(40) % 4)
        assert found.images.shape == (40, 16, 16, 10)
        assert any("10 channels" in note for note in found.notes)

    def test_torch_is_channels_first(self):
        import torch
        from torch.utils.data import TensorDataset

        found = dp.read(TensorDataset(torch.zeros(24, 13, 16, 16, dtype=torch.uint8), torch.arange(24) % 3))
        assert found.images.shape == (24, 16, 16, 13)

    @pytest.mark.parametrize(
        ("scale", "dtype"), [(1, np.int64), (1, np.float32), (1, np.uint16), (1 / 255, np.float32), (1 / 255, np.float64)]
    )
    def test_numbers_of_any_type_are_the_same_pictures(self, scale, dtype):
        x = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
        x[0, 0, 0], x[0, 0, 1] = 0, 255
        found = dp.from_arrays((x * scale).astype(dtype), np.arange(20) % 2)
        assert np.array_equal(found.images, x)

    def test_standardised_numbers_are_refused_with_a_cure_that_works(self):
        x = np.random.default_rng(0).normal(size=(20, 8, 8, 3)).astype(np.float32)
        with pytest.raises(InputError, match="x"):
            dp.from_arrays(x, np.arange(20) % 2)

    @pytest.mark.parametrize("y", [np.eye(3)[np.arange(12) % 3], (np.arange(12) % 3)[:, None]])
    def test_one_hot_and_columns_of_labels(self, y):
        found = dp.from_arrays(np.zeros((12, 8, 8, 3), np.uint8), y)
        assert found.labels.tolist() == (np.arange(12) % 3).tolist()

    @pytest.mark.parametrize(
        "names",
        [
            *(("x", "y"), ("X", "y"), ("images", "labels"), ("x_train", "y_train"), ("arr_0", "arr_1"), ("arr_1", "arr_0")),
            *(("train_images", "train_labels"), ("Xtrain", "ytrain"), ("trainX", "trainY"), ("data", "targets"), ("x", "labels")),
        ],
    )
    def test_names_in_npz(self, tmp_path, names):
        x = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
        np.savez(tmp_path / "a.npz", **{names[0]: x, names[1]: np.arange(12) % 3})
        found = dp.read(tmp_path / "a.npz")
        assert np.array_equal(found.images, x)
        assert found.labels.tolist() == (np.arange(12) % 3).tolist()

    def test_splits_of_medmnist_and_keras(self, tmp_path):
        x = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)
        medmnist = {f"{split}_images": x + at for at, split in enumerate(("train", "val", "test"))}
        medmnist |= {f"{split}_labels": (np.arange(12) % 3)[:, None] for split in ("train", "val", "test")}
        np.savez(tmp_path / "m.npz", **medmnist)
        keras = {"x_test": x + 2, "x_train": x, "y_train": np.arange(12) % 3, "y_test": np.arange(12) % 3}
        np.savez(tmp_path / "k.npz", **keras)
        for file in ("m.npz", "k.npz"):
            found = dp.read_splits(tmp_path / file)
            assert np.array_equal(found.test.images[..., 0], x + 2)
            assert found.test.labels.tolist() == found.train.labels.tolist() == (np.arange(12) % 3).tolist()
            assert (found.validation is None) == (file == "k.npz")

    def test_what_npz_holds_besides_is_said_and_two_inputs_are_refused(self, tmp_path):
        x = np.zeros((4, 8, 8), np.uint8)
        np.savez(tmp_path / "a.npz", x=x, y=[0, 1, 0, 1], features=np.ones((4, 2)), weights=np.ones(4))
        assert any("features" in note and "weights" in note for note in dp.read(tmp_path / "a.npz").notes)
        np.savez(tmp_path / "b.npz", images=x, features=np.ones((4, 2)))
        with pytest.raises(InputError, match=r"images, features\. .*`x`"):
            dp.read(tmp_path / "b.npz")

    def test_train_and_test_in_one_file_have_one_scale(self, tmp_path):
        x = np.arange(4 * 64, dtype=np.uint16).reshape(4, 8, 8) * 16
        np.savez(tmp_path / "a.npz", x=x, x_test=x // 16)
        found = dp.read_splits(tmp_path / "a.npz")
        assert np.array_equal(found.train.images[..., 0], np.rint(x * (255 / 4095)))
        assert np.array_equal(found.test.images[..., 0], np.rint(x // 16 * (255 / 4095)))
        assert any("4,095" in note for note in found.train.notes)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int8])
    def test_what_is_refused_is_right_once_its_cure_was_followed(self, dtype):
        pictures = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3))
        x = (pictures / 40 - 2.5).astype(dtype) if np.dtype(dtype).kind == "f" else (pictures // 2 - 64).astype(dtype)
        with pytest.raises(InputError) as refused:
            dp.from_arrays(x)
        cure = re.search(r"np\.interp.*astype\('uint8'\)", str(refused.value))[0]
        found = dp.from_arrays(eval(cure, {"np": np, "x": x})).images
        assert np.corrcoef(found.ravel(), pictures.ravel())[0, 1] > 0.999
        assert (found.min(), found.max()) == (0, 255)

    def test_faint_numbers_are_not_flattened(self):
        x = np.random.default_rng(0).random((20, 8, 8)).astype(np.float32) / 100
        with pytest.raises(InputError, match=r"np\.interp"):
            dp.from_arrays(x)

    @pytest.mark.parametrize(
        ("shape", "sides"),
        [
            *(((3, 20, 30), (20, 30, 3)), ((20, 30, 3), (20, 30, 3)), ((1, 9, 9), (9, 9, 1)), ((9, 9, 4), (9, 9, 4))),
            *(((13, 20, 20), (20, 20, 13)), ((20, 20, 13), (20, 20, 13)), ((2, 16, 9), (16, 9, 2)), ((2, 2, 3), (2, 2, 3))),
            *(((13, 20, 30), None), ((3, 3, 16), None), ((16, 3, 3), None), ((3, 8, 4), None), ((9, 9, 9), None)),
        ],
    )
    def test_where_the_channels_are(self, shape, sides):
        if sides is None:
            with pytest.raises(InputError, match="channels"):
                dp.from_arrays(np.zeros((5, *shape), np.uint8))
        else:
            assert dp.from_arrays(np.zeros((5, *shape), np.uint8)).images.shape[1:] == sides

    def test_padding_as_advised_shows_where_they_are(self):
        x = np.random.default_rng(0).integers(0, 256, (5, 13, 20, 30), dtype=np.uint8)
        with pytest.raises(InputError, match=r"pad.*squares"):
            dp.from_arrays(x)
        padded = np.pad(x, ((0, 0), (0, 0), (0, 10), (0, 0)))
        for given in (padded, padded.transpose(0, 2, 3, 1)):
            assert np.array_equal(dp.from_arrays(given).images[:, :20], x.transpose(0, 2, 3, 1))

    def test_several_labels_and_shares_are_refused(self):
        for y in (np.ones((4, 3)), np.full((4, 3), 1 / 3), [[0], [0, 1], [1], [0]]):
            with pytest.raises(InputError, match="y"):
                dp.from_arrays(np.zeros((4, 8, 8), np.uint8), y)

    def test_rows_of_pictures_are_said_to_be_features(self):
        assert any("reshape(-1, 28, 28)" in note for note in dp.from_arrays(np.zeros((4, 784), np.uint8)).notes)

    def test_tensors_are_taken_as_torch_has_them(self):
        import torch

        x = torch.rand(12, 3, 3, 7)
        found = dp.read((x, torch.arange(12) % 3))
        assert found.images.shape == (12, 3, 7, 3)
        assert np.abs(found.images / 255 - x.permute(0, 2, 3, 1).numpy()).max() < 0.002
        assert dp.read(x.bfloat16()).images.shape == (12, 3, 7, 3)
