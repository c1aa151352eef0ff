"""Folders of pictures: which files are pictures, and which class and split each is of."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from dataprune.data.dataset import Dataset, Skipped
from dataprune.data.decode import SUFFIXES
from dataprune.data.source import SPLIT_NAMES, Part, Pictures, Source, file_chunks, plain
from dataprune.errors import InputError, invalid, join_some

_IGNORED = frozenset({"__MACOSX"})
_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device", stat.S_IFDIR: "folder"}


@dataclass(frozen=True)
class _File:
    """One picture: its id is the path relative to the root."""

    id: str
    path: str
    label: str | None
    state: os.stat_result


@dataclass
class _Walk:
    """What one walk through a split collects."""

    files: list[_File] = field(default_factory=list)
    bad: list[Skipped] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # endings of files that are no pictures
    links: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)  # class folders, also empty ones


def read_folder(root: Path, labelled: bool) -> Source:
    """List the pictures of a folder: `class/*.jpg`, `train/ test/ [validation/]` with classes inside, or flat.

    Where it is `labelled` from elsewhere, pictures beside class folders are welcome.
    """
    base = os.path.realpath(root)
    splits, notes = _splits(base)
    walks = {split: _walk(base, folder) for split, folder in splits.items()}
    classes = tuple(sorted({file.label for walk in walks.values() for file in walk.files if file.label is not None}))
    if not any(walk.files or walk.bad for walk in walks.values()):
        others = sum((walk.others for walk in walks.values()), Counter[str]())
        passed = f" (passed over: {_counted(others)})" if others else ""
        endings = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        cure = f"It must hold class/*.jpg, or train/ and test/ with classes inside; files that end in {endings} are read."
        raise InputError(f"no picture in {plain(root)}{passed}. {cure}")
    parts = {split: _part(base, walk, classes, labelled) for split, walk in walks.items()}
    return Source("folder", base, parts, classes, tuple(notes))


def refuse_output_inside_data(dataset: Dataset, out: Path, name: str = "out") -> None:
    """Refuse a folder that would be a class of the data, and so make the same command find other data.

    A folder beside `train` and `test` is no class, nor is one whose name begins with a dot.
    """
    if dataset.origin is None or dataset.origin.kind != "folder":
        return
    classes = Path(dataset.origin.path)
    tops = {str(one).partition("/")[0] for one in dataset.ids}
    if len(tops) == 1 and (split := tops.pop()).casefold() in SPLIT_NAMES:
        classes /= split
    real = Path(os.path.realpath(out))
    if real.is_relative_to(classes) and not any(part.startswith(".") for part in real.relative_to(classes).parts):
        raise invalid(name, f"lie outside the data in {classes}", str(out), "It would be taken for a class: choose another folder.")


def _splits(base: str) -> tuple[dict[str, str], list[str]]:
    """Decide whether the folders of the root are splits or classes (a class may be called "train")."""
    folders = [entry for entry in _entries(base) if entry.is_dir(follow_symlinks=False)]
    named: dict[str, str] = {}
    for entry in folders:
        if split := SPLIT_NAMES.get(entry.name.casefold()):
            path = named.setdefault(split, entry.path)
            if path != entry.path:
                raise InputError(f"{plain(base)} has two folders for the split {split}: {PurePath(path).name} and {entry.name}.")
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


def _walk(base: str, split: str) -> _Walk:
    """Collect the pictures below one split, each with its class: the first folder below the split."""
    walk = _Walk()
    waiting: list[tuple[str, str | None]] = [(split, None)]
    while waiting:
        folder, label = waiting.pop()
        try:
            entries = _entries(folder)
        except InputError as error:
            walk.bad.append(Skipped(plain(folder), str(error)))
            continue
        for entry in entries:
            if _is_picture_name(entry.name) or not entry.is_dir(follow_symlinks=False):
                _take_file(base, entry, label, walk)
                continue
            if label is None:
                walk.folders.append(plain(entry.name))
            waiting.append((entry.path, label or plain(entry.name)))
    walk.files.sort(key=lambda file: file.id.encode("utf-8", "surrogatepass"))
    return walk


def _is_picture_name(name: str) -> bool:
    stem, dot, ending = name.rpartition(".")
    return bool(stem) and dot + ending.lower() in SUFFIXES


def _take_file(base: str, entry: os.DirEntry[str], label: str | None, walk: _Walk) -> None:
    """File one entry under pictures, bad items or passed over. Only its name and state are looked at."""
    name = plain(os.path.relpath(entry.path, base)).replace(os.sep, "/")
    target = Path(os.path.realpath(entry.path)) if entry.is_symlink() else None
    is_picture, is_inside = _is_picture_name(entry.name), target is None or target.is_relative_to(base)
    if target is not None and target.is_dir() and is_inside and not is_picture:
        walk.links.append(name)  # what it leads to is walked at its own place: loops end here, nothing is seen twice
        return
    try:
        state = entry.stat()
    except OSError as error:
        dangling = f"a link to nothing ({plain(Path(entry.path).readlink())})" if target is not None else None
        walk.bad.append(Skipped(name, dangling or f"cannot be read: {error.strerror}"))
        return
    if target is not None and not is_inside:
        walk.bad.append(Skipped(name, f"a link out of the folder, to {plain(target)}"))
    elif not is_picture:
        walk.others[PurePath(plain(entry.name)).suffix or "without ending"] += 1
    elif not stat.S_ISREG(state.st_mode):
        walk.bad.append(Skipped(name, f"a {_KINDS.get(stat.S_IFMT(state.st_mode), 'special file')}, not a picture"))
    elif state.st_size == 0:
        walk.bad.append(Skipped(name, "empty (0 bytes)"))
    else:
        walk.files.append(_File(name, entry.path, label, state))


def _part(base: str, walk: _Walk, classes: tuple[str, ...], labelled: bool) -> Part:
    files, filled = walk.files, {file.label for file in walk.files}
    # A folder whose pictures are all bad is not empty as well: one mistake, one line.
    bad_in = "".join(f"/{item.path}/" for item in walk.bad)
    empty = [name for name in walk.folders if name not in filled and f"/{name}/" not in bad_in]
    bad = walk.bad + [Skipped(name, "a class folder with no picture") for name in empty]
    if len(filled) > 1 and None in filled and not labelled:
        bad += [Skipped(file.id, "lies outside any class folder") for file in files if file.label is None]
        files = [file for file in files if file.label is not None]
    index: dict[str | None, int] = {name: index for index, name in enumerate(classes)}
    has_labels = bool(files) and all(file.label is not None for file in files)
    labels = np.array([index[file.label] for file in files], np.int64) if has_labels else None
    paths = [file.path for file in files]
    identity = (base, *(f"{file.id}\0{file.state.st_size}\0{file.state.st_mtime_ns}" for file in files))
    pictures = Pictures(file_chunks(paths), identity, sum(file.state.st_size for file in files))
    return Part([file.id for file in files], labels, pictures, paths=paths, bad=tuple(bad), notes=tuple(_notes(walk)))


def _counted(others: Counter[str]) -> str:
    return join_some(f"{count} {ending}" for ending, count in sorted(others.items(), key=lambda item: (-item[1], item[0])))


def _notes(walk: _Walk) -> Iterator[str]:
    if walk.others:
        total = walk.others.total()
        what = "1 file that is no picture by its" if total == 1 else f"{total} files that are no pictures by their"
        yield f"passed over {what} ending: {_counted(walk.others)}"
    if walk.links:
        yield f"links to folders inside the source were not followed, their pictures count once: {join_some(walk.links)}"
    by_inode: dict[tuple[int, int], list[str]] = {}
    for file in walk.files:
        by_inode.setdefault((file.state.st_dev, file.state.st_ino), []).append(file.id)
    if doubles := [" = ".join(names) for names in by_inode.values() if len(names) > 1]:
        yield f"the same file under several names (links): {join_some(doubles)}"
