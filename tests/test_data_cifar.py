"""CIFAR-10 and CIFAR-100 as their authors ship them, made on the spot; pickles with something to execute."""

import os
import pickle
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dataprune.data import read, read_splits
from dataprune.errors import InputError

TEN = [f"class{index}" for index in range(10)]
HUNDRED = [f"fine{index}" for index in range(100)]


def pixels(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def as_pictures(rows):
    """The authors' words: the first 1024 bytes are red, row by row, then green, then blue."""
    picture = np.empty((len(rows), 32, 32, 3), np.uint8)
    for index, row in enumerate(rows):
        for channel in range(3):
            for y in range(32):
                picture[index, y, :, channel] = row[channel * 1024 + y * 32 : channel * 1024 + y * 32 + 32]
    return picture


def binary10(folder):
    for number in (1, 2):
        records = [bytes([number]) + row.tobytes() for row in pixels(3, number)]
        (folder / f"data_batch_{number}.bin").write_bytes(b"".join(records))
    (folder / "test_batch.bin").write_bytes(b"\x07" + pixels(1, 9).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")


def python10(folder, protocol=2):
    def dump(name, value):
        (folder / name).write_bytes(pickle.dumps(value, protocol))

    for number in (1, 2):
        dump(f"data_batch_{number}", {b"data": pixels(3, number), b"labels": [number] * 3, b"filenames": [b"x.png"] * 3})
    dump("test_batch", {b"data": pixels(1, 9), b"labels": [7]})
    dump("batches.meta", {b"label_names": [name.encode() for name in TEN], b"num_vis": 3072})


def check10(folder):
    splits = read_splits(folder)
    assert np.array_equal(splits.train.images, as_pictures(np.concatenate([pixels(3, 1), pixels(3, 2)])))
    assert splits.train.labels.tolist() == [1, 1, 1, 2, 2, 2]
    assert splits.train.classes == tuple(TEN)
    assert splits.train.ids.tolist() == ["0", "1", "2", "3", "4", "5"]
    assert np.array_equal(splits.test.images, as_pictures(pixels(1, 9)))
    assert splits.test.labels.tolist() == [7]
    return splits.train.fingerprint


def test_binary_and_python_files_are_the_same_data(tmp_path):
    found = set()
    for name, make in (("binary", binary10), ("python", python10), ("five", lambda folder: python10(folder, 5))):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
        found.add(check10(tmp_path / name))
    assert len(found) == 1


def test_a_pickle_of_python_2(tmp_path):
    """Written as Python 2 and NumPy 1 did: byte strings for text, `numpy.core.multiarray` for arrays."""
    data = pixels(1, 1)
    shape = b"(I1\nI3072\nt"
    dtype = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    raw = b"T" + (3072).to_bytes(4, "little") + data.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n" + shape + dtype + b"I00\n" + raw + b"tb"
    batch = b"(dS'data'\n" + array + b"sS'labels'\n(lI4\nas."
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}").write_bytes(batch)
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": TEN}, 0))
    found = read(tmp_path)
    assert np.array_equal(found.images[0], as_pictures(data)[0])
    assert found.labels.tolist() == [4] * 5


def test_cifar100(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "p").mkdir()
    for name, seed, fine in (("train", 1, [5, 99]), ("test", 2, [0])):
        rows = pixels(len(fine), seed)
        records = [bytes([3, label]) + row.tobytes() for label, row in zip(fine, rows, strict=True)]
        (tmp_path / "b" / f"{name}.bin").write_bytes(b"".join(records))
        entries = {"data": rows, "fine_labels": fine, "coarse_labels": [3] * len(fine)}
        (tmp_path / "p" / name).write_bytes(pickle.dumps(entries, 4))
    (tmp_path / "b" / "fine_label_names.txt").write_text("\n".join(HUNDRED))
    (tmp_path / "p" / "meta").write_bytes(pickle.dumps({"fine_label_names": HUNDRED}, 4))
    binary, python = read_splits(tmp_path / "b"), read_splits(tmp_path / "p")
    assert binary.train.labels.tolist() == [5, 99]
    assert binary.train.fingerprint == python.train.fingerprint
    assert binary.test.fingerprint == python.test.fingerprint
    assert binary.train.classes == tuple(HUNDRED)


class Shell:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


class Builtin:
    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments

    def __reduce__(self):
        return getattr(__import__("builtins"), self.name), self.arguments


@pytest.mark.parametrize("where", ["batches.meta", "data_batch_1"])
def test_nothing_is_executed(tmp_path, where):
    python10(tmp_path)
    target = tmp_path / "was-here"
    for evil in (Shell(target), Builtin("eval", "1+1"), Builtin("getattr", "x", "upper"), Builtin("exec", "import os")):
        (tmp_path / where).write_bytes(pickle.dumps({b"data": evil, b"labels": [], b"label_names": evil}, 2))
        with pytest.raises(InputError, match=r"asks for .*not run"):
            read(tmp_path)
    assert not target.exists()


def test_constructors_that_are_let_through_do_no_harm(tmp_path):
    python10(tmp_path)
    huge = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1000000000000000L\ntS'b'\ntR."
    (tmp_path / "data_batch_1").write_bytes(huge)
    with pytest.raises(InputError, match="must hold a dictionary"):
        read(tmp_path)
    objects = b"cnumpy\ndtype\n(S'O8'\ntR."
    (tmp_path / "data_batch_1").write_bytes(objects)
    with pytest.raises(InputError, match="not of numbers"):
        read(tmp_path)
    codec = b"c_codecs\nencode\n(Vx\nVbz2\ntR."
    (tmp_path / "data_batch_1").write_bytes(codec)
    with pytest.raises(InputError, match="asks for the encoding 'bz2'"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x05rubbish", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f", b"(dS'data'\n"])
