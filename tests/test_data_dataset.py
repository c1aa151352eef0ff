"""The Dataset itself: immutability, fingerprint, taking rows, other labels."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.data import Dataset, EncoderRecord, Origin, Skipped, Splits, from_arrays
from dataprune.errors import InputError

IDS = np.array(["a", "b", "c", "d"], np.dtypes.StringDType())
PIXELS = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
LABELS = np.array([0, 1, 1, 0])


def make(**changes):
    return Dataset(**({"labels": LABELS, "ids": IDS, "classes": ("x", "y"), "images": PIXELS.copy()} | changes))


def test_it_is_immutable():
    data = make(paths=np.array(["p"] * 4, dtype=object))
    for array in (data.labels, data.images, data.paths, data.ids):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.labels = None
    assert len(data) == 4
    assert data.n_classes == 2
    assert data.inputs is data.images
    assert repr(data) == "Dataset(4 examples, images (2, 2, 3), 2 classes)"


def test_the_callers_array_stays_writable():
    pixels = PIXELS.copy()
    make(images=pixels)
    pixels[0] = 1
    assert (pixels[0] == 1).all()


def test_fingerprint_tells_what_matters_and_nothing_else():
    base = make().fingerprint
    assert len(base) == 64
    other = PIXELS.copy()
    other[3, 1, 1, 2] ^= 1
    different = [
        make(images=other),
        make(labels=np.array([0, 1, 1, 1])),
        make(labels=None, classes=()),
        make(ids=np.array(["a", "b", "cd", ""], np.dtypes.StringDType())),
        make(ids=np.array(["a", "bc", "d", ""], np.dtypes.StringDType())),
        make(classes=("x", "z")),
        make(images=PIXELS.reshape(4, 4, 1, 3)),
        make(images=None, features=PIXELS.reshape(4, 12).astype(np.float32)),
    ]
    prints = [base, *(data.fingerprint for data in different)]
    assert len(set(prints)) == len(prints)
    same = make(
        origin=Origin("folder", "/x", "train"),
        skipped=(Skipped("p", "q"),),
        notes=("n",),
        images=np.asfortranarray(PIXELS).copy("C"),
    )
    assert same.fingerprint == base


def test_take():
    data = make(paths=np.array(list("pqrs"), dtype=object))
    some = data.take(np.array([3, 0]))
    assert some.ids.tolist() == ["d", "a"]
    assert some.labels.tolist() == [0, 0]
    assert np.array_equal(some.images, PIXELS[[3, 0]])
    assert some.paths.tolist() == ["s", "p"]
    assert some.classes == data.classes
    neighbours = data.take(np.array([1, 2]))
    assert np.shares_memory(neighbours.images, data.images)
    assert neighbours.fingerprint == make(ids=IDS[1:3], labels=LABELS[1:3], images=PIXELS[1:3]).fingerprint


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)), st.integers(1, 4))
def test_taking_is_indexing(order, count):
    rows = np.array(order[:count])
    data = make()
    some = data.take(rows)
    assert some.ids.tolist() == IDS[rows].tolist()
    assert np.array_equal(some.images, PIXELS[rows])
    assert (some.fingerprint == data.fingerprint) == (rows.tolist() == [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "non-empty"),
        ([4], r"in \[0, 4\), got 4"),
        ([0, -1], "got -1"),
        ([1, 1], "`ids` must be unique, got repeated 'b'"),
    ],
)
def test_rows_are_checked(rows, message):
    with pytest.raises(InputError, match=message):
        make().take(np.array(rows, dtype=np.int64))


def test_other_labels():
    data = make()
    other = data.with_labels(np.array([1, 1, 1, 1]))
    assert other.labels.tolist() == [1, 1, 1, 1]
    assert other.images.base is data.images.base or np.shares_memory(other.images, data.images)
    assert other.fingerprint != data.fingerprint
    assert other.with_labels(LABELS).fingerprint == data.fingerprint
    assert data.with_labels(LABELS, ("u", "v", "w")).n_classes == 3
    assert data.with_labels(None).classes == ()
    with pytest.raises(InputError, match=r"`labels` must be in \[0, 2\), got 2 in row 1, -1 in row 2"):
        data.with_labels(np.array([0, 2, -1, 0]))


def test_what_cannot_be():
    with pytest.raises(InputError, match="`images` or `features`, got neither"):
        make(images=None)
    with pytest.raises(InputError, match="`ids` must have one entry for each of the 4 examples, got 3"):
        make(ids=IDS[:3])
    with pytest.raises(InputError, match="`ids` must be unique, got repeated 'a'"):
        from_arrays(PIXELS, LABELS, ids=["a", "b", "a", "a"])


def test_it_travels():
    data = pickle.loads(pickle.dumps(make()))
    assert data.fingerprint == make().fingerprint
    assert data.ids.tolist() == ["a", "b", "c", "d"]


def test_it_shows_itself_in_a_line_and_in_a_notebook():
    data = make(ids=np.array(["a", "<b>", "c", "d"], np.dtypes.StringDType()))
    splits = Splits(data, test=data.take(np.array([0, 1])))
    assert repr(splits) == "Splits(train 4, test 2 examples, 2 classes)"
    assert "&lt;b&gt;" in data._repr_html_()
    assert "<td>x</td>" in data._repr_html_()
    assert "<td>test</td><td>2</td>" in splits._repr_html_()
    assert "label" not in make(labels=None, classes=())._repr_html_()


def test_splits_share_their_shape():
    with pytest.raises(InputError, match=r"`validation`.*\(2, 2, 3\), got \(4, 1, 3\)"):
        Splits(make(), validation=make(images=PIXELS.reshape(4, 4, 1, 3)))


def encoded(n=6, name="eyes"):
    draws = np.random.default_rng(0)
    pictures = from_arrays(draws.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8), np.arange(n) % 2)
    record = EncoderRecord(name, "00", 8, "as they are")
    features = draws.normal(size=(n, 4)).astype(np.float16)
    return dataclasses.replace(pictures, features=features, mirrored=-features, encoder=record)


def test_pictures_and_vectors_travel_together():
    data = encoded()
    some = data.take(np.array([4, 1]))
    assert (some.content == data.images[[4, 1]]).all()
    assert (some.inputs == data.features[[4, 1]]).all()
    assert (some.mirrored == -some.features).all()
    assert some.with_labels(np.array([0, 1])).encoder == data.encoder
    assert "images (8, 8, 3), features (4,)" in repr(data)


def test_the_encoder_is_a_part_of_the_fingerprint_and_its_bits_are_not():
    data, bare = encoded(), encoded().bare
    assert bare.features is bare.mirrored is bare.encoder is None
    assert bare.bare is bare
    assert bare.inputs is bare.images
    moved = dataclasses.replace(data, features=data.features + 1)
    assert data.fingerprint == bare.fingerprint_by(data.encoder) == moved.fingerprint
    assert data.fingerprint != encoded(name="others").fingerprint
    by_hand = [dataclasses.replace(one, encoder=None).fingerprint for one in (data, moved)]
    assert len({*by_hand, data.fingerprint, bare.fingerprint}) == 4


def test_vectors_beside_pictures_must_fit():
    data = encoded()
    with pytest.raises(InputError, match="features"):
        dataclasses.replace(data, features=data.features[:-1], mirrored=None)
    with pytest.raises(InputError, match="mirrored"):
        dataclasses.replace(data, mirrored=data.features[:, :2])
    with pytest.raises(InputError, match="encoded"):
        Splits(data, test=data.bare)
