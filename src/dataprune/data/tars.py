"""Tar files in the layout of WebDataset: the members of one key are one example. They are read in place, nothing is unpacked."""

import json
import posixpath
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from dataprune.data.columns import Columns, labels_of
from dataprune.data.dataset import Skipped
from dataprune.data.decode import MAX_FILE_BYTES, SUFFIXES, BadPicture
from dataprune.data.folders import label_at, layout
from dataprune.data.labels import are_absent, as_column, encode_splits, is_missing
from dataprune.data.source import CHUNK, Chunk, Part, Pictures, Source, files_by_split, plain
from dataprune.errors import InputError, invalid, join_some

ENDING = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_SAID = ("cls", "json", "txt")
_SAID_BYTES = 2**20  # of a member that says the label


@dataclass
class _Example:
    """What the members of one key say."""

    pictures: list[tuple[str, int, int]] = field(default_factory=list)  # name, place in the tar, size
    said: dict[str, Any] = field(default_factory=dict)
    reason: str = ""  # why it cannot be used


def read_tars(files: Mapping[str, str], base: str, columns: Columns, is_folder: bool) -> Source:
    """Read tar files of pictures, each with its label in a member of the same key: `.cls` or `.txt`, or a value in `.json`.

    An id is the picture's name in its tar, with the tar's name before it where two shards have the same.

    Args:     files: their paths, by their names relative to `base`.
    """
    if packed := [name for name in files if name.lower().endswith(COMPRESSED)]:
        cure = "Write plain .tar files: pictures are compressed already."
        raise invalid("DATA", "hold uncompressed tar files, which can be read in place", join_some(packed), cure)
    splits, unnamed = files_by_split(files) if is_folder else ({"train": list(files)}, [])
    notes = [f"passed over, as there is no split in their names: {join_some(unnamed)}"] if unnamed else []
    found = {split: {name: _examples(Path(files[name])) for name in sorted(names)} for split, names in splits.items()}
    said = {split: [one.said for shard in shards.values() for one in shard.values()] for split, shards in found.items()}
    values: dict[str, np.ndarray] = {}
    for split, rows in said.items():
        cells = {name: as_column([row.get(name) for row in rows]) for name in dict.fromkeys(name for row in rows for name in row)}
        given, notes_of = labels_of(cells, columns.label, [])
        notes += [note for note in notes_of if note not in notes]
        if given is None and not cells:
            given = _by_folders(found[split])
            notes += ["the classes are the folders in the tar"] if given is not None else []
        if given is not None and not all(map(is_missing, given.tolist())) and not are_absent(given):
            values[split] = given
    usable = {split: _usable(shards, values.get(split)) for split, shards in found.items()}
    labels, classes = encode_splits({split: array for split, (_, array, _) in usable.items() if array is not None})
    parts = {split: _part(files, rows, labels.get(split), bad) for split, (rows, _, bad) in usable.items()}
    return Source("webdataset", base, parts, classes, tuple(notes))


def _examples(path: Path) -> dict[str, _Example]:
    """List the examples of a tar by their keys, in its order; refuse what is damaged, cut off or goes on after its end."""
    found: dict[str, _Example] = {}
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            size, names = path.stat().st_size, Counter[str]()
            for member in tar:
                names[member.name] += 1
                _take(member, names[member.name] > 1, found, file, size)
            file.seek(tar.offset)
            while rest := file.read(2**20):
                if rest.strip(b"\0"):
                    raise InputError(f"{plain(path)} is damaged after {names.total()} members, or holds two archives.")
    except (tarfile.TarError, OSError, EOFError, ValueError, LookupError) as error:
        raise InputError(f"{plain(path)} is no readable tar file: {' '.join(str(error).split())[:200]}") from None
    if not any(one.pictures for one in found.values()):
        raise invalid(plain(path), "hold pictures in the layout of WebDataset (0001.jpg, 0001.cls)", "none")
    return {key: one for key, one in found.items() if one.pictures or one.reason}