def test_damaged_pickles(tmp_path, content):
    python10(tmp_path)
    (tmp_path / "data_batch_2").write_bytes(content)
    with pytest.raises(InputError, match="data_batch_2"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({b"data": np.zeros((2, 3072), np.uint8)}, "must hold `data` and `labels`, got data"),
        ({b"data": np.zeros((2, 100), np.uint8), b"labels": [0, 1]}, r"must hold uint8 `data` of shape \(N, 3072\)"),
        ({b"data": np.zeros((2, 3072), np.float32), b"labels": [0, 1]}, r"got float32 \(2, 3072\)"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, r"one label for each of 2 pictures, got shape \(1,\)"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}, r"in \[0, 10\), got 10 in row 1"),
        ([1, 2], "must hold a dictionary, got list"),
    ],
)
def test_contents_are_checked(tmp_path, entries, message):
    python10(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(entries, 2))
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_a_binary_file_that_is_cut_short(tmp_path):
    binary10(tmp_path)
    file = Path(tmp_path, "data_batch_2.bin")
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"data_batch_2\.bin` must have a whole number of 3073-byte records, got 9214 bytes"):
        read(tmp_path)


def global_of(module, name):
    return f"c{module}\n{name}\n".encode()


# Pickles of a few bytes that would take gigabytes, years, or memory as it was found; none may.
HOSTILE = {
    "a memo of 2³¹ places": b"\x80\x02}r\xff\xff\xff\x7f",
    "an array as memory was found": b"\x80\x02}(U\x04data" + global_of("numpy", "ndarray") + b"(M\x10\x27M\x00\x0ct\x85Ru.",
    "a key of tuples of tuples": b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01s.",
    "text as a number": b"(dS'labels'\nI" + b"9" * 5000 + b"\ns.",
    "a byte array beyond the file": b"\x80\x05}(\x8c\x04data\x96\x00\x00\x00\x00\x04\x00\x00\x00u.",
    "state of another thing": b"\x80\x02}(U\x04data]}bu.",
    "a key of tuples of tuples, called by another name": b"\x80\x02}(K\x01" + b"q\x00h\x00\x86" * 60 + b"NbK\x01u.",
    "a key of tuples of tuples, behind a list that is none": b"\x80\x02}(K\x01" + b"q\x00h\x00\x86" * 60 + b"(eK\x01u.",
    "a key of very deep tuples": b"\x80\x02}K\x01" + b"\x85" * 10**5 + b"K\x01s.",
    "a class that is changed": b"\x80\x02}(U\x04data" + global_of("numpy", "dtype") + b"N}U\x0c__setstate__Ns\x86bu.",
    "text over and over": b"\x80\x02}(U\x04data]("
    + global_of("_codecs", "encode")
    + b"q\x00X\xa0\x86\x01\x00"
    + b"x" * 100_000
    + b"q\x01X\x06\x00\x00\x00latin1q\x02\x86R"
    + b"h\x00h\x01h\x02\x86R" * 10_000
    + b"eu.",
    "a call of a name": b"\x80\x02}(U\x04dataU\x01x)Ru.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_take_neither_memory_nor_time(tmp_path, name):
    python10(tmp_path)
    for file in ("data_batch_1", "batches.meta"):
        (tmp_path / "x").mkdir(exist_ok=True)
        python10(tmp_path / "x")
        (tmp_path / "x" / file).write_bytes(HOSTILE[name])
        tracemalloc.start()
        begun = time.perf_counter()
        try:
            with pytest.raises(InputError) as raised:
                read(tmp_path / "x")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert "\n" not in str(raised.value)
        assert time.perf_counter() - begun < 10
        assert peak < 50e6


def nested(depth, width=10):
    value = [0]
    for _ in range(depth):
        value = [value] * width
    return value


@pytest.mark.parametrize(
    ("file", "key"), [("data_batch_1", b"data"), ("data_batch_1", b"labels"), ("batches.meta", b"label_names")]
)
def test_lists_that_unfold_without_end(tmp_path, file, key):
    """A pickle of lists that hold the same list ten times is a few hundred bytes, and 10³⁰ numbers as an array or as text."""
    python10(tmp_path)
    entries = {b"data": pixels(3, 1), b"labels": [1] * 3, b"label_names": [b"a"] * 10} | {key: nested(30)}
    (tmp_path / file).write_bytes(pickle.dumps(entries, 2))
    with pytest.raises(
        InputError, match=r"must hold an? (array or a )?list of (numbers|names|`?)|must hold a list `label_names` of names"
    ):
        read(tmp_path)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_of_the_other_byte_order(tmp_path, protocol):
    """They were read as if they were of this machine's order; and reading must not change NumPy's own types."""
    python10(tmp_path)
    labels = np.array([1, 2, 3], ">i8" if np.little_endian else "<i8")
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": pixels(3, 1), b"labels": labels}, protocol))
    assert read(tmp_path).labels.tolist() == [1, 2, 3, 2, 2, 2]
    assert np.dtype("i8").isnative
    fortran = np.asfortranarray(pixels(3, 1))
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": fortran, b"labels": labels, b"again": labels}, protocol))
    found = read(tmp_path)
    assert np.array_equal(found.images[:3], as_pictures(pixels(3, 1)))
    assert found.labels.tolist() == [1, 2, 3, 2, 2, 2]
