"""Folders of pictures: classes, splits, ids, links, special files, names that are hard to write."""

import os
import socket

import numpy as np
import pytest
from PIL import Image

from dataprune.data import read, read_splits
from dataprune.data.decode import FORMATS
from dataprune.errors import InputError


def put(folder, *names, size=8):
    """Write small pictures; the colour follows from the name, so that no two are equal."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(int(byte) for byte in np.frombuffer(os.fsencode(name)[-3:].rjust(3), np.uint8))
        Image.new("RGB", (size, size), colour).save(path)
    return folder


def test_class_folders(tmp_path):
    put(tmp_path, "cat/b.png", "cat/a.png", "ant/deep/er/x.png", "cat/sub/c.PNG")
    found = read(tmp_path)
    assert found.ids.tolist() == ["ant/deep/er/x.png", "cat/a.png", "cat/b.png", "cat/sub/c.PNG"]
    assert found.classes == ("ant", "cat")
    assert found.labels.tolist() == [0, 1, 1, 1]
    assert found.images.shape == (4, 8, 8, 3)
    assert [path.name for path in found.paths] == ["x.png", "a.png", "b.png", "c.PNG"]
    for image, path in zip(found.images, found.paths, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(path)))
    assert found.notes == ("one example only in train of class 'ant'",)
    assert found.origin.kind == "folder"
    assert not found.images.flags.writeable


def test_a_moved_folder_is_the_same_data(tmp_path):
    put(tmp_path / "one", "a/1.png", "b/2.png")
    before = read(tmp_path / "one").fingerprint
    (tmp_path / "one").rename(tmp_path / "two")
    assert read(tmp_path / "two").fingerprint == before


def test_splits(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/c/4.png", "val/b/5.png", "extra/x.png")
    splits = read_splits(tmp_path)
    assert splits.train.ids.tolist() == ["train/a/1.png", "train/b/2.png"]
    assert splits.test.ids.tolist() == ["test/a/3.png", "test/c/4.png"]
    assert splits.validation.ids.tolist() == ["val/b/5.png"]
    assert splits.train.classes == splits.test.classes == splits.validation.classes == ("a", "b", "c")
    assert splits.test.labels.tolist() == [0, 2]
    assert "no example in train of class 'c'" in splits.train.notes
    assert "no example in test of class 'b'" in splits.test.notes
    assert "passed over beside the splits: extra" in splits.train.notes
    assert read(tmp_path).fingerprint == splits.train.fingerprint
    assert read(tmp_path, split="test").fingerprint == splits.test.fingerprint
    with pytest.raises(InputError, match="`split` must be one of train, validation, test, got 'dev'"):
        read(tmp_path, split="dev")


def test_a_source_without_splits_is_all_train(tmp_path):
    put(tmp_path, "a/1.png", "b/2.png")
    assert read_splits(tmp_path).test is None
    with pytest.raises(InputError, match="must be one of train, got 'test'"):
        read(tmp_path, split="test")


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, "bus/1.png", "train/2.png", "car/3.png")
    assert read(tmp_path).classes == ("bus", "car", "train")


def test_two_folders_for_one_split(tmp_path):
    put(tmp_path, "train/a/1.png", "val/a/2.png", "valid/a/3.png")
    with pytest.raises(InputError, match="split validation: val and valid"):
        read(tmp_path)


def test_flat_folder_has_no_labels_of_its_own(tmp_path):
    put(tmp_path / "flat", "x.png", "y.png")
    found = read(tmp_path / "flat")
    assert found.labels is None
    assert found.classes == ()
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\ny.png,dog\nx.png,cat\n")
    named = read(tmp_path / "flat", labels=labels)
    assert named.classes == ("cat", "dog")
    assert named.labels.tolist() == [0, 1]
    assert read(named.origin.path, **named.origin.options).fingerprint == named.fingerprint


def test_pictures_beside_class_folders(tmp_path):
    put(tmp_path / "data", "a/1.png", "b/2.png", "stray.png")
    with pytest.raises(InputError, match=r"stray\.png \(lies outside any class folder\)"):
        read(tmp_path / "data")
    found = read(tmp_path / "data", on_error="skip")
    assert [(item.path, item.reason) for item in found.skipped] == [("stray.png", "lies outside any class folder")]
    (tmp_path / "labels.csv").write_text("id,label\na/1.png,b\nb/2.png,a\nstray.png,1\n".replace(",1\n", ",b\n"))
    assert read(tmp_path / "data", labels=tmp_path / "labels.csv").labels.tolist() == [1, 0, 1]


def test_hidden_and_other_files_are_passed_over(tmp_path):
    put(tmp_path, "a/1.png", "b/2.png", ".hidden/3.png", "a/.4.png", "__MACOSX/5.png")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "b" / "README").write_text("x")
    found = read(tmp_path)
    assert len(found) == 2
    assert "passed over 2 files that are not pictures by their ending: 1 .txt, 1 without ending" in found.notes


def test_bad_items_are_named_and_can_be_skipped(tmp_path):
    put(tmp_path, "a/ok.png", "b/ok.png")
    (tmp_path / "a" / "text.jpg").write_text("not a picture")
    (tmp_path / "a" / "zero.png").touch()
    (tmp_path / "a" / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "dangling.png").symlink_to("nowhere")
    (tmp_path / "a" / "loop.png").symlink_to("loop.png")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(tmp_path / "b" / "socket.png"))
        with pytest.raises(InputError, match=r"7 items cannot be used: .* and 4 more\. .*skip"):
            read(tmp_path)
        found = read(tmp_path, on_error="skip")
    assert found.ids.tolist() == ["a/ok.png", "b/ok.png"]
    assert {item.path: item.reason for item in found.skipped} == {
        "a/text.jpg": f"no picture in a known format ({', '.join(FORMATS)})",
        "a/zero.png": "empty (0 bytes)",
        "a/folder.jpg": "a folder, not a picture",
        "a/pipe.png": "a pipe, not a picture",
        "a/dangling.png": "a link to nothing (nowhere)",
        "a/loop.png": "a link to nothing (loop.png)",
        "b/socket.png": "a socket, not a picture",
    }


def test_damaged_pictures_are_named(tmp_path):
    put(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "cut.png").write_bytes((tmp_path / "a" / "1.png").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"\(train\): 1 item cannot be used: a/cut\.png \("):
        read(tmp_path)
    found = read(tmp_path, on_error="skip")
    assert found.ids.tolist() == ["a/1.png", "b/2.png"]
    assert np.array_equal(found.images[1], np.asarray(Image.open(tmp_path / "b" / "2.png")))
    assert [item.path for item in found.skipped] == ["a/cut.png"]
    with pytest.raises(InputError, match="cut"):  # also from the cache, after a reading that skipped
        read(tmp_path)


def test_links(tmp_path):
    root = put(tmp_path / "root", "a/1.png", "b/2.png")
    put(tmp_path / "outside", "3.png")
    (root / "b" / "again.png").symlink_to(root / "a" / "1.png")
    (root / "a" / "up").symlink_to(root, target_is_directory=True)
    found = read(root)
    assert found.ids.tolist() == ["a/1.png", "b/2.png", "b/again.png"]
    assert any("same file under several names (links): a/1.png = b/again.png" in note for note in found.notes)
    assert any("links to folders inside the source were not followed" in note and "a/up" in note for note in found.notes)
    (root / "a" / "out.png").symlink_to(tmp_path / "outside" / "3.png")
    (root / "c").symlink_to(tmp_path / "outside", target_is_directory=True)
    found = read(root)
    assert found.ids.tolist() == ["a/1.png", "a/out.png", "b/2.png", "b/again.png", "c/3.png"]
    assert found.labels.tolist() == [0, 0, 1, 1, 2]


def test_linked_folders_that_lie_in_the_source_count_once(tmp_path):
    put(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b", target_is_directory=True)
    found = read(tmp_path)
    assert found.ids.tolist() == ["a/1.png", "b/2.png"]
    assert any("a/other" in note and "once" in note for note in found.notes)


def test_splits_of_links(tmp_path):
    put(tmp_path, "all/a/1.png", "all/b/2.png", "all/a/3.png")
    for split, name in (("train", "a/1.png"), ("train", "b/2.png"), ("test", "a/3.png")):
        (tmp_path / split / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / split / name).symlink_to(tmp_path / "all" / name)
    splits = read_splits(tmp_path)
    assert (splits.train.ids.tolist(), splits.test.ids.tolist()) == (["train/a/1.png", "train/b/2.png"], ["test/a/3.png"])


def test_links_round_in_circles(tmp_path):
    put(tmp_path / "d", "a/1.png", "b/2.png")
    put(tmp_path / "out", "3.png")
    (tmp_path / "d" / "c").symlink_to(tmp_path / "out", target_is_directory=True)
    (tmp_path / "out" / "back").symlink_to(tmp_path / "d", target_is_directory=True)
    (tmp_path / "out" / "self").symlink_to(tmp_path / "out", target_is_directory=True)
    found = read(tmp_path / "d")
    assert found.ids.tolist() == ["a/1.png", "b/2.png", "c/3.png"]


def test_the_root_itself_may_be_a_link(tmp_path):
    put(tmp_path / "real", "a/1.png", "b/2.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read(tmp_path / "link").fingerprint == read(tmp_path / "real").fingerprint


def test_hard_links_are_reported(tmp_path):
    put(tmp_path, "a/1.png", "b/2.png")
    os.link(tmp_path / "a" / "1.png", tmp_path / "b" / "3.png")
    assert any("a/1.png = b/3.png" in note for note in read(tmp_path).notes)


def test_a_class_folder_without_a_picture(tmp_path):
    put(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match=r"c \(a class folder with no picture\)"):
        read(tmp_path)
    found = read(tmp_path, on_error="skip")
    assert found.classes == ("a", "b")
    assert [item.path for item in found.skipped] == ["c"]


def test_names_that_are_hard_to_write(tmp_path):
    names = [
        "a,b\"'.png",
        "new\nline.png",
        "<script>.png",
        "=cmd|x.png",
        "-rf.png",
        "ünïcödé ‮.png",
        "A.png",
        "a.png",
        "x" * 200 + ".png",
    ]
    put(tmp_path, *(f"class/{name}" for name in names), "other/1.png")
    raw = os.fsencode(tmp_path) + b"/other/\xff\xfe.png"
    os.link(tmp_path / "other" / "1.png", raw)
    found = read(tmp_path)
    ids = found.ids.tolist()
    assert set(ids) == {f"class/{name}" for name in names} | {"other/1.png", "other/\\xff\\xfe.png"}
    assert ids == sorted(ids, key=str.encode)
    assert os.fsencode(found.paths[ids.index("other/\\xff\\xfe.png")]) == raw
    assert read(found.origin.path, **found.origin.options).fingerprint == found.fingerprint


@pytest.mark.parametrize("name", ["missing", "empty", "text", "pipe"])
def test_what_holds_no_picture(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    reason = {"missing": "does not exist", "empty": "no picture in", "text": "no picture in", "pipe": "not a regular file"}[name]
    with pytest.raises(InputError, match=reason):
        read(tmp_path / name)


def test_no_readable_picture_at_all(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_text("no")
    for on_error in ("fail", "skip"):
        with pytest.raises(InputError, match=r"1 item cannot be used: a/1\.jpg"):
            read(tmp_path, on_error=on_error)


def test_mixed_sizes_take_the_median_side(tmp_path):
    for size, name in ((20, "a/1.png"), (45, "a/2.png"), (90, "b/3.png")):
        put(tmp_path, name, size=size)
    assert read(tmp_path).images.shape[1:] == (40, 40, 3)
    assert read(tmp_path, image_size=12).images.shape[1:] == (12, 12, 3)
    put(tmp_path / "large", "a/1.png", size=400)
    assert read(tmp_path / "large").images.shape[1] == 128
    put(tmp_path / "tiny", "a/1.png", size=3)
    assert read(tmp_path / "tiny").images.shape[1] == 3


def test_every_split_has_the_size_of_train(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/2.png", size=16)
    put(tmp_path, "test/a/3.png", size=30)
    assert read(tmp_path, split="test").images.shape[1:] == (16, 16, 3)  # before train was ever decoded
    assert read_splits(tmp_path).test.images.shape[1:] == (16, 16, 3)


@pytest.mark.parametrize("size", [0, -8, 5000, True])
def test_image_size_is_checked(tmp_path, size):
    with pytest.raises(InputError, match="`image_size` must be a whole number of pixels from 1 to 4096"):
        read(tmp_path, image_size=size)


def test_on_error_is_checked(tmp_path):
    with pytest.raises(InputError, match=r"`on_error` must be one of fail, skip, got 'skipp'\. Did you mean 'skip'"):
        read(tmp_path, on_error="skipp")


def test_splits_in_the_names_of_all_pictures(tmp_path):
    put(tmp_path, *(f"{label}/{split}_{n}.png" for label in "ab" for split in ("train", "test") for n in range(2)))
    splits = read_splits(tmp_path)
    assert splits.test.ids.tolist() == [f"{label}/test_{n}.png" for label in "ab" for n in range(2)]
    put(tmp_path, "a/other.png")
    assert read_splits(tmp_path).test is None
    assert any("words for splits" in note for note in read(tmp_path).notes)


def test_split_folders_in_every_class_folder(tmp_path):
    put(tmp_path, *(f"{label}/{split}/{n}.png" for label in "ab" for split in ("train", "test") for n in range(2)))
    splits = read_splits(tmp_path)
    assert splits.train.classes == ("a", "b")
    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == ([0, 0, 1, 1], [0, 0, 1, 1])


def test_archives_unpacked_twice(tmp_path):
    names = [f"seg_{split}/seg_{split}/{label}/1.png" for label in "ab" for split in ("train", "test")]
    put(tmp_path, *names, "seg_pred/seg_pred/1.png")
    splits = read_splits(tmp_path)
    assert splits.train.classes == ("a", "b")
    assert (len(splits.train), len(splits.test)) == (2, 2)
    assert any("seg_pred" in note for note in splits.train.notes)


def test_flat_splits_beside_flat_classes_are_refused_with_both_readings(tmp_path):
    put(tmp_path, "train/1.png", "test/2.png", "bus/3.png", "car/4.png")
    with pytest.raises(InputError, match=r"splits.*bus, car.*classes"):
        read(tmp_path)


def test_what_fiftyone_calls_unlabeled_is_no_class(tmp_path):
    for name in ("cat", "dog", "_unlabeled"):
        put(tmp_path / name, "1.png")
    with pytest.raises(InputError, match=r"_unlabeled/1\.png \(has no label\)"):
        read(tmp_path)
    found = read(tmp_path, on_error="skip")
    assert found.classes == ("cat", "dog")
    assert [item.path for item in found.skipped] == ["_unlabeled/1.png"]
    (tmp_path / "l.csv").write_text("id,label\ncat/1.png,cat\ndog/1.png,dog\n_unlabeled/1.png,dog\n")
    assert len(read(tmp_path, labels=tmp_path / "l.csv")) == 3
