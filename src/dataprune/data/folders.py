"""Which pictures lie in a folder, and which class is each of?"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from dataprune.data.dataset import Skipped
from dataprune.data.decode import SUFFIXES
from dataprune.data.parts import Part, Pictures, Source, in_chunks, plain
from dataprune.errors import InputError, join_some

SPLIT_NAMES = {"train": "train", "test": "test", "validation": "validation", "val": "validation", "valid": "validation"}
_IGNORED = frozenset({"__MACOSX"})
_KINDS = (
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISDIR, "folder"),
)


@dataclass
class _Found:
    """What one walk through a split collects."""

    files: list[tuple[str, str, str | None, os.stat_result]] = field(default_factory=list)  # id, path, class, state
    bad: list[Skipped] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)  # class folders, also empty ones


def read_folder(root: Path, labelled: bool) -> Source:
    """List the pictures of a folder: `class/*.jpg`, `train/ test/ [validation/]` with classes inside, or flat.

    Args:     root: an existing folder. labelled: labels come from elsewhere, so pictures beside class folders are welcome.
    Raises:   InputError if there is no picture in it, or it cannot be listed.
    """
    base = os.path.realpath(root)
    splits, notes = _splits(base)
    found = {split: _walk(base, folder) for split, folder in splits.items()}
    classes = tuple(sorted({name for one in found.values() for _, _, name, _ in one.files if name is not None}))
    if not any(one.files or one.bad for one in found.values()):
        others = sum((one.others for one in found.values()), Counter[str]())
        passed = f" (passed over: {_counted(others)})" if others else ""
        cure = "It must hold class/*.jpg, or train/ and test/ with classes inside"
        raise InputError(f"no picture in {plain(root)}{passed}. {cure}; {_accepted()}.")
    parts = {split: _part(base, one, classes, labelled) for split, one in found.items()}
    return Source("folder", base, parts, classes, tuple(notes))


def _accepted() -> str:
    return "files that end in " + " ".join(sorted(suffix[1:] for suffix in SUFFIXES)) + " are read"


def _splits(base: str) -> tuple[dict[str, str], list[str]]:
    """Decide whether the folders of the root are splits or classes (a class may be called "train")."""
    folders = [entry for entry in _entries(base) if entry.is_dir(follow_symlinks=False)]
    named: dict[str, str] = {}
    for entry in folders:
        split = SPLIT_NAMES.get(entry.name.casefold())
        if split in named:
            raise InputError(
                f"{plain(base)} has two folders for the split {split}: {PurePath(named[split]).name} and {entry.name}."
            )
        if split:
            named[split] = entry.path
    others = [entry.name for entry in folders if entry.path not in named.values()]
    has_classes = "train" in named and any(entry.is_dir(follow_symlinks=False) for entry in _entries(named["train"]))
    if "train" not in named or (others and not has_classes and len(named) == 1):
        return {"train": base}, []
    notes = [f"passed over beside the splits: {join_some(plain(name) for name in others)}"] if others else []
    return named, notes


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """List a folder in a fixed order, without hidden files."""
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".") and entry.name not in _IGNORED]
    except OSError as error:
        raise InputError(f"cannot list {plain(folder)}: {error.strerror}.") from None
    return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _walk(base: str, split: str) -> _Found:
    """Collect the pictures below one split, each with its class: the first folder below the split."""
    found = _Found()
    waiting: list[tuple[str, str | None]] = [(split, None)]
    while waiting:
        folder, name = waiting.pop()
        for entry, label in _visited(folder, name, found):
            if _is_picture_name(entry.name) or not entry.is_dir(follow_symlinks=False):
                _take_file(base, entry, label, found)
            elif entry.is_dir(follow_symlinks=False):
                label = label if label is not None else plain(entry.name)
                if name is None:
                    found.folders.append(label)
                waiting.append((entry.path, label))
    found.files.sort(key=lambda file: file[0].encode("utf-8", "surrogatepass"))
    return found


def _visited(folder: str, label: str | None, found: _Found) -> Iterator[tuple[os.DirEntry[str], str | None]]:
    try:
        entries = _entries(folder)
    except InputError as error:
        found.bad.append(Skipped(plain(folder), str(error)))
        return
    yield from ((entry, label) for entry in entries)


def _is_picture_name(name: str) -> bool:
    stem, dot, ending = name.rpartition(".")
    return bool(stem) and dot + ending.lower() in SUFFIXES


def _take_file(base: str, entry: os.DirEntry[str], label: str | None, found: _Found) -> None:
    """File one entry under pictures, bad items or passed over. Only its name and state are looked at."""
    relative = plain(os.path.relpath(entry.path, base)).replace(os.sep, "/")
    real = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
    if entry.is_symlink() and Path(real).is_dir() and _inside(real, base) and not _is_picture_name(entry.name):
        found.links.append(relative)  # what it leads to is walked at its own place: loops end here, nothing is seen twice
        return
    try:
        state = entry.stat()
    except OSError as error:
        reason = (
            f"a link to nothing ({plain(Path(entry.path).readlink())})"
            if entry.is_symlink()
            else f"cannot be read: {error.strerror}"
        )
        found.bad.append(Skipped(relative, reason))
        return
    if not _inside(real, base):
        found.bad.append(Skipped(relative, f"a link out of the folder, to {plain(real)}"))
    elif not _is_picture_name(entry.name):
        found.others[PurePath(plain(entry.name)).suffix or "without ending"] += 1
    elif not stat.S_ISREG(state.st_mode):
        kind = next((word for test, word in _KINDS if test(state.st_mode)), "special file")
        found.bad.append(Skipped(relative, f"a {kind}, not a picture"))
    elif state.st_size == 0:
        found.bad.append(Skipped(relative, "empty (0 bytes)"))
    else:
        found.files.append((relative, entry.path, label, state))


def _inside(path: str, base: str) -> bool:
    return path == base or path.startswith(base.rstrip(os.sep) + os.sep)


def _part(base: str, found: _Found, classes: tuple[str, ...], labelled: bool) -> Part:
    bad, files = list(found.bad), found.files
    filled = {name for _, _, name, _ in files}
    bad += [
        Skipped(name, "a class folder with no picture") for name in found.folders if name not in filled and not _has_bad(name, bad)
    ]
    if filled - {None} and None in filled and not labelled:
        bad += [Skipped(name, "lies outside any class folder") for name, _, label, _ in files if label is None]
        files = [file for file in files if file[2] is not None]
    place = {name: index for index, name in enumerate(classes)}
    named = bool(filled - {None}) and all(label is not None for _, _, label, _ in files)
    paths = [path for _, path, _, _ in files]
    identity = (base, *(f"{name}\0{state.st_size}\0{state.st_mtime_ns}" for name, _, _, state in files))
    return Part(
        ids=[name for name, _, _, _ in files],
        labels=np.array([place[label] for _, _, label, _ in files if label is not None], dtype=np.int64) if named else None,
        pictures=Pictures(in_chunks(paths), len(paths), identity, sum(state.st_size for _, _, _, state in files)),
        paths=paths,
        bad=tuple(bad),
        notes=tuple(_notes(found)),
    )


def _has_bad(name: str, bad: list[Skipped]) -> bool:
    """A folder whose pictures are all bad is not empty as well: one mistake, one line."""
    return any(f"/{name}/" in f"/{item.path}" for item in bad)


def _counted(others: Counter[str]) -> str:
    return join_some(f"{count} {ending}" for ending, count in sorted(others.items(), key=lambda item: (-item[1], item[0])))


def _notes(found: _Found) -> Iterator[str]:
    if found.others:
        total = found.others.total()
        what = "1 file that is no picture by its" if total == 1 else f"{total} files that are no pictures by their"
        yield f"passed over {what} ending: {_counted(found.others)}"
    if found.links:
        yield f"links to folders inside the source were not followed, their pictures count once: {join_some(found.links)}"
    by_inode: dict[tuple[int, int], list[str]] = {}
    for name, _, _, state in found.files:
        by_inode.setdefault((state.st_dev, state.st_ino), []).append(name)
    doubles = [" = ".join(names) for names in by_inode.values() if len(names) > 1]
    if doubles:
        yield f"the same file under several names (links): {join_some(doubles)}"
