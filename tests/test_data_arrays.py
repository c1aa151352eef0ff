"""Arrays: npy, npz, digits and what is in memory already."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.data import from_arrays, read, read_splits
from dataprune.errors import InputError

GRAY = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


def test_pictures():
    found = from_arrays(GRAY, [0, 2, 0])
    assert found.images.shape == (3, 4, 5, 1)
    assert np.array_equal(found.images[:, :, :, 0], GRAY)
    assert found.features is None
    assert found.classes == ("0", "1", "2")
    assert found.ids.tolist() == ["0", "1", "2"]
    named = from_arrays(GRAY, ["b", "a", "b"], ids=["x", "y", "z"])
    assert named.classes == ("a", "b")
    assert named.labels.tolist() == [1, 0, 1]
    assert from_arrays(GRAY).labels is None
    given_names = from_arrays(GRAY, ["b", "a", "b"], classes=["b", "c", "a"])
    assert given_names.labels.tolist() == [0, 2, 0]
    assert from_arrays(GRAY, [[0], [1], [0]], classes=["b", "c"]).labels.tolist() == [0, 1, 0]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["float16", "float32", "float64", "int8", "uint8", "int64", ">f4"]), st.booleans(), st.integers(1, 5))
def test_every_type_and_layout_gives_the_same_features(kind, is_fortran, columns):
    numbers = np.arange(4 * columns).reshape(4, columns) % 50
    given_form = np.asarray(numbers.astype(kind), order="F" if is_fortran else "C")
    found = from_arrays(given_form)
    assert found.features.dtype == np.float32
    assert found.fingerprint == from_arrays(numbers.astype(np.float32)).fingerprint
    strided = np.repeat(given_form, 2, axis=0)[::2]
    assert from_arrays(strided).fingerprint == found.fingerprint


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(3), r"\(N, D\).*of shape \(3,\)"),
        (np.zeros((2, 3, 4, 5, 6), np.uint8), "of shape"),
        (np.full((2, 8, 8), -1.5, np.float32), r"x.*-1\.5.*np\.interp"),
        (np.zeros((2, 20, 30, 13), np.uint8), r"channels.*\(2, 20, 30, 13\).*squares"),
        (np.zeros((200, 32, 3), np.uint8), r"x\[None\]"),
        (np.zeros((2, 0, 8), np.uint8), "pictures with pixels"),
        (np.zeros((2, 0)), "at least one column"),
        (np.zeros((0, 8, 8), np.uint8), "no example"),
        (np.array([[1.0, 2], [np.nan, 1], [1, np.inf]]), "`x` must be finite, got NaN or infinity in row 1, 2"),
        (np.array([[1.0], [1e300]]), "infinity in row 1"),
        (np.array([["a", "b"]]), "hold numbers.*<U1"),
    ],
)
def test_other_arrays_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        from_arrays(x)


def test_bad_rows_are_counted_over_blocks():
    x = np.zeros((70_000, 1), np.float32)
    x[[3, 4, 5, 6, 7, 69_999]] = np.nan
    with pytest.raises(InputError, match="row 3, 4, 5, 6, 7 and 1 more"):
        from_arrays(x)
    x[[3, 4, 5, 6, 7]] = 0
    with pytest.raises(InputError, match="row 69999"):
        from_arrays(x)


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([0, 1], None, r"one label for each of the 3 examples, got shape \(2,\)"),
        ([0, -1, 1], None, "from 0 on, got -1 in row 1"),
        ([0, 1.5, np.nan], None, "got 1.5 in row 1, nan in row 2"),
        ([0, 1, 5000], None, "below 1,000"),
        ([0, 1, 2], ["a", "b"], r"in \[0, 2\), got 2 in row 2"),
        (["a", "b", "c"], ["a", "b"], r"known classes \(a, b\), got 'c' in row 2"),
        (np.array(["a", None, "c"], dtype=object), None, "none in row 1"),
        (np.zeros((3, 2)), None, r"got shape \(3, 2\)"),
        (np.zeros(3, complex), None, "whole numbers or text, got type complex128"),
    ],
)
def test_bad_labels(y, classes, message):
    with pytest.raises(InputError, match=message):
        from_arrays(GRAY, y, classes=classes)


def test_digits():
    splits = read_splits("digits")
    assert len(splits.train) == 1437
    assert len(splits.test) == 360
    assert splits.train.images.shape == (1437, 8, 8, 1)
    assert splits.train.images.max() == 255
    assert splits.train.ids.tolist()[-1] == "1436"
    assert splits.test.ids.tolist()[0] == "1437"
    assert splits.train.classes == tuple("0123456789")
    from sklearn.datasets import load_digits

    told = load_digits()
    assert np.abs(splits.train.images[..., 0] / 255 - told.images[:1437] / 16).max() < 0.002
    assert np.array_equal(np.concatenate([splits.train.labels, splits.test.labels]), told.target)
    assert read("digits").fingerprint == splits.train.fingerprint


def test_npy(tmp_path):
    features = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.save(tmp_path / "f.npy", features)
    found = read(tmp_path / "f.npy")
    assert isinstance(found.features, np.memmap)
    assert np.array_equal(found.features, features)
    assert found.labels is None
    np.save(tmp_path / "p.npy", GRAY)
    assert np.array_equal(read(tmp_path / "p.npy").images[..., 0], GRAY)
    (tmp_path / "l.csv").write_text("label\na\nb\na\n")
    assert read(tmp_path / "p.npy", labels=tmp_path / "l.csv").labels.tolist() == [0, 1, 0]
    np.save(tmp_path / "bad.npy", np.array([[1.0], [np.nan]]))
    with pytest.raises(InputError, match=r"`bad\.npy` must be finite, got NaN or infinity in row 1"):
        read(tmp_path / "bad.npy")
    with pytest.raises(InputError, match="`image_size` must be left out for feature vectors, got 8"):
        read(tmp_path / "f.npy", image_size=8)


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=GRAY, y=[0, 1, 1], x_test=GRAY[:2], y_test=np.array([[2], [0]]))
    splits = read_splits(tmp_path / "a.npz")
    assert splits.train.labels.tolist() == [0, 1, 1]
    assert splits.test.labels.tolist() == [2, 0]
    assert splits.train.classes == splits.test.classes == ("0", "1", "2")
    assert "no example in train of class '2'" in splits.train.notes
    assert splits.validation is None
    np.savez(tmp_path / "b.npz", x_train=GRAY, y_train=["b", "a", "b"], x_val=GRAY, y_val=["c", "a", "b"])
    splits = read_splits(tmp_path / "b.npz")
    assert splits.train.classes == ("a", "b", "c")
    assert splits.validation.labels.tolist() == [2, 0, 1]


def test_npz_that_does_not_fit(tmp_path):
    np.savez(tmp_path / "a.npz", embeddings=GRAY)
    with pytest.raises(InputError, match=r"`a.npz` must hold `x` \(and `y`\), got embeddings"):
        read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=GRAY, y=[0, 1])
    with pytest.raises(InputError, match="`y` must hold one label for each of the 3 examples"):
        read(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=GRAY, y=[0, 1, 1], x_test=GRAY[:, :2])
    with pytest.raises(InputError, match="the splits differ in shape"):
        read(tmp_path / "c.npz")


def test_arrays_can_be_resized():
    assert read("digits", image_size=16).images.shape == (1437, 16, 16, 1)
    assert read(GRAY, image_size=4).images.shape == (3, 4, 4, 1)
    found = from_arrays(GRAY)
    assert read(found, image_size=4).fingerprint != found.fingerprint


def test_what_a_mask_hides_is_refused():
    x, y = np.ones((3, 4)), np.array([0, 1, 0])
    for masked in ((np.ma.array(x, mask=x > 2), y), (x, np.ma.array(y, mask=False))):
        assert len(from_arrays(*masked)) == 3, "a mask that hides nothing"
    for name, pair in (("x", (np.ma.array(x, mask=x > 0), y)), ("y", (x, np.ma.array(y, mask=y > 0)))):
        with pytest.raises(InputError, match=f"`{name}` must .* masked"):
            from_arrays(*pair)


def test_pictures_of_next_to_none_of_the_range_are_refused_with_the_line_that_scales_them(tmp_path):
    faint = np.random.default_rng(0).integers(0, 17, (9, 8, 8))
    np.save(tmp_path / "faint.npy", faint)
    for read_it in (lambda: read(tmp_path / "faint.npy"), *(lambda x=x: from_arrays(x) for x in (faint, faint / 1.0, faint / 255))):
        with pytest.raises(InputError, match=r"np\.interp"):
            read_it()
    assert from_arrays(faint.astype(np.uint8)).images.max() == 16, "bytes are taken as they are"
    assert from_arrays(faint * 2).images.max() == 32
