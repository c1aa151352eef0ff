"""Files that are always whole: replaced atomically and durably, also on full, read-only and failing disks; a lock on a folder."""

import errno
import filecmp
import hashlib
import json
import os
import platform
import re
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from dataprune.errors import InputError, MachineError, StoreError, invalid, one_line

_OURS = re.compile(r"^\.(.*)\.(\d+)-([0-9a-f]{4})[0-9a-f]{4}\.tmp(\.[^.]*)?$", re.DOTALL)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_ACCESS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.ENOENT, errno.ESTALE)


@contextmanager
def writing(path: Path, needs_bytes: int | None = None, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, of its suffix; when the block ends well it takes the place of `path`, durably.

    At whatever moment the block is killed, the old file stays as it was; what killed writers of it left is removed. Missing parents
    are made. A symbolic link at `path` is replaced, not followed. A full disk or a folder that may not be written is a
    MachineError, which says what the work `needs_bytes`; a path that can be no file, or holds something else without `overwrite`,
    an InputError.
    """
    temporary = _temporary(path)
    with _explained(path, temporary, needs_bytes):
        if path.exists() and not path.is_file():
            raise invalid(str(path), "be a file", "a folder" if path.is_dir() else "a device or pipe", "Name another path.")
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_killed(temporary)
        temporary.open("xb").close()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        if not overwrite and path.exists() and not filecmp.cmp(path, temporary, shallow=False):
            raise taken(path)
        # A library may have put another file, with its own mode, in the place of the one that was created here.
        temporary.chmod(mode)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


def taken(path: Path, what: str = "") -> InputError:
    """Build the error for an output, or `what` it needs, that would be replaced."""
    return InputError(
        f"`out` {path} {what}{what and ' '}is there already and holds other things. Name another file, or give --overwrite."
    )


@contextmanager
def room(folder: Path, needs_bytes: int | None = None) -> Iterator[None]:
    """Turn what a full disk, or a folder that may not be written, raises in the block into a MachineError; of many files."""
    try:
        yield
    except OSError as error:
        _refuse(error, folder, "" if needs_bytes is None else f", needs about {_megabytes(needs_bytes)}")
        raise


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left in `folder` and below. Call it under the folder's lock."""
    for root, _, names in os.walk(folder):
        for name in names:
            if _OURS.match(name):
                with suppress(OSError):
                    Path(root, name).unlink()


def check_writable(folder: Path) -> None:
    """Make `folder` where it is missing and write a probe into it, so that long work does not end in a surprise. A
    FileNotFoundError says that somebody removed `folder` right after it was made; to try again is worth it."""
    probe = _temporary(folder / "probe")
    with _explained(folder / "probe", probe, 4096):
        folder.mkdir(parents=True, exist_ok=True)
    with _explained(folder / "probe", probe, 4096, passes=FileNotFoundError):
        _forget_killed(probe)
        probe.write_bytes(bytes(4096))


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON with sorted keys, atomically; NaN and infinity, which JSON cannot say, are an InputError."""
    try:
        text = json_text(value)
    except ValueError as error:
        raise invalid(path.name, "hold finite numbers only", str(error)) from error
    with writing(path, len(text)) as temporary:
        temporary.write_bytes(text)


def json_text(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode("ascii")


def read_json(path: Path) -> Any:
    """Read a JSON file of ours; one that is missing, no regular file or not valid JSON is a StoreError."""
    if not path.is_file():
        raise StoreError(f"`{path}` is missing, or not a file.")
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"`{path}` is damaged: not valid JSON ({one_line(error)}).") from error


def _temporary(path: Path) -> Path:
    # 255 bytes is the longest name on common file systems; no format of ours has a suffix of more than 32.
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 32 else ""
    stem = os.fsencode(path.stem)[:150].decode(errors="ignore")
    # Four letters by which a machine, or a container, knows its own: elsewhere the same number is another process.
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:4]
    return path.with_name(f".{stem}.{os.getpid()}-{machine}{secrets.token_hex(2)}.tmp{suffix}")


def _forget_killed(temporary: Path) -> None:
    """Remove temporary files of the same target whose writers, processes of this machine, are no more."""
    own = _OURS.match(temporary.name)
    assert own is not None, "named by `_temporary`"
    for file in temporary.parent.iterdir():
        other = _OURS.match(file.name)
        if other is not None and other.group(1, 3, 4) == own.group(1, 3, 4) and not _is_alive(int(other[2])):
            with suppress(OSError):
                file.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0) if os.name == "posix" else None
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path, temporary: Path, needs_bytes: int | None, passes: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Raise what the file system said of `path` in words, unless of another file or `passes`; remove `temporary`."""
    try:
        yield
    except passes:
        raise
    except OSError as error:
        about = None if error.filename is None else Path(os.fsdecode(error.filename))
        if about is not None and about not in (temporary, path, *path.parents):
            raise
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise invalid(str(path.parent), "be a folder", "a file, or a path below one", "Name another path.") from error
        if error.errno == errno.ENAMETOOLONG:
            raise invalid(path.name[:40] + "...", "be a shorter name", f"{len(os.fsencode(path.name))} bytes") from error
        written = temporary.stat().st_size if temporary.exists() else 0
        more = "more than " if needs_bytes is None else ""
        _refuse(error, path.parent, f", needs {more}about {_megabytes(needs_bytes or written)}")
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def _refuse(error: OSError, folder: Path, needs: str) -> None:
    """Raise what it means that a disk is full, or that a folder may not be written."""
    if error.errno in _NO_SPACE:
        raise MachineError(f"no space left in {folder}{needs}.") from error
    if error.errno in _NO_ACCESS:
        raise MachineError(f"cannot write in {folder}: {error.strerror}.") from error


def _megabytes(n_bytes: int) -> str:
    return f"{max(n_bytes / 1e6, 0.1):.1f} MB"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


@contextmanager
def lock(
    folder: Path, wait: bool = False, *, name: Path | None = None, cure: str = "wait for it or pass --wait."
) -> Iterator[None]:
    """Be the only one who writes in `folder` (made if missing) while the block runs; the kernel lets go when the process ends.
    Beside the lock lies a note of who holds it since when, which means nothing without it. Where another one holds it, `wait`, or
    raise InputError. `name` is what the user asked for, where that is not the folder but lies beside it."""
    from filelock import FileLock, Timeout

    note = folder / ".lock-holder.json"
    kernel_lock = FileLock(folder / ".lock", is_singleton=False)
    try:
        while not kernel_lock.is_locked:
            with suppress(FileNotFoundError):  # the one who held it has removed the folder: it is made anew
                check_writable(folder)
                kernel_lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        holder = "another process"
        with suppress(StoreError, KeyError, TypeError, ValueError):
            held = read_json(note)
            holder = f"process {int(held['pid'])} on {held['host']} since {held['since']}"
        raise InputError(f"`{name or folder}` is in use by {holder}; {cure}") from error
    try:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(note, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        yield
    finally:
        with suppress(OSError):
            note.unlink()
        kernel_lock.release()
