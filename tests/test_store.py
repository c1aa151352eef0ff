"""Files that are whole or not there, safetensors, manifests and locks: on full, read-only and damaged disks too."""

import contextlib
import errno
import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from dataprune import store
from dataprune.errors import InputError, MachineError, StoreError
from dataprune.store import digests, files
from dataprune.tables import write_npy, write_table


@contextlib.contextmanager
def mounted(folder, *options):
    """Mount something at `folder` while the block runs; skip the test where that is not permitted."""
    try:
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """Give a folder on a disk of 3 MB."""
    (tmp_path / "small").mkdir()
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=3m", "tmpfs"):
        yield tmp_path / "small"


@pytest.fixture
def read_only(tmp_path):
    """Give a folder that cannot be written, not by root either, and that holds `old`."""
    (tmp_path / "ro").mkdir()
    (tmp_path / "ro" / "old").write_text("old")
    with mounted(tmp_path / "ro", "--bind", str(tmp_path / "ro")):
        remounted = subprocess.run(["mount", "-o", "remount,ro,bind", str(tmp_path / "ro")], capture_output=True)
        if remounted.returncode:
            pytest.skip("a read-only bind mount is not permitted")
        yield tmp_path / "ro"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestWriting:
    def test_the_file_appears_whole(self, tmp_path):
        path = tmp_path / "new" / "a.csv"
        with store.writing(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.suffix == ".csv"
            assert temporary.name.startswith(f".a.{os.getpid()}-")
            temporary.write_text("x")
            assert not path.exists()
        assert path.read_text() == "x"
        assert names(path.parent) == ["a.csv"]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_an_error_leaves_the_old_file(self, tmp_path, error):
        (tmp_path / "a.csv").write_text("old")

        def fail():
            with store.writing(tmp_path / "a.csv") as temporary:
                temporary.write_text("new")
                raise error

        with pytest.raises(error):
            fail()
        assert (tmp_path / "a.csv").read_text() == "old"
        assert names(tmp_path) == ["a.csv"]

    def test_mode_is_that_of_a_usual_file(self, tmp_path):
        (tmp_path / "usual").touch()
        with store.writing(tmp_path / "a") as temporary:
            temporary.unlink()
            temporary.touch(0o600)
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)

    @pytest.mark.parametrize("name", ["x" * 255, "é" * 120 + ".parquet", "a." + "y" * 200, "bytes-\udcff.csv", ".hidden"])
    def test_long_and_strange_names(self, tmp_path, name):
        with store.writing(tmp_path / name) as temporary:
            temporary.write_text("x")
            assert files._OURS.match(temporary.name)
        assert names(tmp_path) == [name]

    def test_a_name_too_long(self, tmp_path):
        with (
            pytest.raises(InputError, match=r"`x{40}\.\.\.` must be a shorter name, got 256 bytes"),
            store.writing(tmp_path / ("x" * 256)),
        ):
            pass

    def test_a_link_is_replaced_and_its_target_kept(self, tmp_path):
        (tmp_path / "precious").write_text("old")
        (tmp_path / "a").symlink_to(tmp_path / "precious")
        store.write_json(tmp_path / "a", 1)
        assert (tmp_path / "precious").read_text() == "old"
        assert not (tmp_path / "a").is_symlink()

    def test_folders_and_devices_are_refused(self, tmp_path):
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="folder` must be a file, got a folder"), store.writing(tmp_path / "folder"):
            pass
        with pytest.raises(InputError, match="pipe` must be a file, got a device or pipe"), store.writing(tmp_path / "pipe"):
            pass
        with pytest.raises(InputError, match="file` must be a folder, got a file"), store.writing(tmp_path / "file" / "a"):
            pass

    def test_the_error_of_another_file_stays_what_it_is(self, tmp_path):
        with pytest.raises(FileNotFoundError), store.writing(tmp_path / "a"):
            (tmp_path / "elsewhere" / "b").read_text()
        other = PermissionError(errno.EACCES, "no", str(tmp_path / "elsewhere"))
        with pytest.raises(PermissionError), store.writing(tmp_path / "a"):
            raise other

    def test_the_folder_and_the_file_are_synced_before_and_after(self, tmp_path, monkeypatch):
        events = []
        sync, replace = files.sync, Path.replace
        monkeypatch.setattr(files, "sync", lambda path: (events.append(("sync", path)), sync(path)))
        monkeypatch.setattr(Path, "replace", lambda self, to: (events.append(("rename", to)), replace(self, to))[1])
        with store.writing(tmp_path / "a") as temporary:
            temporary.write_text("x")
        assert events == [("sync", temporary), ("rename", tmp_path / "a"), ("sync", tmp_path)]

    def test_full_disk(self, small_disk):
        (small_disk / "a.npy").write_text("old")
        unknown_size = pytest.raises(MachineError, match=rf"^no space left in {small_disk}, needs more than about [0-3]\.\d MB\.$")
        with unknown_size, store.writing(small_disk / "a.npy") as temporary:
            write_npy(temporary, np.zeros(1_000_000))
        with pytest.raises(MachineError, match=rf"^no space left in {small_disk}, needs about 8\.0 MB\.$"):
            store.save_arrays(small_disk / "a.safetensors", {"x": np.zeros(1_000_000)}, {})
        for name in ("a.csv", "a.parquet"):
            with (
                pytest.raises(MachineError, match=rf"^no space left in {small_disk}"),
                store.writing(small_disk / name) as temporary,
            ):
                write_table(temporary, {"x": np.random.default_rng(0).random(1_000_000)})
        assert names(small_disk) == ["a.npy"]
        assert (small_disk / "a.npy").read_text() == "old"
        store.save_arrays(small_disk / "a.safetensors", {"x": np.zeros(100_000)}, {})
        assert names(small_disk) == ["a.npy", "a.safetensors"]

    def test_full_disk_before_work(self, small_disk):
        with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        with pytest.raises(MachineError, match=f"^no space left in {small_disk}"):
            store.check_writable(small_disk)

    def test_read_only_disk(self, read_only):
        for act in (
            lambda: store.check_writable(read_only),
            lambda: store.check_writable(read_only / "new" / "deep"),
            lambda: store.write_json(read_only / "old", 1),
            lambda: store.lock(read_only).__enter__(),
        ):
            with pytest.raises(MachineError, match=f"^cannot write in {read_only}.*: Read-only file system"):
                act()
        assert (read_only / "old").read_text() == "old"

    def test_check_writable_leaves_an_empty_folder(self, tmp_path):
        store.check_writable(tmp_path / "a" / "b")
        assert names(tmp_path / "a" / "b") == []
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="file` must be a folder, got a file"):
            store.check_writable(tmp_path / "file")
        with pytest.raises(InputError, match="must be a folder, got a file, or a path below one"):
            store.check_writable(tmp_path / "file" / "deep")

    def test_what_a_killed_writer_left_goes_when_the_file_is_written_again(self, tmp_path):
        script = (
            "import os, signal, sys; from pathlib import Path; from dataprune import store\n"
            "with store.writing(Path(sys.argv[1])) as temporary:\n"
            "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        for name in ("a.json", "b.json"):
            killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / name)])
            assert killed.returncode == -signal.SIGKILL
        killed_a = next(name for name in names(tmp_path) if name.startswith(".a."))
        before, mark = killed_a.split("-")[0], killed_a.split("-")[1][:4]
        others = [
            f".a.{os.getpid()}-{mark}abcd.tmp.json",  # at work
            f".a.99999999999999999999-{mark}abcd.tmp.json",  # no process that could be asked about
            f"{before}-{int(mark, 16) ^ 1:04x}abcd.tmp.json",  # of another machine, where that process may be at work
        ]
        for name in others:
            (tmp_path / name).touch()
        assert len(names(tmp_path)) == 5
        store.write_json(tmp_path / "a.json", "whole")
        left = [name for name in names(tmp_path) if name.startswith(".b.")]
        assert names(tmp_path) == sorted([*others, "a.json", *left])
        assert len(left) == 1, "that of another file is not touched"
        (tmp_path / f"{before.replace('.a.', '.probe.')}-{mark}abcd.tmp").touch()
        store.check_writable(tmp_path)
        assert not [name for name in names(tmp_path) if name.startswith(".probe.")]

    def test_a_killed_writer_leaves_the_old_file(self, tmp_path):
        store.write_json(tmp_path / "a.json", "old")
        (tmp_path / "deep").mkdir()
        script = (
            "import os, signal, sys; from pathlib import Path; from dataprune import store\n"
            "path = Path(sys.argv[1])\n"
            "with store.writing(path) as a, store.writing(path.parent / 'deep' / 'b') as b:\n"
            "    a.write_text('half'); b.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.json")])
        assert killed.returncode == -signal.SIGKILL
        assert store.read_json(tmp_path / "a.json") == "old"
        assert len(names(tmp_path)) == 3
        (tmp_path / ".mine.tmp").touch()
        (tmp_path / "notes.12-ab.tmp.txt").touch()
        store.sweep(tmp_path)
        assert names(tmp_path) == [".mine.tmp", "a.json", "deep", "notes.12-ab.tmp.txt"]
        assert names(tmp_path / "deep") == []


