"""The packed cache: one decoding, found again, checked, rebuilt when damaged, one writer."""

import logging
import os
import stat
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataprune.data import pack, read
from dataprune.data import source as source_module
from dataprune.data.pack import Form, measured
from dataprune.data.source import Pictures, read_file
from dataprune.errors import InputError, MachineError, StoreError


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache that holds nothing but what the test put there."""
    monkeypatch.setenv("DATAPRUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path):
    """Six noisy pictures of two classes."""
    rng = np.random.default_rng(0)
    for row in range(6):
        path = tmp_path / "data" / "ab"[row % 2] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


@pytest.fixture
def decodings(monkeypatch):
    """Count how often pictures are decoded."""
    calls = []
    build = pack._build
    monkeypatch.setattr(pack, "_build", lambda *arguments: (calls.append(arguments[1]), build(*arguments)))
    return calls


def packs(folder):
    return list((folder / "packs").iterdir())


def test_decoded_once(own_cache, source, decodings):
    first, again = read(source), read(source)
    assert len(decodings) == 1
    assert first.fingerprint == again.fingerprint
    assert isinstance(again.images, np.memmap)
    assert again.pack == packs(own_cache)[0]
    names = {path.name for path in again.pack.iterdir()}
    assert names - {".lock"} == {"pixels.npy", "digests.npy", "manifest.json"}
    assert first.content_digest == first.take(np.arange(6)).content_digest
    from dataprune.store import array_digest

    assert first.content_digest == array_digest(np.array(first.images))


def test_key_follows_files_and_size(own_cache, source, decodings):
    read(source)
    read(source, image_size=16)
    assert len(packs(own_cache)) == 2
    changed = source / "a" / "0.png"
    Image.new("RGB", (8, 8)).save(changed)
    assert not read(source).images[0].any()
    os.utime(changed, ns=(1, 1))
    read(source)
    assert len(decodings) == 4


def test_labels_are_no_part_of_the_pack(own_cache, source, decodings, tmp_path):
    (tmp_path / "l.csv").write_text("label\n" + "b\na\n" * 3)
    assert read(source).pack == read(source, labels=tmp_path / "l.csv").pack
    assert len(decodings) == 1


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", ["bit", "cut", "missing", "manifest", "header"])
def test_a_damaged_pack_is_said_and_rebuilt(own_cache, source, decodings, caplog, damage):
    before = read(source)
    wanted = np.array(before.images)
    pixels = before.pack / "pixels.npy"
    del before
    if damage == "bit":
        flip(pixels, 500)
    elif damage == "cut":
        os.truncate(pixels, 200)
    elif damage == "missing":
        pixels.unlink()
    elif damage == "header":
        flip(pixels, 20)
    else:
        flip(pixels.parent / "manifest.json", 20)
    with caplog.at_level(logging.WARNING):
        found = read(source)
    assert np.array_equal(found.images, wanted)
    assert len(decodings) == 2
    assert "decoded again" in caplog.text
    assert "damaged" in caplog.text
    caplog.clear()
    read(source)
    assert not caplog.text


def test_verify(own_cache, source):
    found = read(source)
    pack.verify(found)
    flip(found.pack / "pixels.npy", 600)
    with pytest.raises(StoreError, match="damaged: checksum of block 0 of 1 is wrong"):
        pack.verify(found)


def test_large_packs_are_opened_without_hashing_and_verified_when_asked(own_cache, source, monkeypatch):
    found = read(source)
    monkeypatch.setattr(pack, "CHECK_BYTES", 100)
    flip(found.pack / "pixels.npy", 600)
    again = read(source)
    with pytest.raises(StoreError, match="checksum"):
        pack.verify(again)


def test_blocks(own_cache, source, monkeypatch):
    monkeypatch.setattr(pack, "BLOCK_BYTES", 256)
    found = read(source)
    flip(found.pack / "pixels.npy", 700)
    with pytest.raises(StoreError, match="block 2 of 5 is wrong"):
        pack.verify(found)


def test_a_half_written_pack_is_never_used(own_cache, source, decodings):
    found = read(source)
    wanted = np.array(found.images)
    (found.pack / "manifest.json").unlink()
    (found.pack / ".pixels.1-0badbeef.tmp.npy").write_bytes(b"left by a killed writer")
    assert np.array_equal(read(source).images, wanted)
    assert len(decodings) == 2
    assert not list(found.pack.glob("*.tmp*"))


def test_an_interruption_leaves_nothing_that_is_used(own_cache, source, monkeypatch):
    class Stop(Exception):
        pass

    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        read(source, progress=stop)
    folder = packs(own_cache)[0]
    assert not list(folder.glob("*.npy"))
    assert not (folder / "manifest.json").exists()
    assert len(read(source)) == 6


def test_progress_counts_all_pictures(own_cache, source):
    seen = []
    read(source, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)


def test_processes_and_serial_give_the_same_pack(own_cache, source, monkeypatch, tmp_path):
    (source / "a" / "bad.png").write_text("x")
    serial = read(source, on_error="skip")
    monkeypatch.setattr(pack, "PROCESSES_FROM_COUNT", 0)
    monkeypatch.setenv("DATAPRUNE_CACHE", str(tmp_path / "other"))
    seen = []
    parallel = read(source, on_error="skip", workers=2, progress=lambda done, total: seen.append(done))
    assert parallel.fingerprint == serial.fingerprint
    assert parallel.skipped == serial.skipped
    assert parallel.pack != serial.pack
    assert seen[-1] == 7


def test_two_at_once_decode_once(own_cache, source, decodings):
    found = []
    threads = [threading.Thread(target=lambda: found.append(read(source))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decodings) == 1
    assert len({data.fingerprint for data in found}) == 1


@pytest.mark.parametrize("bad_rows", [[0], [5], [1, 2, 4], [0, 1, 2, 3, 4]])
def test_rows_that_cannot_be_decoded_leave_no_gap(own_cache, source, bad_rows, monkeypatch):
    monkeypatch.setattr(pack, "BLOCK_BYTES", 200)  # one picture a block, so that rows move in several steps
    wanted = np.array(read(source).images)
    ids = read(source).ids.tolist()
    for row in bad_rows:
        (source / ids[row]).write_text("damaged")
    found = read(source, on_error="skip")
    keep = [row for row in range(6) if row not in bad_rows]
    assert np.array_equal(found.images, wanted[keep])
    assert found.ids.tolist() == [ids[row] for row in keep]
    assert [item.path for item in found.skipped] == [ids[row] for row in bad_rows]
    assert np.array_equal(read(source, on_error="skip").images, wanted[keep])


def test_several_buffers_and_chunks(own_cache, source, monkeypatch):
    wanted = np.array(read(source).images)
    monkeypatch.setattr(pack, "BUFFER_BYTES", 2 * 192)
    monkeypatch.setattr(source_module, "CHUNK", 4)
    (source / "a" / "0.png").touch()
    assert np.array_equal(read(source).images, wanted)


def test_a_full_disk_is_said(own_cache, source, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MachineError, match=r"no space left in .*needs about 0\.1 MB"):
        read(source)
    assert not [path for path in packs(own_cache)[0].iterdir() if "pixels" in path.name]


def test_a_cache_that_cannot_be_written_is_said(own_cache, source):
    own_cache.write_text("a file where the folder should be")
    with pytest.raises((MachineError, InputError), match="cache"):
        read(source)


def test_root(monkeypatch, tmp_path):
    monkeypatch.setenv("DATAPRUNE_CACHE", str(tmp_path))
    assert pack.cache_root() == (tmp_path, None)
    monkeypatch.delenv("DATAPRUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert pack.cache_root() == (tmp_path / "xdg" / "dataprune", None)


def test_without_a_home_the_temporary_folder_is_used_and_said(monkeypatch, tmp_path, source):
    import platformdirs

    monkeypatch.delenv("DATAPRUNE_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: Path("~/.cache"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    root, note = pack.cache_root()
    assert root.parent == tmp_path / "tmp"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert "cannot be used: decoded pictures are kept in" in note
    assert note in read(source).notes


def test_choose_size_by_the_headers(tmp_path):
    def listing(*sides):
        paths = []
        for index, (height, width) in enumerate(sides):
            path = tmp_path / f"{len(sides)}-{index}.png"
            Image.new("RGB", (width, height)).save(path)
            paths.append(str(path))
        return Pictures.of([partial(read_file, path) for path in paths], (), 0)

    assert measured(listing((32, 32), (32, 32)), Form(), 1).size == 32
    assert measured(listing((128, 128)), Form(), 1).size == 128
    assert measured(listing((129, 129), (129, 129)), Form(), 1).size == 128
    assert measured(listing((30, 60), (60, 31), (100, 50)), Form(), 1).size == 24  # median short side 31
    assert measured(listing((5, 6), (5, 6), (5, 6), (5, 6)), Form(), 1).size == 8
    broken = tmp_path / "broken.png"
    broken.write_text("x")
    assert measured(Pictures.of([partial(read_file, str(broken))], (), 0), Form(), 1).size == 8


def test_a_header_beyond_the_first_bytes_is_found(tmp_path):
    big = tmp_path / "a.jpg"
    Image.new("RGB", (24, 24)).save(big, icc_profile=bytes(200_000))
    assert measured(Pictures.of([partial(read_file, str(big))], (), 0), Form(), 1).size == 24
