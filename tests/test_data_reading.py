"""Reading all splits, a test split of its own, and the real sets."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataprune.data import from_arrays, read, read_splits
from dataprune.errors import InputError


def put(folder, *names, size=8):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), (len(name), 0, 0)).save(path)
    return folder


def test_a_test_split_of_its_own(tmp_path):
    put(tmp_path / "one", "b/1.png", "c/2.png")
    put(tmp_path / "two", "a/3.png", "b/4.png", "c/5.png", size=30)
    splits = read_splits(tmp_path / "one", test=tmp_path / "two")
    assert splits.train.classes == splits.test.classes == ("b", "c", "a")
    assert splits.train.labels.tolist() == [0, 1]
    assert splits.test.labels.tolist() == [2, 0, 1]
    assert splits.test.images.shape[1:] == (8, 8, 3)
    assert "no example in train of class 'a'" in splits.train.notes
    put(tmp_path / "three", "c/1.png")
    small = read_splits(tmp_path / "one", test=tmp_path / "three")
    assert small.test.classes == ("b", "c")
    assert small.test.labels.tolist() == [1]
    assert small.train.fingerprint == read(tmp_path / "one").fingerprint


def test_a_test_split_of_its_own_replaces_the_sources(tmp_path):
    put(tmp_path / "one", "train/a/1.png", "train/b/2.png", "test/a/3.png")
    put(tmp_path / "two", "train/a/4.png", "test/b/5.png")
    splits = read_splits(tmp_path / "one", test=tmp_path / "two")
    assert splits.test.ids.tolist() == ["test/b/5.png"]
    assert splits.test.labels.tolist() == [1]


def test_a_test_split_of_indices_takes_the_names_of_train():
    train = from_arrays(np.zeros((3, 4), np.float32), ["x", "y", "z"])
    splits = read_splits(train, test=(np.zeros((2, 4), np.float32), [1, 0]))
    assert splits.test.classes == ("x", "y", "z")
    assert splits.test.labels.tolist() == [1, 0]


def test_splits_of_different_shape_are_refused():
    train = from_arrays(np.zeros((3, 4), np.float32), [0, 1, 2])
    with pytest.raises(InputError, match=r"`test` must have examples of the shape of train, \(4,\), got \(5,\)"):
        read_splits(train, test=(np.zeros((2, 5), np.float32), [1, 0]))


def test_labels_replace_those_of_train_only(tmp_path):
    put(tmp_path / "d", "train/a/1.png", "train/b/2.png", "test/a/3.png")
    (tmp_path / "l.csv").write_text("id,label\ntrain/a/1.png,b\ntrain/b/2.png,a\n")
    splits = read_splits(tmp_path / "d", labels=tmp_path / "l.csv")
    assert splits.train.labels.tolist() == [1, 0]
    assert splits.test.labels.tolist() == [0]
    assert read(tmp_path / "d", labels=tmp_path / "l.csv").fingerprint == splits.train.fingerprint


def test_flat_splits_take_all_labels_from_the_file(tmp_path):
    put(tmp_path / "d", "train/1.png", "train/2.png", "test/3.png")
    (tmp_path / "l.csv").write_text("id,label\ntest/3.png,c\ntrain/1.png,b\ntrain/2.png,a\n")
    splits = read_splits(tmp_path / "d", labels=tmp_path / "l.csv")
    assert splits.train.classes == splits.test.classes == ("a", "b", "c")
    assert splits.test.labels.tolist() == [2]
    (tmp_path / "rows.csv").write_text("label\nb\na\n")
    assert read_splits(tmp_path / "d", labels=tmp_path / "rows.csv").test.labels is None


def test_origin_finds_the_data_again_from_anywhere(tmp_path, monkeypatch):
    put(tmp_path / "d", "train/a/1.png", "train/b/2.png", "test/a/3.png")
    (tmp_path / "l.csv").write_text("id,other\nx.png,b\ntest/a/3.png,b\n")
    monkeypatch.chdir(tmp_path)
    found = read("d", split="test", labels="l.csv:other", image_size=4, on_error="skip")
    monkeypatch.chdir("/")
    assert Path(found.origin.path).is_absolute()
    assert read(found.origin.path, **found.origin.options).fingerprint == found.fingerprint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'', which does not exist"),
        ("digit", "'digit', which does not exist"),
        ("a.txt", "a.txt, a file"),
    ],
)
def test_names_that_are_no_source(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=rf"`DATA` must be a folder, a file that ends in .*\.parquet.*got {message}"):
        read(name)


def test_real_flowers(shared_data):
    folder = (shared_data / "flowers").resolve()
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    splits = read_splits(folder, image_size=8)  # small, so that decoding is quick
    assert len(splits.train) == 3226
    assert len(splits.test) == 838
    assert splits.train.classes == ("daisy", "dandelion", "rose", "sunflower", "tulip")
    assert splits.train.images.shape[1:] == (8, 8, 3)
    row = 1234
    by_pillow = np.asarray(Image.open(splits.train.paths[row]).resize((8, 8), Image.Resampling.BICUBIC))
    assert np.abs(splits.train.images[row].astype(int) - by_pillow).mean() < 4  # another way to make 227 pixels into 8
    assert splits.train.ids[row] == os.path.relpath(splits.train.paths[row], folder)


@pytest.mark.slow
def test_real_cifar_opens_in_two_seconds(shared_data):
    folder = shared_data / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    first = read(folder)
    begin = time.perf_counter()
    again = read(folder, labels=f"{folder / 'human_labels.parquet'}:random1")
    assert again.fingerprint != first.fingerprint
    assert time.perf_counter() - begin < 2
    assert len(again) == 50_000
    assert (again.labels != first.labels).mean() == pytest.approx(0.172, abs=0.001)
