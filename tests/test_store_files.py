"""Files that are whole or not there: on full and read-only disks too, and after a kill."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataprune import store
from dataprune.errors import InputError, MachineError
from dataprune.store import files
from dataprune.tables import write_npy, write_table
from machine_kit import fill, names


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
        place = small_disk(3_000)
        (place / "a.npy").write_text("old")
        unknown_size = pytest.raises(MachineError, match=rf"^no space left in {place}, needs more than about [0-3]\.\d MB\.$")
        with unknown_size, store.writing(place / "a.npy") as temporary:
            write_npy(temporary, np.zeros(1_000_000))
        with pytest.raises(MachineError, match=rf"^no space left in {place}, needs about 8\.0 MB\.$"):
            store.save_arrays(place / "a.safetensors", {"x": np.zeros(1_000_000)}, {})
        for name in ("a.csv", "a.parquet"):
            with (
                pytest.raises(MachineError, match=rf"^no space left in {place}"),
                store.writing(place / name) as temporary,
            ):
                write_table(temporary, {"x": np.random.default_rng(0).random(1_000_000)})
        assert names(place) == ["a.npy"]
        assert (place / "a.npy").read_text() == "old"
        store.save_arrays(place / "a.safetensors", {"x": np.zeros(100_000)}, {})
        assert names(place) == ["a.npy", "a.safetensors"]

    def test_full_disk_before_work(self, small_disk):
        place = small_disk(3_000)
        fill(place)
        with pytest.raises(MachineError, match=f"^no space left in {place}"):
            store.check_writable(place)

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