def _take(member: tarfile.TarInfo, is_double: bool, found: dict[str, _Example], file: IO[bytes], size: int) -> None:
    """File a member under its key: what stands before the first dot of its name."""
    name = posixpath.normpath(plain(member.name).replace("\\", "/")).lstrip("/")
    folder, file_name = posixpath.split(name)
    stem, _, ending = file_name.partition(".")
    ending = ending.lower()
    if member.isdir() or not stem or not (f".{ending}" in SUFFIXES or ending in _SAID):
        return
    one = found.setdefault(posixpath.join(folder, stem), _Example())
    if not member.isreg() or member.issparse():
        one.reason = f"{name} is a link or no regular file"
    elif is_double:
        one.reason = f"{name} stands twice in the tar"
    elif member.offset_data + member.size > size:
        one.reason = f"{name} is cut off"
    elif f".{ending}" in SUFFIXES:
        one.pictures.append((name, member.offset_data, member.size))
        if len(one.pictures) > 1:
            one.reason = f"two pictures in one example: {' and '.join(picture for picture, _, _ in one.pictures)}"
    elif member.size <= _SAID_BYTES:
        before = file.tell()
        file.seek(member.offset_data)
        one.said |= _said(ending, file.read(member.size), name)
        file.seek(before)


def _said(ending: str, content: bytes, name: str) -> dict[str, Any]:
    """Return what a member says: the values of an object by their names, or one value under the member's ending."""
    try:
        text = content.decode("utf-8").strip()
        value = json.loads(text) if ending == "json" else int(text) if text.lstrip("-").isdecimal() and text.isascii() else text
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot be read: {' '.join(str(error).split())[:100]}") from None
    return value if isinstance(value, dict) else {ending: value}


def _by_folders(shards: Mapping[str, Mapping[str, _Example]]) -> np.ndarray | None:
    """Return the folders in tars that say no labels, if there are several."""
    ids = [one.pictures[0][0] if one.pictures else "" for shard in shards.values() for one in shard.values()]
    places, _ = layout(ids, labelled=True)
    labels = [label_at(one, places[0]) for one in ids]
    return as_column(labels) if len(places) == 1 and len({*labels} - {None}) > 1 else None


_Row = tuple[str, str, int, int]  # id, shard, place, size


def _usable(
    shards: Mapping[str, Mapping[str, _Example]], labels: np.ndarray | None
) -> tuple[list[_Row], np.ndarray | None, list[Skipped]]:
    """Return the examples that can be used, with their labels, and the others."""
    names = Counter(one.pictures[0][0] for shard in shards.values() for one in shard.values() if one.pictures)
    is_unique = max(names.values(), default=1) == 1
    flat = [(shard, key, one) for shard, examples in shards.items() for key, one in examples.items()]
    rows, bad, kept = list[_Row](), list[Skipped](), list[Any]()
    for (shard, key, one), label in zip(flat, [0] * len(flat) if labels is None else labels.tolist(), strict=True):
        if one.reason or is_missing(label):
            bad.append(Skipped(f"{shard}: {key}", one.reason or "has no label"))
            continue
        name, place, size = one.pictures[0]
        rows.append((name if is_unique else f"{shard}/{name}", shard, place, size))
        kept.append(label)
    return rows, None if labels is None else as_column(kept), bad


def _part(files: Mapping[str, str], rows: Sequence[_Row], labels: np.ndarray | None, bad: list[Skipped]) -> Part:
    reads = [partial(_read, files[shard], place, size) for _, shard, place, size in rows]
    groups = {start: reads[start : start + CHUNK] for start in range(0, len(reads), CHUNK)}
    chunks = tuple(Chunk(start, len(group), partial(iter, group)) for start, group in groups.items())
    states = {shard: Path(files[shard]).stat() for shard in {row[1] for row in rows}}
    known = sorted(f"{files[shard]}\0{state.st_size}\0{state.st_mtime_ns}" for shard, state in states.items())
    identity = ("webdataset", *known, *(f"{name}\0{shard}\0{place}\0{size}" for name, shard, place, size in rows))
    pictures = Pictures(chunks, identity, sum(row[3] for row in rows))
    return Part([row[0] for row in rows], labels, pictures, bad=tuple(bad))


def _read(path: str, place: int, size: int, limit: int = -1) -> bytes:
    """Read a member, or its beginning."""
    if size > MAX_FILE_BYTES:
        raise BadPicture(f"has {size / 2**20:,.0f} MB, more than the {MAX_FILE_BYTES // 2**20} that are read")
    try:
        with Path(path).open("rb") as file:
            file.seek(place)
            return file.read(size if limit < 0 else min(size, limit))
    except OSError as error:
        raise BadPicture(f"cannot be read: {error.strerror or error}") from None