class TestJson:
    def test_text_by_hand(self, tmp_path):
        store.write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "é\udcff"})
        assert (tmp_path / "a.json").read_text() == '{\n  "a": "\\u00e9\\udcff",\n  "b": [\n    1,\n    2.5\n  ]\n}\n'
        assert store.read_json(tmp_path / "a.json") == {"b": [1, 2.5], "a": "é\udcff"}

    @pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}])
    def test_nan_is_refused(self, tmp_path, value):
        with pytest.raises(InputError, match=r"`a\.json` must hold finite numbers only, got"):
            store.write_json(tmp_path / "a.json", value)
        with pytest.raises(InputError, match="must hold finite numbers only"):
            store.canonical_json(value)
        assert names(tmp_path) == []

    @pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": NaN}', b"\xff\xfe\xff", b"[" * 100_000])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(StoreError, match=r"a\.json` is damaged: no valid JSON \(.+\)\.$"):
            store.read_json(tmp_path / "a.json")

    def test_missing(self, tmp_path):
        with pytest.raises(StoreError, match=r"a\.json` is missing, or no file\."):
            store.read_json(tmp_path / "a.json")

    def test_canonical_form_does_not_depend_on_the_kind_of_keys(self):
        assert store.canonical_json({10: 1, 9: 2}) == store.canonical_json({"10": 1, "9": 2}) == '{"10":1,"9":2}'


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
        assert read.names == sorted(arrays) == sorted(by_library)
        for name, array in arrays.items():
            assert name in read
            assert read[name].dtype == read.dtype(name) == array.dtype.newbyteorder("=")
            assert read[name].shape == read.shape(name) == array.shape
            np.testing.assert_array_equal(read[name], array)
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
        part = store.open_arrays(tmp_path / "a")["x"][:, 1:3]
        assert part.tolist() == [[1, 2], [5, 6], [9, 10]]
        assert not part.flags.writeable
        base = part
        while not isinstance(base, np.memmap):
            base = base.base
        with pytest.raises(KeyError, match="holds x, not 'y'"):
            store.open_arrays(tmp_path / "a")["y"]

    def test_larger_than_a_block(self, tmp_path, monkeypatch):
        monkeypatch.setattr(digests, "_BLOCK_BYTES", 64)
        x = np.arange(1000.0).reshape(50, 20).T
        store.save_arrays(tmp_path / "a", {"x": x}, {})
        np.testing.assert_array_equal(store.open_arrays(tmp_path / "a")["x"], x)

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
        with pytest.raises(StoreError, match=r"a` is damaged, or no array file of dataprune: .+\.$"):
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
            assert sum(read[name].size for name in read.names) < 100

    def test_foreign_files(self, tmp_path):
        save_file({"x": np.zeros(3)}, tmp_path / "a")
        with pytest.raises(StoreError, match="it has no `dataprune` metadata"):
            store.open_arrays(tmp_path / "a")
        save_file({"x": np.zeros(3)}, tmp_path / "a", {"dataprune": "[]"})
        with pytest.raises(StoreError, match="its `dataprune` metadata is no table"):
            store.open_arrays(tmp_path / "a")
        header = json.dumps(
            {"__metadata__": {"dataprune": "{}"}, "x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
        ).encode()
        (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
        with pytest.raises(StoreError, match="holds 'x' as BF16, which NumPy cannot read"):
            store.open_arrays(tmp_path / "a")
        with pytest.raises(StoreError, match="b` is missing, or no file"):
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
        monkeypatch.setattr(digests, "_BLOCK_BYTES", 50)
        assert store.array_digest(x) == whole
        assert store.array_digest(np.array(1.0)) != store.array_digest(np.array([1.0]))
        with pytest.raises(InputError, match="`array` must hold numbers, got object"):
            store.array_digest(np.array([{}]))


@pytest.fixture
def run(tmp_path):
    """Give a folder with two files and their manifest."""
    (tmp_path / "trace").mkdir()
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "trace" / "b").write_bytes(b"")
    store.write_manifest(tmp_path, "run.json", {"seed": 1, "by": {1: 2.5}}, ["a", "trace/b"])
    return tmp_path


def edited(run, change, resign=True):
    manifest = json.loads((run / "run.json").read_text())
    change(manifest)
    if resign:
        manifest.pop("sha256", None)
        manifest["sha256"] = hashlib.sha256(store.canonical_json(manifest).encode()).hexdigest()
    store.write_json(run / "run.json", manifest)


class TestManifest:
    def test_by_hand(self, run):
        manifest = store.read_manifest(run, "run.json", check=True)
        digest = manifest.pop("sha256")
        assert manifest == {
            "seed": 1,
            "by": {"1": 2.5},
            "format": 1,
            "files": {
                "a": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()},
                "trace/b": {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            },
        }
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
        assert digest == hashlib.sha256(text.encode()).hexdigest()
        assert store.faults(run, "run.json") == []

    def test_faults_in_words(self, run):
        (run / "a").write_bytes(b"abd")
        (run / "trace" / "b").unlink()
        assert store.faults(run, "run.json") == ["a has another checksum than when it was written", "trace/b is missing"]
        (run / "a").write_bytes(b"ab")
        assert store.faults(run, "run.json")[0] == "a has 2 bytes instead of 3"
        assert store.read_manifest(run, "run.json")["seed"] == 1
        with pytest.raises(StoreError, match=r"is damaged: a has 2 bytes instead of 3, trace/b is missing\."):
            store.read_manifest(run, "run.json", check=True)

    def test_a_pipe_in_place_of_a_file_is_not_waited_for(self, run):
        (run / "a").unlink()
        os.mkfifo(run / "a")
        assert store.faults(run, "run.json") == ["a is missing"]

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match=rf"`{tmp_path}` must hold run\.json, there is none\."):
            store.read_manifest(tmp_path, "run.json")

    def test_every_flipped_bit_is_found(self, run):
        raw = (run / "run.json").read_bytes()
        # A blank may become another blank, or the end of a line a blank: JSON says the same then.
        places = [at for at, byte in enumerate(raw) if byte not in b" \n"]
        for at in places[::3]:
            damaged = bytearray(raw)
            damaged[at] ^= 1 << (at % 7)
            (run / "run.json").write_bytes(damaged)
            with pytest.raises(StoreError, match=r"run\.json` (is damaged|has format)"):
                store.read_manifest(run, "run.json")

    def test_edited(self, run):
        edited(run, lambda manifest: manifest.update(seed=2), resign=False)
        with pytest.raises(StoreError, match=r"run\.json` is damaged or was edited: its checksum does not fit"):
            store.read_manifest(run, "run.json")

    @pytest.mark.parametrize(
        ("version", "message"),
        [
            (2, r"has format 2, this version reads format 1\. It is from a newer dataprune: upgrade\."),
            (0, r"has format 0, this version reads format 1\. It is from an older dataprune: write it anew\."),
            ("1", "is damaged: it is no manifest of dataprune"),
        ],
    )
    def test_other_versions(self, run, version, message):
        edited(run, lambda manifest: manifest.update(format=version))
        with pytest.raises(StoreError, match=message):
            store.read_manifest(run, "run.json")

    @pytest.mark.parametrize("content", ["[]", "{}", '{"format": 1, "files": []}'])
    def test_no_manifest(self, run, content):
        (run / "run.json").write_text(content)
        with pytest.raises(StoreError, match="is damaged: it is no manifest of dataprune"):
            store.read_manifest(run, "run.json")

    @pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a/../../b", "", "a\\b", "a\0b"])
    def test_paths_that_escape(self, run, path):
        edited(run, lambda manifest: manifest["files"].update({path: manifest["files"]["a"]}))
        with pytest.raises(StoreError, match="names a file outside of it"):
            store.read_manifest(run, "run.json")
        with pytest.raises(StoreError, match="names a file outside of it"):
            store.write_manifest(run, "run.json", {}, [path])

    def test_an_entry_without_size(self, run):
        edited(run, lambda manifest: manifest["files"].update(a=3))
        with pytest.raises(StoreError, match="does not say size and checksum of 'a'"):
            store.read_manifest(run, "run.json")


class TestLock:
    def test_the_second_says_who_holds_it(self, tmp_path):
        with store.lock(tmp_path / "out"):
            holder = rf"process {os.getpid()} on {socket.gethostname()} since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d.*"
            with (
                pytest.raises(InputError, match=rf"out` is in use by {holder}; wait for it or pass --wait\."),
                store.lock(tmp_path / "out"),
            ):
                pass
            (tmp_path / "out" / ".lock-holder.json").write_text("{}")
            with pytest.raises(InputError, match="is in use by another process;"), store.lock(tmp_path / "out"):
                pass
        with store.lock(tmp_path / "out"):
            pass
        assert not (tmp_path / "out" / ".lock-holder.json").exists()

    def test_it_is_let_go_after_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="x"), store.lock(tmp_path):
            raise ValueError("x")
        with store.lock(tmp_path):
            pass

    def test_waiting(self, tmp_path):
        order = []

        def second():
            with store.lock(tmp_path, wait=True):
                order.append("second")

        thread = threading.Thread(target=second)
        with store.lock(tmp_path):
            thread.start()
            time.sleep(0.2)
            order.append("first")
        thread.join(timeout=10)
        assert order == ["first", "second"]

    def test_the_kernel_lets_go_of_a_killed_holder(self, tmp_path):
        script = (
            "import sys, time; from pathlib import Path; from dataprune import store\n"
            "with store.lock(Path(sys.argv[1])):\n"
            "    print('held', flush=True); time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(InputError, match=f"is in use by process {holder.pid} on "), store.lock(tmp_path):
                pass
            holder.kill()
            holder.wait()
        assert (tmp_path / ".lock-holder.json").exists()
        with store.lock(tmp_path):
            assert store.read_json(tmp_path / ".lock-holder.json")["pid"] == os.getpid()
