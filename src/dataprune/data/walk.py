"""A walk through a folder: its pictures with size and time, what else lies there, and what cannot be used. Links are followed."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dataprune.data.dataset import Skipped
from dataprune.data.decode import SUFFIXES
from dataprune.data.source import Pictures, file_chunks, plain
from dataprune.errors import InputError, join_some

_NOT_FOLLOWED = "links to folders inside the source were not followed"
_IGNORED = frozenset({"__MACOSX"})
_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device", stat.S_IFDIR: "folder"}


@dataclass(frozen=True)
class File:
    """One picture: its id is the path relative to the root, with slashes."""

    id: str
    path: str
    state: os.stat_result
    through: str = ""  # the link to a folder that leads to it, if one does


@dataclass
class Walk:
    """What lies below a root; every name is relative to it. Files are in the order of their ids."""

    base: str
    files: list[File] = field(default_factory=list)
    bad: list[Skipped] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # files that are no pictures by their ending
    folders: list[str] = field(default_factory=list)  # also empty ones
    links: list[str] = field(default_factory=list)  # to folders, which lead back to where the walk has been


def walk(root: str | Path) -> Walk:
    """Walk through a folder, without hidden files. Links are followed, those to a folder above them are listed."""
    found = Walk(os.path.realpath(root))
    waiting, seen = [(found.base, "", "")], {("", found.base)}
    while waiting:
        folder, above, through = waiting.pop()
        try:
            entries = _entries(folder)
        except InputError as error:
            if folder == found.base:
                raise
            found.bad.append(Skipped(above.rstrip("/"), str(error)))
            continue
        for entry in entries:
            name = above + plain(entry.name)
            if _is_picture_name(entry.name) or not entry.is_dir():
                _take_file(entry, name, through, found)
                continue
            link = through or (name if entry.is_symlink() else "")
            real = os.path.realpath(entry.path) if link else entry.path
            # Through links a folder is walked once below each folder of the root: they may lead round in circles.
            key = (name.partition("/")[0] if link else "", real)
            if key in seen or (link and f"{found.base}/".startswith(f"{real.rstrip(os.sep)}/")):
                found.links.append(name)
                continue
            seen.add(key)
            found.folders.append(name)
            waiting.append((entry.path, f"{name}/", link))
    found.files.sort(key=lambda file: file.id.encode("utf-8", "surrogatepass"))
    return found


def without_doubles(files: list[File]) -> tuple[list[File], list[str]]:
    """Leave out what is seen through a linked folder and at its own place, and say so, and which names mean one file still."""
    led_to = {_inode(file) for file in files if file.through}
    own = [file for file in files if not file.through and _inode(file) in led_to and not Path(file.path).is_symlink()]
    at_home = {_inode(file) for file in own}
    again = {file.id for file in files if file.through and _inode(file) in at_home}
    links = sorted({file.through for file in files if file.id in again})
    notes = [f"{_NOT_FOLLOWED}, their pictures count once: {join_some(links)}"] if links else []
    kept = [file for file in files if file.id not in again]
    by_inode: dict[tuple[int, int], list[str]] = {}
    for file in kept:
        by_inode.setdefault(_inode(file), []).append(file.id)
    doubles = [" = ".join(names) for names in by_inode.values() if len(names) > 1]
    return kept, notes + ([f"the same file under several names (links): {join_some(doubles)}"] if doubles else [])


def _inode(file: File) -> tuple[int, int]:
    return file.state.st_dev, file.state.st_ino


def circle_notes(walk: Walk) -> list[str]:
    """Say which links to folders lead to where the walk has been."""
    return [f"{_NOT_FOLLOWED}, as they lead back: {join_some(walk.links)}"] if walk.links else []


def file_pictures(base: str, files: Iterable[File]) -> Pictures:
    """Return files as pictures to decode, keyed by their names, sizes and times."""
    files = list(files)
    identity = (base, *(f"{file.id}\0{file.state.st_size}\0{file.state.st_mtime_ns}" for file in files))
    return Pictures(file_chunks([file.path for file in files]), identity, sum(file.state.st_size for file in files))


def listed(path: str, name: str, through: str = "") -> File | Skipped:
    """Return a picture by its path, or why it cannot be used. Only its state is looked at."""
    try:
        state = Path(path).stat()
    except (OSError, ValueError) as error:
        if Path(path).is_symlink():
            return Skipped(name, f"a link to nothing ({plain(Path(path).readlink())})")
        return Skipped(name, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    if not stat.S_ISREG(state.st_mode):
        return Skipped(name, f"a {_KINDS.get(stat.S_IFMT(state.st_mode), 'special file')}, not a picture")
    return File(name, path, state, through) if state.st_size else Skipped(name, "empty (0 bytes)")


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """List a folder in a fixed order, without hidden files."""
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".") and entry.name not in _IGNORED]
    except OSError as error:
        raise InputError(f"cannot list {plain(folder)}: {error.strerror}.") from None
    return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _is_picture_name(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _take_file(entry: os.DirEntry[str], name: str, through: str, walk: Walk) -> None:
    """File one entry under pictures, bad items or others."""
    if not _is_picture_name(entry.name) and (entry.is_file() or not entry.is_symlink()):
        walk.others.append(name if entry.is_file() else f"{name} (no file)")  # nothing opens what is a pipe
        return
    found = listed(entry.path, name, through)
    if isinstance(found, File):
        walk.files.append(found)
    else:
        walk.bad.append(found)
