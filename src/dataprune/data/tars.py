"""Tar files in the layout of WebDataset: the members of one key are one example. They are read in place, nothing is unpacked."""

import json
import posixpath
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from dataprune.data.classes import Listing, as_column, gather
from dataprune.data.decode import SUFFIXES
from dataprune.data.folders import label_at, layout
from dataprune.data.labels import Reading, labels_of
from dataprune.data.source import Pictures, Source, files_by_split, plain, read_file, stamp
from dataprune.errors import InputError, invalid, join_some, one_line

ENDING = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_SAID = ("cls", "json", "txt")
_SAID_BYTES = 2**20  # of a member that says the label


@dataclass
class _Example:
    """What the members of one key say."""

    shard: str
    key: str
    name: str = ""  # of the picture in the tar, and where it lies
    place: int = 0
    size: int = 0
    said: dict[str, Any] = field(default_factory=dict)
    reason: str = ""  # why it cannot be used


def read_tars(files: Mapping[str, str], base: str, how: Reading, is_folder: bool) -> Source:
    """Read tar files (by their names below `base`) of pictures, each with its label in `.cls`, `.txt` or `.json` of the same key.
    An id is the picture's name in its tar, with the tar's name before it where two shards have the same."""
    if packed := [name for name in files if name.lower().endswith(COMPRESSED)]:
        raise invalid("DATA", "hold uncompressed tar files, read in place", join_some(packed), "Write plain .tar files.")
    splits, unnamed = files_by_split(files) if is_folder else ({"train": list(files)}, [])
    notes = [f"passed over, as there is no split in their names: {join_some(unnamed)}"] if unnamed else []
    listings = dict[str, Listing]()
    for split, names in splits.items():
        found = [one for name in sorted(names) for one in _examples(name, Path(files[name]))]
        words = dict.fromkeys(chain.from_iterable(one.said for one in found))
        given, said = labels_of({word: as_column([one.said.get(word) for one in found]) for word in words}, how.label_column, [])
        labels = None if given is None else given.tolist()
        if labels is None and not words:  # by folders, if there are several
            places, _ = layout((one.name for one in found), labelled=True)
            of_folders = [label_at(one.name, places[0]) for one in found]
            labels = of_folders if len(places) == 1 and len({*of_folders} - {None}) > 1 else None
            said = ["the classes are the folders in the tar"] if labels is not None else []
        notes += [note for note in said if note not in notes]
        is_unique = max(Counter(one.name for one in found if one.name).values(), default=1) == 1
        ids = [one.name if is_unique else f"{one.shard}/{one.name}" for one in found]
        faults = {row: one.reason for row, one in enumerate(found) if one.reason}
        called = [f"{one.shard}: {one.key}" for one in found]
        listings[split] = Listing(ids, labels, partial(_pictures, files, found, ids), faults, called)
    return gather("webdataset", base, listings, notes)


def _pictures(files: Mapping[str, str], found: Sequence[_Example], ids: Sequence[str], rows: list[int]) -> dict[str, Pictures]:
    known = sorted(stamp(files[shard], Path(files[shard]).stat()) for shard in {found[row].shard for row in rows})
    places = [(ids[row], found[row].shard, found[row].place, found[row].size) for row in rows]
    reads = [partial(read_file, files[shard], place=place, size=size) for _, shard, place, size in places]
    identity = ("webdataset", *known, *("\0".join(map(str, one)) for one in places))
    return {"pictures": Pictures.of(reads, identity, sum(size for *_, size in places))}


def _examples(shard: str, path: Path) -> list[_Example]:
    """List the examples of a tar in its order; refuse what is damaged, cut off or goes on after its end."""
    found: dict[str, _Example] = {}
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            size, names = path.stat().st_size, Counter[str]()
            for member in tar:
                names[member.name] += 1
                _take(member, names[member.name] > 1, shard, found, file, size)
            file.seek(tar.offset)
            while rest := file.read(2**20):
                if rest.strip(b"\0"):
                    raise InputError(f"{plain(path)} is damaged after {names.total()} members, or holds two archives.")
    except (tarfile.TarError, OSError, EOFError, ValueError, LookupError) as error:
        raise InputError(f"{plain(path)} is not a readable tar file: {one_line(error)}.") from None
    if not any(one.name for one in found.values()):
        raise invalid(plain(path), "hold pictures in the layout of WebDataset (0001.jpg, 0001.cls)", "none")
    return [one for one in found.values() if one.name or one.reason]


def _take(member: tarfile.TarInfo, is_double: bool, shard: str, found: dict[str, _Example], file: IO[bytes], size: int) -> None:
    name = posixpath.normpath(plain(member.name).replace("\\", "/")).lstrip("/")
    folder, file_name = posixpath.split(name)
    stem, _, ending = file_name.partition(".")
    ending = ending.lower()
    if member.isdir() or not stem or not (f".{ending}" in SUFFIXES or ending in _SAID):
        return
    key = posixpath.join(folder, stem)
    one = found.setdefault(key, _Example(shard, key))
    if not member.isreg() or member.issparse():
        one.reason = f"{name} is a link or not a regular file"
    elif is_double:
        one.reason = f"{name} is in the tar twice"
    elif member.offset_data + member.size > size:
        one.reason = f"{name} is cut off"
    elif f".{ending}" in SUFFIXES:
        one.reason = f"two pictures in one example: {one.name} and {name}" if one.name else one.reason
        one.name, one.place, one.size = name, member.offset_data, member.size
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
        raise InputError(f"{name} cannot be read: {one_line(error, 100)}.") from None
    return value if isinstance(value, dict) else {ending: value}
