"""Situations from public bug reports of the field's tools: arrays and pictures give the right value, or are refused."""

import re

import numpy as np
import pytest
from PIL import Image

import dataprune as dp
from dataprune.errors import InputError


class TestArrays:
    """S6, S7: channels first, and numbers of other ranges."""

    def test_channels_first(self):
        x = np.random.default_rng(0).integers(0, 255, (40, 3, 16, 16), dtype=np.uint8)
        assert np.array_equal(dp.from_arrays(x, np.arange(40) % 4).images, x.transpose(0, 2, 3, 1))

    def test_many_channels_first_are_never_taken_for_rows(self):
        x = np.zeros((40, 10, 16, 16), np.uint8)
        with pytest.raises(InputError, match="channels"):
            dp.from_arrays(x)
        assert dp.from_arrays(x.transpose(0, 2, 3, 1)).images.shape == (40, 16, 16, 10)

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
            *(((13, 20, 20), None), ((20, 20, 13), (20, 20, 13)), ((2, 16, 9), (16, 9, 2)), ((2, 2, 3), (2, 2, 3))),
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
        assert np.array_equal(dp.from_arrays(padded.transpose(0, 2, 3, 1)).images[:, :20], x.transpose(0, 2, 3, 1))

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


class TestInformation:
    """S8, S9: nothing is lost in silence."""

    def test_sixteen_bits_that_use_few(self, tmp_path):
        rng = np.random.default_rng(0)
        for label, base in (("low", 20), ("high", 3000)):
            for number in range(3):
                path = tmp_path / "d" / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((base + rng.integers(0, 50, (16, 16))).astype(np.uint16)).save(path)
        found = dp.read(tmp_path / "d")
        assert found.images.max() > 128
        assert any("4,095" in note for note in found.notes)

    def test_exact_means_the_whole_picture(self, tmp_path):
        centre = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        for label, side in (("a", 0), ("b", 255)):
            wide = np.full((32, 96, 3), side, np.uint8)
            wide[:, 32:64] = centre
            (tmp_path / "d" / label).mkdir(parents=True)
            Image.fromarray(wide).save(tmp_path / "d" / label / "wide.png")
        found = dp.find_duplicates(dp.read_splits(tmp_path / "d"), near=False)
        assert len(found) == 0

    def test_one_scale_for_all_splits_also_of_another_source(self, tmp_path):
        values = {"d/train": 3000, "d/test": 300, "other": 200, "bright": 9000}
        for folder, value in values.items():
            for label in "ab":
                path = tmp_path / folder / label / "0.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full((16, 16), value + ord(label), np.uint16)
                pixels[:, 8:] = 0
                Image.fromarray(pixels).save(path)
        for size in (None, 8):
            splits = dp.read_splits(tmp_path / "d", image_size=size)
            assert splits.train.images[:, 0, 0].max() == round(3098 * 255 / 4095)
            assert splits.test.images[:, 0, 0].max() == round(398 * 255 / 4095)
            assert dp.read(tmp_path / "d", split="test", image_size=size).fingerprint == splits.test.fingerprint
            assert dp.read_splits(tmp_path / "d", test=tmp_path / "other", image_size=size).test.images.max() == round(
                298 * 255 / 4095
            )
        bright = dp.read_splits(tmp_path / "d", test=tmp_path / "bright").test
        assert (bright.images[:, :, 0] == 255).all()
        assert any("beyond" in note for note in bright.notes)
        assert not dp.read(tmp_path / "bright").notes[0].startswith("2 of 2")

    def test_values_far_from_zero_stay_apart(self, tmp_path):
        values = np.arange(32_700, 32_700 + 64, dtype=np.uint16).reshape(8, 8)
        (tmp_path / "d" / "a").mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / "d" / "a" / "0.png")
        assert len(np.unique(dp.read(tmp_path / "d").images)) == 64
        assert len(np.unique(dp.from_arrays(values[None]).images)) == 64

    def test_white_shapes_on_transparent_ground_stay_visible(self, tmp_path):
        (tmp_path / "d" / "a").mkdir(parents=True)
        for number, (shade, opaque) in enumerate(((255, slice(0, 4)), (255, slice(2, 6)), (0, slice(0, 4)))):
            pixels = np.full((8, 8, 4), shade, np.uint8)
            pixels[..., 3] = 0
            pixels[opaque, :, 3] = 255
            Image.fromarray(pixels).save(tmp_path / "d" / "a" / f"{number}.png")
        found = dp.read(tmp_path / "d")
        assert [sorted(np.unique(one)) for one in found.images] == [[0, 255]] * 3
        assert any(note.startswith("2 of 3") and "black" in note for note in found.notes)
        assert len(dp.find_duplicates(found, near=False)) == 0

    def test_large_jpegs_are_exact_by_what_is_encoded(self, tmp_path):
        whole = np.random.default_rng(0).integers(0, 255, (160, 320, 3), dtype=np.uint8)
        other = whole.copy()
        other[:, :20] = 0
        for name, pixels, more in (("a/0", whole, {}), ("a/1", whole, {"comment": b"copied"}), ("b/2", other, {})):
            (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "d" / f"{name}.jpg", **more)
        found = dp.find_duplicates(dp.read_splits(tmp_path / "d", image_size=16), near=False)
        assert [(one, other) for one, other in zip(found.ids, found.other_ids, strict=True)] == [("a/0.jpg", "a/1.jpg")]


