"""Situations from public bug reports of the field's tools, about layouts: each gives the right value or is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import dataprune as dp
from dataprune.errors import InputError


def picture(path, value, size=(16, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, tuple(value) if hasattr(value, "__len__") else (value,) * 3).save(path)


def given(dataset):
    return dict(zip(dataset.ids.tolist(), (dataset.classes[label] for label in dataset.labels), strict=True))


def animal(number):
    return "cat" if number < 6 else "dog"


class TestStale:
    """S3: what lies in files is keyed by size and time also inside other people's objects."""

    def test_a_file_that_changed_is_read_again(self, tmp_path):
        datasets = pytest.importorskip("datasets")
        paths = [str(tmp_path / f"{n}.png") for n in range(4)]
        for path in paths:
            Image.new("RGB", (16, 16), (20, 20, 20)).save(path)

        def made():
            columns = {"image": paths, "label": [0, 1, 0, 1]}
            return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())

        assert dp.read(made()).images[0].mean() == 20
        Image.new("RGB", (16, 16), (7, 7, 7)).save(paths[0])
        assert dp.read(made()).images[0].mean() == 7


def parquet_of(path, start, n=6):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = []
    for row in range(n):
        picture(path.parent / "one.png", start + row)
        cells.append({"bytes": (path.parent / "one.png").read_bytes(), "path": f"{start + row}.png"})
    (path.parent / "one.png").unlink()
    pq.write_table(pa.table({"image": cells, "label": [row % 2 for row in range(n)]}), path)


class TestSplits:
    """S4, S5: splits by the words that the Hugging Face library knows, as a folder or in a file's name."""

    @pytest.mark.parametrize(
        ("train", "test"),
        [
            ("train/0000.parquet", "test/0000.parquet"),
            ("cifar-train.parquet", "cifar-test.parquet"),
            ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
            ("default/train/0000.parquet", "default/test/0000.parquet"),
        ],
    )
    def test_parquet(self, tmp_path, train, test):
        parquet_of(tmp_path / "d" / train, 0)
        parquet_of(tmp_path / "d" / test, 100)
        splits = dp.read_splits(tmp_path / "d")
        assert (len(splits.train), len(splits.test)) == (6, 6)
        assert sorted(int(one.mean()) for one in splits.test.images) == list(range(100, 106))

    @pytest.mark.parametrize(
        ("train", "test"), [("Training", "Testing"), ("seg_train", "seg_test"), ("train_set", "test_set"), ("train", "eval")]
    )
    def test_folders(self, tmp_path, train, test):
        for number, split in enumerate((train, test)):
            for label in ("glioma", "none"):
                picture(tmp_path / "d" / split / label / "0.png", 100 * number + 10)
        splits = dp.read_splits(tmp_path / "d")
        assert splits.train.classes == ("glioma", "none")
        held_out = splits.test if splits.test is not None else splits.validation
        assert (len(splits.train), len(held_out)) == (2, 2)

    def test_classes_that_all_hold_the_same_folders_are_noted(self, tmp_path):
        for label in ("site1", "site2"):
            for inner in ("a", "b"):
                picture(tmp_path / "d" / label / inner / "0.png", 50)
        assert any("same" in note and "folders" in note for note in dp.read(tmp_path / "d").notes)


