"""Is everything here that was written, and as it was written?"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dataprune.errors import InputError, StoreError, join_some
from dataprune.store.digests import canonical_json, sha256
from dataprune.store.files import json_text, read_json, write_json

FORMAT = 1
"""The version of everything in a manifest's folder; a change that older readers would misread raises it."""


def write_manifest(folder: Path, name: str, body: Mapping[str, object], files: Sequence[str]) -> None:
    """Write `folder/name` (last, once its files are there): `body`, and size and SHA-256 of every file and of itself.

    Args:
        folder: what the files' paths are relative to.
        name: the manifest's own file name.
        body: what else it says, as JSON; not `format`, `files` or `sha256`.
        files: paths relative to `folder`, with forward slashes.
    """
    assert not {"format", "files", "sha256"} & set(body), "the manifest's own keys"
    listing = {relative: _fingerprint(_inside(folder, relative)) for relative in files}
    manifest = json.loads(canonical_json({**body, "format": FORMAT, "files": listing}))
    write_json(folder / name, {**manifest, "sha256": _text_digest(manifest)})


def read_manifest(folder: Path, name: str, check: bool = False) -> dict[str, Any]:
    """Read `folder/name`, as `write_manifest` wrote it.

    Args:
        folder: where it lies.
        name: its file name.
        check: re-hash every file it names, too.

    Raises:
        InputError: there is none.
        StoreError: it is damaged, of another version, names files outside the folder, or (`check`) a file is not as written.
    """
    path = folder / name
    if not path.is_file():
        raise InputError(f"`{folder}` must hold {name}, there is none. Was the work that writes it interrupted?")
    manifest: Any = read_json(path)
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(version, int) or not isinstance(manifest.get("files"), dict):
        raise StoreError(f"`{path}` is damaged: it is no manifest of dataprune.")
    if version != FORMAT:
        age = "a newer dataprune: upgrade" if version > FORMAT else "an older dataprune: write it anew"
        raise StoreError(f"`{path}` has format {version}, this version reads format {FORMAT}. It is from {age}.")
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    if manifest.get("sha256") != _text_digest(body) or path.read_bytes() != json_text(manifest):
        raise StoreError(f"`{path}` is damaged or was edited: its checksum does not fit.")
    for relative, entry in manifest["files"].items():
        _inside(folder, relative)
        if not isinstance(entry, dict) or set(entry) != {"bytes", "sha256"}:
            raise StoreError(f"`{path}` is damaged: it does not say size and checksum of {relative!r}.")
    found = _faults(folder, manifest) if check else []
    if found:
        raise StoreError(f"`{folder}` is damaged: {join_some(found)}.")
    return dict(manifest)


def faults(folder: Path, name: str) -> list[str]:
    """Return what is wrong with each file of the manifest `folder/name`, in words: missing, wrong size, wrong checksum.

    Returns: nothing when all is sound.

    Raises: what `read_manifest` raises when the manifest itself cannot be believed.
    """
    return _faults(folder, read_manifest(folder, name))


def manifest_beside(path: Path) -> Path | None:
    """Return the manifest that lies beside a single file and speaks for it, `<name>.json` or `<stem>.json`; None where there is none.

    One that cannot be read counts if no other name is left: it may be somebody else's, `faults` says what is wrong with it.
    """
    unreadable = None
    if not path.name:  # `.` and `/` have nothing beside them
        return None
    for manifest in dict.fromkeys((path.with_name(f"{path.name}.json"), path.with_suffix(".json"))):
        if not manifest.is_file() or manifest == path:
            continue
        try:
            found = read_json(manifest)
        except StoreError:
            unreadable = unreadable or manifest
            continue
        if isinstance(found, dict) and isinstance(found.get("files"), dict) and path.name in found["files"]:
            return manifest
    return unreadable


def as_written(path: Path) -> Path:
    """Return `path` back, if it is as dataprune wrote it; a file without a manifest of ours beside it is anybody's, and passes.

    Raises:
        StoreError: its manifest says another size or checksum.
    """
    manifest = manifest_beside(path)
    if manifest is None or not path.is_file():
        return path
    try:
        found = faults(path.parent, manifest.name)
    except StoreError:  # it speaks for nothing: perhaps somebody else's
        return path
    if found:
        raise StoreError(
            f"`{path}` is damaged or was edited: {join_some(found)}. Make it again, or remove {manifest.name} if the change was meant."
        )
    return path


def _inside(folder: Path, relative: str) -> Path:
    parts = PurePosixPath(relative)
    if not relative or parts.is_absolute() or ".." in parts.parts or "\\" in relative or "\0" in relative:
        raise StoreError(f"`{folder}` has a manifest that names a file outside of it: {relative!r}.")
    return folder / parts


def _fingerprint(path: Path) -> dict[str, object]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _faults(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    found = []
    for relative, expected in sorted(manifest["files"].items()):
        path = _inside(folder, relative)
        if not path.is_file():
            found.append(f"{relative} is missing")
        elif (size := path.stat().st_size) != expected["bytes"]:
            found.append(f"{relative} has {size} bytes instead of {expected['bytes']}")
        elif sha256(path) != expected["sha256"]:
            found.append(f"{relative} has another checksum than when it was written")
    return found


def _text_digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
