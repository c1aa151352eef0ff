"""JSON that carries its own checksum; and manifests: written last, with size and checksum of the files that they speak for."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dataprune.errors import InputError, StoreError, join_some, one_line
from dataprune.store.arrays import canonical_json, json_digest, sha256
from dataprune.store.files import json_text, read_json, taken, write_json

FORMAT = 1  # the version of everything in a manifest's folder; a change that older readers would misread raises it
SEAL, MANIFEST_SEAL = "seal", "sha256"  # the keys of the checksum

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


@dataclass(frozen=True)
class FileRecord:
    """What a manifest says of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Listing:
    """What every manifest says: its files, by their paths relative to its folder."""

    files: Mapping[str, FileRecord]


def sealed(body: Mapping[str, object], seal: str = SEAL) -> dict[str, object]:
    assert seal not in body, "the checksum's own key"
    return {**body, seal: json_digest(body)}


def write_sealed(path: Path, body: Mapping[str, object], seal: str = SEAL) -> None:
    write_json(path, sealed(body, seal))


def read_sealed(path: Path, seal: str = SEAL) -> dict[str, Any]:
    """Read what `write_sealed` wrote, without the checksum; StoreError if it is missing, no table of JSON, or damaged."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise StoreError(f"`{path}` is damaged: it is not a table.")
    if found.pop(seal, None) != json_digest(found):
        raise StoreError(f"`{path}` is damaged or was edited: its checksum does not fit.")
    return found


def write_manifest(folder: Path, name: str, body: "Mapping[str, object] | DataclassInstance", files: Sequence[str]) -> None:
    """Write `folder/name`, once its files are there: `body` (plain JSON or a record), and size and SHA-256 of each file and itself.
    The `files` are relative to `folder`, with forward slashes; `format` and `files` are the manifest's own keys."""
    plain = dict(body) if isinstance(body, Mapping) else asdict(body)
    places = {relative: _inside(folder, relative) for relative in files}
    records = {relative: {"bytes": path.stat().st_size, "sha256": sha256(path)} for relative, path in places.items()}
    write_sealed(folder / name, json.loads(canonical_json({**plain, "format": FORMAT, "files": records})), MANIFEST_SEAL)


def read_manifest(folder: Path, name: str, kind: type[T]) -> T:
    """Read `folder/name`, as `write_manifest` wrote it, as a record of a `kind`, which may leave things out, or a `dict`.

    Raises:   InputError if there is none. StoreError if it is damaged, of another version, not of this kind, or names files outside
              the folder.
    """
    path = folder / name
    if not path.is_file():
        raise InputError(f"`{folder}` must hold {name}, there is none. Was the work that writes it interrupted?")
    manifest: Any = read_json(path)
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(version, int) or not isinstance(manifest.get("files"), dict):
        raise StoreError(f"`{path}` is damaged: it is not a manifest of dataprune.")
    if version != FORMAT:
        age = "a newer dataprune: upgrade" if version > FORMAT else "an older dataprune: write it again"
        raise StoreError(f"`{path}` has format {version}, this version reads format {FORMAT}. It is from {age}.")
    if path.read_bytes() != json_text(manifest):
        raise StoreError(f"`{path}` is damaged or was edited: its checksum does not fit.")
    body = read_sealed(path, MANIFEST_SEAL)
    for relative in as_record(body, Listing, path).files:
        _inside(folder, relative)
    return as_record(body, kind, path)


def as_record(plain: object, kind: type[T], path: Path) -> T:
    """Make a record of what a file says; a stranger's file may say anything, with a checksum that fits."""
    try:
        return msgspec.convert(plain, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise StoreError(f"`{path}` is damaged or of another kind: {one_line(error)}.") from error


def faults(folder: Path, name: str) -> list[str]:
    """Return what is wrong with each file of the manifest `folder/name`: missing, wrong size, wrong checksum."""
    found = []
    for relative, expected in sorted(read_manifest(folder, name, Listing).files.items()):
        path = _inside(folder, relative)
        if not path.is_file():
            found.append(f"{relative} is missing")
        elif (size := path.stat().st_size) != expected.bytes:
            found.append(f"{relative} has {size} bytes instead of {expected.bytes}")
        elif sha256(path) != expected.sha256:
            found.append(f"{relative} has another checksum than when it was written")
    return found


def is_whole(folder: Path, name: str) -> bool:
    """Return whether the manifest `folder/name` is there and every file is as it was written."""
    try:
        return (folder / name).is_file() and not faults(folder, name)
    except StoreError:
        return False


def manifest_beside(path: Path) -> Path | None:
    """Return the manifest beside a single file that speaks for it, `<name>.json` or `<stem>.json`; None where there is none. One
    that cannot be read counts if no other name is left: it may be somebody else's, `faults` says what is wrong with it."""
    unreadable = None
    names = (beside(path), path.with_suffix(".json")) if path.name else ()  # `.` and `/` have none
    for manifest in (one for one in dict.fromkeys(names) if one.is_file() and one != path):
        try:
            found = read_json(manifest)
        except StoreError:
            unreadable = unreadable or manifest
            continue
        if speaks_for(found, path.name):
            return manifest
    return unreadable


def beside(path: Path) -> Path:
    """Return where what is said of a file lies: `<name>.json`."""
    return path.parent / f"{path.name}.json"


def speaks_for(said: Any, name: str) -> bool:
    """Return whether what a JSON file says is of a manifest that lists a file."""
    return isinstance(said, dict) and isinstance(said.get("files"), dict) and name in said["files"]


def check_beside(path: Path, is_ours: Callable[[Any], object], *, overwrite: bool = False) -> None:
    """Refuse, unless it may be overwritten, a `<name>.json` beside a file that is somebody else's."""
    if overwrite or not os.path.lexists(place := beside(path)):
        return
    with suppress(StoreError, msgspec.ValidationError):
        if is_ours(read_json(place)):
            return
    raise taken(path, f"needs {place.name} beside it, which")


def as_written(path: Path) -> Path:
    """Return `path` back, if it is as dataprune wrote it; a file without a manifest of ours beside it is anybody's, and passes."""
    manifest = manifest_beside(path)
    if manifest is None or not path.is_file():
        return path
    try:
        found = faults(path.parent, manifest.name)
    except StoreError:  # it speaks for nothing: perhaps somebody else's
        return path
    if found:
        cure = f"Make it again, or remove {manifest.name} if the change was meant."
        raise StoreError(f"`{path}` is damaged or was edited: {join_some(found)}. {cure}")
    return path


def _inside(folder: Path, relative: str) -> Path:
    parts = PurePosixPath(relative)
    if not relative or parts.is_absolute() or ".." in parts.parts or "\\" in relative or "\0" in relative:
        raise StoreError(f"`{folder}` has a manifest that names a file outside of it: {relative!r}.")
    return folder / parts