class TestLost:
    """F1 … F6: refused, lost or unhelpful."""

    def test_links_of_our_own_are_read(self, tmp_path):
        for label in "ab":
            for number in range(8):
                picture(tmp_path / "d" / label / f"{number}.png", 20 * number)
        whole = dp.read(tmp_path / "d")
        kept = dp.select(np.arange(16.0), keep=0.5, labels=whole.labels, ids=whole.ids, balanced=True)
        dp.write_folder(kept, whole, tmp_path / "small", "link")
        small = dp.read(tmp_path / "small")
        assert given(small) == {name: label for name, label in given(whole).items() if name in set(kept.ids)}

    def test_ragged_columns_are_one_line(self):
        datasets = pytest.importorskip("datasets")
        rows = {"image": [Image.new("RGB", (8, 8))] * 3, "label": [[0], [0, 1], [1]]}
        made = datasets.Dataset.from_dict(
            rows, features=datasets.Features(image=datasets.Image(), label=datasets.Sequence(datasets.Value("int64")))
        )
        with pytest.raises(InputError, match="label"):
            dp.read(made)

    @pytest.mark.parametrize("how", ["set_transform", "with_transform", "torch"])
    def test_formats_and_transforms_are_left_aside_and_it_is_said(self, how):
        datasets = pytest.importorskip("datasets")
        made = datasets.Dataset.from_dict({"image": [Image.new("RGB", (8, 8), (n, 0, 0)) for n in range(4)], "label": [0, 1, 0, 1]})
        made = made.cast_column("image", datasets.Image())

        def turned(batch):
            return {"image": [np.asarray(one)[::-1] for one in batch["image"]], "label": [9] * len(batch["label"])}

        if how == "set_transform":
            made.set_transform(turned)
        else:
            made = made.with_format("torch") if how == "torch" else made.with_transform(turned)
        found = dp.read(made)
        assert (found.labels.tolist(), found.images[:, 0, 0, 0].tolist()) == ([0, 1, 0, 1], [0, 1, 2, 3])
        assert any("transform" in note for note in found.notes) == (how != "torch")

    @pytest.mark.parametrize("column", ["fine_label", "labels", "class", "target"])
    def test_label_columns_by_other_names(self, tmp_path, column):
        parquet_of(tmp_path / "d.parquet", 0)
        table = pq.read_table(tmp_path / "d.parquet")
        pq.write_table(table.rename_columns(["image", column]), tmp_path / "d.parquet")
        assert dp.read(tmp_path / "d.parquet").labels.tolist() == [0, 1, 0, 1, 0, 1]

    @pytest.mark.parametrize("ending", ["jfif", "jpe", "JPG"])
    def test_other_endings_of_jpeg(self, tmp_path, ending):
        for label in "ab":
            picture(tmp_path / label / "0.jpg", 80)
            (tmp_path / label / "0.jpg").rename(tmp_path / label / f"0.{ending}")
        assert len(dp.read(tmp_path)) == 2

    def test_subsets_keep_the_names_of_the_classes(self):
        from torch.utils.data import ConcatDataset, Dataset, Subset

        class Set(Dataset):
            classes = ("ant", "bee")

            def __len__(self):
                return 6

            def __getitem__(self, row):
                return np.full((8, 8, 3), row, np.uint8), row % 2

        part = Subset(Subset(Set(), [1, 3, 4, 5]), [0, 1, 2])
        assert list(given(dp.read(part)).values()) == ["bee", "bee", "ant"]
        assert set(given(dp.read(ConcatDataset([part, Set()]))).values()) == {"ant", "bee"}

    def test_objects_inside_arrays_of_objects_are_one_line(self):
        x = np.zeros((3, 8, 8, 3), np.uint8)
        for labels in ([object()] * 3, [{1}, {1, 2}, {2}], [np.arange(2), np.arange(3), np.arange(1)]):
            with pytest.raises(InputError, match="labels"):
                dp.from_arrays(x, np.fromiter(labels, object, 3))
        pictures = np.fromiter([np.zeros((8, 8)), np.zeros((9, 8)), None], object, 3)
        with pytest.raises(InputError, match="x"):
            dp.from_arrays(pictures, [0, 1, 0])

    def test_metadata_beside_the_pictures(self, tmp_path):
        for number in range(4):
            picture(tmp_path / "d" / f"{number}.png", 9 * number)
        lines = [json.dumps({"file_name": f"{n}.png", "label": animal(5 + n)}) for n in reversed(range(4))]
        (tmp_path / "d" / "metadata.jsonl").write_text("\n".join(lines))
        assert given(dp.read(tmp_path / "d")) == {f"{n}.png": animal(5 + n) for n in range(4)}