class TestFit:
    """Squares cut what people labelled: crop, pad or stretch."""

    @pytest.fixture
    def wide(self, tmp_path):
        pixels = np.zeros((16, 48, 3), np.uint8)
        pixels[:, :16], pixels[:, 16:32], pixels[:, 32:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
        for label in "ab":
            (tmp_path / "d" / label).mkdir(parents=True)
            for number in range(12):
                pixels[0, 0] = number
                Image.fromarray(pixels // (1 + 3 * (label == "b"))).save(tmp_path / "d" / label / f"{number}.png")
        return tmp_path / "d"

    def test_what_is_seen(self, wide):
        crop, pad, stretch = (dp.read(wide, image_size=48, fit=fit).images[0] for fit in ("crop", "pad", "stretch"))
        assert (crop[24, 24] == (0, 250, 0)).all()
        assert crop[:, :, 2].mean() < 5
        assert not pad[:15].any()
        assert not pad[33:].any()
        assert [pad[24, at].argmax() for at in (8, 24, 40)] == [0, 1, 2]
        assert [stretch[40, at].argmax() for at in (8, 24, 40)] == [0, 1, 2]
        assert dp.read(wide, fit="pad").images.shape[1] == 48
        assert dp.read(wide).images.shape[1] == 16
        tall = np.moveaxis(np.asarray(pad), 0, 1)
        arrays = dp.read(np.asarray(tall[None, :, 16:32]), image_size=48, fit="pad").images[0]
        assert np.array_equal(arrays, tall)
        with pytest.raises(InputError, match="fit"):
            dp.read(wide, fit="squash")

    def test_it_is_part_of_what_is_read_again(self, wide):
        found = dp.read(wide, fit="stretch")
        assert found.origin.options == {"fit": "stretch"}
        assert dp.read(found.origin.path, **found.origin.options).fingerprint == found.fingerprint
        assert len({dp.read(wide, image_size=16, fit=fit).fingerprint for fit in ("crop", "pad", "stretch")}) == 3

    @pytest.mark.long
    def test_it_is_part_of_the_identity_of_a_run(self, wide, tmp_path, cli):
        how = ("--members", "2", "--epochs", "8", "--model", "simple", "--executor", "serial", "--out", tmp_path / "run")
        code, _, err = cli("score", wide, "--fit", "stretch", *how)
        assert code == 0, err
        run = dp.open_run(tmp_path / "run")
        assert run.manifest.read == {"fit": "stretch"}
        assert run.dataset().fingerprint == run.manifest.spec.data
        code, _, err = cli("score", wide, *how)
        assert code == 2
        assert "data" in err
