"""A lock on a folder, with a note of who holds it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from dataprune.errors import InputError, StoreError
from dataprune.store.files import check_writable, read_json, write_json


@contextmanager
def lock(
    folder: Path, wait: bool = False, *, name: Path | None = None, cure: str = "wait for it or pass --wait."
) -> Iterator[None]:
    """Be the only one who writes in `folder` while the block runs; the kernel lets go when the process ends.

    Beside the lock lies a note of who holds it since when; a note without a lock means nothing. A missing folder is made.

    Where another one holds it, `wait` for as long as that takes, or raise InputError. `name` is what the user asked for, where that
    is not the folder but lies beside it.
    """
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
