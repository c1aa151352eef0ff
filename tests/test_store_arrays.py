"""Arrays in safetensors, and the digests of files and arrays: bytes by hand and by the library, damage, foreign files."""

import contextlib
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from dataprune import store
from dataprune.errors import InputError, StoreError
from dataprune.store import arrays as store_arrays
from machine_kit import names

ARRAYS = hnp.arrays(
    dtype=st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(endianness="?"),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
    ),
    shape=hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
)


class TestArrays:
    @settings(max_examples=40, deadline=None)
    @given(arrays=st.dictionaries(st.sampled_from(["a", "a.b.c", "é", "info"]), ARRAYS, max_size=3))
    def test_come_back(self, tmp_path_factory, arrays):
        path = tmp_path_factory.getbasetemp() / "arrays.safetensors"
        store.save_arrays(path, arrays, {"epoch": 3})
        read, by_library = store.open_arrays(path), load_file(path)
        assert read.info == {"epoch": 3}
        assert list(read.arrays) == sorted(arrays) == sorted(by_library)
        for name, array in arrays.items():
            assert read.arrays[name].dtype == array.dtype.newbyteorder("=")
            assert read.arrays[name].shape == array.shape
            np.testing.assert_array_equal(read.arrays[name], array)
            np.testing.assert_array_equal(by_library[name], array)

    def test_bytes_are_those_of_the_library(self, tmp_path):
        arrays = {"b": np.arange(3), "a": np.arange(2, dtype=np.float32), "c": np.arange(2), "d": np.array([True])}
        store.save_arrays(tmp_path / "ours", arrays, {"b": 1, "a": 2})
        save_file(arrays, tmp_path / "theirs", {"dataprune": '{"a":2,"b":1}'})
        assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()

    def test_equal_input_gives_equal_bytes(self, tmp_path):
        x = np.arange(12.0).reshape(3, 4)
        store.save_arrays(tmp_path / "a", {"x": x, "y": x[0]}, {"p": 1, "q": [2]})
        store.save_arrays(tmp_path / "b", {"y": x[0].astype(">f8"), "x": np.asfortranarray(x)}, {"q": [2], "p": 1})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_views_are_of_the_mapped_file_and_read_only(self, tmp_path):
        store.save_arrays(tmp_path / "a", {"x": np.arange(12.0).reshape(3, 4)}, {})
        part = store.open_arrays(tmp_path / "a").arrays["x"][:, 1:3]
        assert part.tolist() == [[1, 2], [5, 6], [9, 10]]
        assert not part.flags.writeable
        base = part
        while not isinstance(base, np.memmap):
            base = base.base

    @pytest.mark.parametrize("array", [np.array(["a"]), np.array([1j]), np.array([{}]), np.zeros(1, np.longdouble)])
    def test_other_dtypes_are_refused(self, tmp_path, array):
        with pytest.raises(InputError, match="`x` must be an array of BOOL, U8"):
            store.save_arrays(tmp_path / "a", {"x": array}, {})
        assert names(tmp_path) == []

    @pytest.mark.parametrize(
        "damage",
        [
            lambda raw: raw[:-1],
            lambda raw: raw + b"x",
            lambda raw: b"",
            lambda raw: raw[:5],
            lambda raw: b"\xff" * 8 + raw[8:],
            lambda raw: raw.replace(b"[0,24]", b"[0,16]"),
            lambda raw: raw.replace(b"[0,24]", b"[8,32]"),
            lambda raw: raw.replace(b"[3]", b"[9]"),
            lambda raw: raw.replace(b'"F64"', b'"X64"'),
            lambda raw: raw.replace(b'\\"epoch\\":3}', b'\\"epoch\\":3 '),
            lambda raw: raw.replace(b"dataprune", b"dataprunE"),
        ],
    )
    def test_damaged_headers(self, tmp_path, damage):
        store.save_arrays(tmp_path / "a", {"x": np.zeros(3)}, {"epoch": 3})
        raw = (tmp_path / "a").read_bytes()
        assert damage(raw) != raw
        (tmp_path / "a").write_bytes(damage(raw))
        with pytest.raises(StoreError, match=r"a` is damaged, or not an array file of dataprune: .+\.$"):
            store.open_arrays(tmp_path / "a")

    @settings(max_examples=40, deadline=None)
    @given(at=st.integers(0, 200), bit=st.integers(0, 7))
    def test_any_flipped_bit_of_the_header_is_survived(self, tmp_path_factory, at, bit):
        path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
        store.save_arrays(path, {"x": np.zeros(3), "y": np.zeros(2, np.int8)}, {"epoch": 3})
        raw = bytearray(path.read_bytes())
        raw[at % len(raw)] ^= 1 << bit
        path.write_bytes(raw)
        with contextlib.suppress(StoreError):
            read = store.open_arrays(path)
            assert sum(array.size for array in read.arrays.values()) < 100

    def test_foreign_files(self, tmp_path):
        save_file({"x": np.zeros(3)}, tmp_path / "a")
        with pytest.raises(StoreError, match="it has no `dataprune` metadata"):
            store.open_arrays(tmp_path / "a")
        save_file({"x": np.zeros(3)}, tmp_path / "a", {"dataprune": "[]"})
        with pytest.raises(StoreError, match="its `dataprune` metadata is not a table"):
            store.open_arrays(tmp_path / "a")
        header = json.dumps(
            {"__metadata__": {"dataprune": "{}"}, "x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
        ).encode()
        (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
        with pytest.raises(StoreError, match="holds 'x' as BF16, which NumPy cannot read"):
            store.open_arrays(tmp_path / "a")
        with pytest.raises(StoreError, match="b` is missing, or not a file"):
            store.open_arrays(tmp_path / "b")


class TestDigests:
    def test_sha256(self, tmp_path):
        (tmp_path / "a").write_bytes(b"abc")
        assert store.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()

    def test_array_digest_by_hand(self):
        array = np.array([[1, 2], [3, 4]], np.uint8)
        assert store.array_digest(array) == hashlib.sha256(b"|u1 (2, 2) \x01\x02\x03\x04").hexdigest()

    def test_array_digest_sees_values_shape_and_dtype_but_not_layout(self, tmp_path, monkeypatch):
        x = np.arange(24, dtype=np.int32).reshape(4, 6)
        whole = store.array_digest(x)
        np.save(tmp_path / "x.npy", x)
        for same in (x.astype(">i4"), np.asfortranarray(x), x[::-1][::-1], np.load(tmp_path / "x.npy", mmap_mode="r")):
            assert store.array_digest(same) == whole
        for other in (x + 1, x.reshape(6, 4), x.astype(np.uint32), x.T):
            assert store.array_digest(other) != whole
        monkeypatch.setattr(store_arrays, "_BLOCK_BYTES", 50)
        assert store.array_digest(x) == whole
        assert store.array_digest(np.array(1.0)) != store.array_digest(np.array([1.0]))
        with pytest.raises(InputError, match="`array` must hold numbers, got object"):
            store.array_digest(np.array([{}]))
