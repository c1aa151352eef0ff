"""Pictures and labels in every form that people write arrays in: what is read is what was written, or it is refused."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

import dataprune as dp
from dataprune.errors import InputError

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(QUICK, max_examples=4000)

NUMBERS = {
    **{kind: lambda x, kind=kind: x.astype(kind) for kind in ("u1", "i2", "i4", "i8", "u2", "u4", ">i4", "f4", "f8")},
    **{f"{kind} / 255": lambda x, kind=kind: (x / 255).astype(kind) for kind in ("f2", "f4", "f8", ">f4")},
    "u2 * 257": lambda x: x.astype("u2") * 257,
    "standardised": lambda x: (x - x.mean()) / (x.std() + 1),
    "-1 ... 1": lambda x: x / 127.5 - 1,
    "shifted": lambda x: x.astype("i8") - 100,
}
UNCLEAR = ("standardised", "-1 ... 1", "shifted")
LABELS = {
    "numbers": lambda y: y,
    "a column": lambda y: y[:, None].astype("u1"),
    "floats": lambda y: y.astype("f4"),
    "one-hot": lambda y: np.eye(3)[y],
    "one-hot truths": lambda y: np.eye(3, dtype=bool)[y],
    "names": lambda y: np.array(["a", "b", "c"])[y],
}
STEMS = (("x", "y"), ("X", "y"), ("images", "labels"), ("data", "targets"), ("image", "label"), ("features", "target"))
WORDS = {"train": ("train", "Train"), "validation": ("val", "valid", "validation"), "test": ("test", "Test")}


@dataclass(frozen=True)
class Written:
    """Pictures (N, H, W, channels) and labels as they are meant, and how they are written."""

    pictures: np.ndarray
    labels: np.ndarray
    numbers: str
    labelled: str
    is_first: bool
    is_flat: bool

    @property
    def x(self):
        x = NUMBERS[self.numbers](self.pictures)
        return np.ascontiguousarray(x[..., 0] if self.is_flat else np.moveaxis(x, 3, 1) if self.is_first else x)

    @property
    def y(self):
        return LABELS[self.labelled](self.labels)

    @property
    def is_unclear(self):
        """Whether it must be refused, or next to none of the range would be left."""
        most = int(self.pictures.max())
        most = 255 if most == 1 and self.numbers in ("f4", "f8") else most
        return self.numbers in UNCLEAR or (0 < most < 32 and self.numbers not in ("u1", "u2 * 257"))

    def check(self, found):
        """Compare what was read; values beyond a byte are scaled, and 0 and 1 as floating point are black and white."""
        wanted = self.pictures.astype(float)
        if self.numbers == "u2 * 257":
            most = 257 * int(self.pictures.max())
            wanted = np.rint(257 * wanted * (255 / (2 ** max(8, most.bit_length()) - 1)))
        elif self.pictures.max() <= 1 and self.numbers in ("f4", "f8"):
            wanted *= 255
        assert np.array_equal(found.images, wanted)
        places = ["abc".index(name) if name in "abc" else int(name) for name in found.classes]
        assert [places[label] for label in found.labels] == self.labels.tolist()


@st.composite
def written(draw, layouts=("first", "last", "flat"), most_channels=4):
    layout = draw(st.sampled_from(layouts))
    height, width = draw(st.integers(5, 12)), draw(st.integers(5, 12))
    channels = 1 if layout == "flat" else draw(st.integers(1, most_channels))
    if channels > 4:
        width = height  # of others it is refused: see the tests of the reports
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(3, 9))
    pictures = generator.integers(0, draw(st.sampled_from([1, 2, 4, 120, 255])) + 1, (n, height, width, channels))
    labels = np.concatenate([np.arange(3), generator.integers(0, 3, n - 3)])
    kinds = draw(st.sampled_from(sorted(NUMBERS))), draw(st.sampled_from(sorted(LABELS)))
    return Written(pictures, labels, *kinds, layout == "first", layout == "flat")


def answer(read):
    """Return what was read and None, or None and why it was refused."""
    try:
        return read(), None
    except InputError as refused:
        return None, str(refused)


def read_or_refused(one, read):
    found, reason = answer(read)
    if reason is None:
        assert not one.is_unclear or one.numbers in UNCLEAR
        one.check(found)
        return
    event(f"refused: {one.numbers}")
    assert one.is_unclear or one.pictures.shape[3] > 4, reason
    assert "\n" not in reason


@QUICK
@given(written(), st.integers(0, 1))
def test_arrays(one, as_pair):
    read_or_refused(one, lambda: dp.read((one.x, one.y)) if as_pair else dp.from_arrays(one.x, one.y))


@QUICK
@given(written(layouts=("first",), most_channels=9))
def test_tensors(one):
    x = one.x.astype(one.x.dtype.newbyteorder("="))
    if x.dtype.kind == "u" and x.dtype.itemsize > 1:
        x = x.astype(np.int64)
    y = LABELS["numbers" if one.labelled == "names" else one.labelled](one.labels)
    pairs = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    read_or_refused(one, lambda: dp.read(pairs))
    read_or_refused(one, lambda: dp.from_arrays(torch.from_numpy(x), torch.from_numpy(y)))


def all_names(stems, words, is_before, mark):
    """Name the arrays of each split."""
    return {
        split: tuple((f"{word}{mark}{stem}" if is_before else f"{stem}{mark}{word}") if word else stem for stem in stems)
        for split, word in words.items()
    }


def check_npz(folder, parts, names):
    arrays = {name: array for split, one in parts.items() for name, array in zip(names[split], (one.x, one.y), strict=True)}
    np.savez(folder / "a.npz", **arrays)
    splits, reason = answer(lambda: dp.read_splits(folder / "a.npz"))
    if reason is not None:
        assert parts["train"].is_unclear, reason
        return
    for split, one in parts.items():
        one.check(getattr(splits, split))
    assert [name for name in WORDS if getattr(splits, name) is not None] == [name for name in WORDS if name in parts]


@st.composite
def archives(draw):
    """Splits that are written alike, and by which names."""
    first = draw(written())
    words = {"train": draw(st.sampled_from(["", *WORDS["train"]]))}
    words |= {split: draw(st.sampled_from(WORDS[split])) for split in draw(st.sets(st.sampled_from(["validation", "test"])))}
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = {"train": first}
    for split in words:
        if split != "train":  # as bright as train, so that their scale is the same
            order = generator.permutation(len(first.labels))
            how = (first.numbers, first.labelled, first.is_first, first.is_flat)
            parts[split] = Written(first.pictures[order], first.labels[order], *how)
    names = all_names(draw(st.sampled_from(STEMS)), words, draw(st.booleans()), draw(st.sampled_from(["_", "-", "."])))
    return parts, names


@QUICK
@given(archives())
def test_npz(tmp_path, archive):
    check_npz(tmp_path, *archive)


@pytest.mark.slow
class TestLong:
    @LONG
    @given(written(), st.integers(0, 1))
    def test_arrays(self, one, as_pair):
        read_or_refused(one, lambda: dp.read((one.x, one.y)) if as_pair else dp.from_arrays(one.x, one.y))

    @LONG
    @given(written(layouts=("first",), most_channels=9))
    def test_tensors(self, one):
        test_tensors.hypothesis.inner_test(one)

    @LONG
    @given(archives())
    def test_npz(self, tmp_path, archive):
        check_npz(tmp_path, *archive)
