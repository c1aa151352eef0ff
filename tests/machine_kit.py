"""A machine that lacks something: a disk that is small, full or not to be written, little memory. And what lies in a folder.

Each needs rights that a test may not have, which is then skipped; each is taken back afterwards, also where the test fails.
"""

import contextlib
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(place, kilobytes):
    """Make `place` an empty folder on a disk of its own while the block runs, and give it."""
    place.mkdir()
    with _mounted(place, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"):
        yield place


def give_room(place, kilobytes=50_000):
    """Make the disk at `place` so large; what lies there stays."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(place)], check=True)


def fill(place, but=0):
    """Write a file `filler` into `place` until its disk is full, but for so many bytes."""
    with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    os.truncate(place / "filler", (place / "filler").stat().st_size - but)


@contextlib.contextmanager
def read_only(place):
    """Make `place` a folder that cannot be written, not by root either, and that holds `old`; give it."""
    place.mkdir()
    (place / "old").write_text("old")
    with _mounted(place, "--bind", str(place)):
        _or_skip(["mount", "-o", "remount,ro,bind", str(place)])
        yield place


@contextlib.contextmanager
def memory_limit():
    """Yield a function that puts the process which calls it under a limit of so many megabytes, as a container has one."""
    folders = {"memory.max": Path("/sys/fs/cgroup"), "memory.limit_in_bytes": Path("/sys/fs/cgroup/memory")}
    for name, root in folders.items():
        group = root / f"dataprune-tests-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / name).exists():
            break
        group.rmdir()
    else:
        pytest.skip("no memory limit can be set here")

    def limit(megabytes):
        (group / name).write_text(str(megabytes << 20))
        (group / "cgroup.procs").write_text(str(os.getpid()))

    try:
        yield limit
    finally:
        end = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < end:  # what cleans up after the process
            time.sleep(0.01)
        group.rmdir()


def names(folder):
    """Name what lies in a folder, hidden files too, in order."""
    return sorted(path.name for path in Path(folder).iterdir())


@contextlib.contextmanager
def _mounted(place, *options):
    _or_skip(["mount", *options, str(place)])
    # Waits for the end of the block, or of this process, however that ends: no mount outlives it. A test that failed may still
    # hold a file of that disk open, and so may arrays that are mapped from it.
    script = f"read -r _; umount {shlex.quote(str(place))} 2>&- || umount -l {shlex.quote(str(place))}"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True) as guard:
        yield
        guard.communicate()
    assert guard.returncode == 0, f"{place} is still mounted"


def _or_skip(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
