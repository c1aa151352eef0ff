"""What lies in a folder: its pictures with size and time, what else, what cannot be used; and pictures by the names of a table."""

import os
import posixpath
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

from dataprune.data.dataset import Skipped
from dataprune.data.decode import SUFFIXES
from dataprune.data.source import Pictures, plain, read_file, shared_folders, stamp
from dataprune.errors import InputError, join_some

NOT_FOLLOWED = "links to folders inside the source were not followed"
_IGNORED = frozenset({"__MACOSX"})
_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device", stat.S_IFDIR: "folder"}


@dataclass(frozen=True)
class File:
    """One picture: its id is the path relative to the root, with slashes."""

    id: str
    path: str
    state: os.stat_result
    through: str = ""  # the link to a folder that leads to it, if one does

    @property
    def inode(self) -> tuple[int, int]:
        return self.state.st_dev, self.state.st_ino


@dataclass
class Walk:
    """What lies below a root; every name is relative to it. Files are in the order of their ids."""

    base: str
    files: list[File] = field(default_factory=list)
    bad: list[Skipped] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # files that are no pictures by their ending
    folders: list[str] = field(default_factory=list)  # also empty ones
    links: list[str] = field(default_factory=list)  # to folders, which lead back to where the walk has been

    def ending_in(self, endings: tuple[str, ...]) -> dict[str, str]:
        return {name: f"{self.base}/{name}" for name in self.others if name.lower().endswith(endings)}


def walk(root: str | Path) -> Walk:
    """Walk through a folder, without hidden files. Links are followed, those to a folder above them are listed."""
    found = Walk(os.path.realpath(root))
    waiting, seen = [(found.base, "", "")], {("", found.base)}
    while waiting:
        folder, above, through = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".") and entry.name not in _IGNORED]
        except OSError as error:
            said = f"cannot list {plain(folder)}: {error.strerror}."
            if folder == found.base:
                raise InputError(said) from None
            found.bad.append(Skipped(above.rstrip("/"), said))
            continue
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            name = above + plain(entry.name)
            is_picture = PurePosixPath(entry.name).suffix.lower() in SUFFIXES
            if is_picture or (not entry.is_dir() and not entry.is_file() and entry.is_symlink()):
                item = listed(entry.path, name, through)
                found.files.append(item) if isinstance(item, File) else found.bad.append(item)
                continue
            if not entry.is_dir():
                found.others.append(name if entry.is_file() else f"{name} (no file)")  # nothing opens what is a pipe
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
    led_to = {file.inode for file in files if file.through}
    at_home = {file.inode for file in files if not file.through and file.inode in led_to and not Path(file.path).is_symlink()}
    again = {file.id for file in files if file.through and file.inode in at_home}
    links = sorted({file.through for file in files if file.id in again})
    notes = [f"{NOT_FOLLOWED}, their pictures count once: {join_some(links)}"] if links else []
    kept = [file for file in files if file.id not in again]
    by_inode: dict[tuple[int, int], list[str]] = {}
    for file in kept:
        by_inode.setdefault(file.inode, []).append(file.id)
    doubles = [" = ".join(names) for names in by_inode.values() if len(names) > 1]
    return kept, notes + ([f"the same file under several names (links): {join_some(doubles)}"] if doubles else [])


def file_pictures(base: str, files: Iterable[File]) -> Pictures:
    files = list(files)
    reads = [partial(read_file, file.path) for file in files]
    return Pictures.of(reads, (base, *(stamp(file.id, file.state) for file in files)), sum(file.state.st_size for file in files))


def listed(path: str, name: str, through: str = "") -> File | Skipped:
    try:
        state = Path(path).stat()
    except (OSError, ValueError) as error:
        if Path(path).is_symlink():
            return Skipped(name, f"a link to nothing ({plain(Path(path).readlink())})")
        return Skipped(name, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    if not stat.S_ISREG(state.st_mode):
        return Skipped(name, f"a {_KINDS.get(stat.S_IFMT(state.st_mode), 'special file')}, not a picture")
    return File(name, path, state, through) if state.st_size else Skipped(name, "empty (0 bytes)")


class Shelf:
    """The pictures below a folder by the names that a table gives them; it is walked through only if paths do not lead there."""

    def __init__(self, base: str, found: Walk | None = None) -> None:
        self.base = base
        self._found = found

    @cached_property
    def walk(self) -> Walk:
        return self._found or walk(self.base)

    def find(self, texts: Sequence[str], folder: str) -> list[list[str]]:
        """Return for each text the paths of the pictures that it may mean. Texts are paths from `folder` or from the shelf's own,
        or else whole ends of the pictures' paths: `1.png`, `a/1.png`, `1`. Where none means anything, folders that all texts begin
        with are left away first."""
        names = [posixpath.normpath(_composed(text)) if text else "" for text in texts]
        for root in dict.fromkeys((folder, self.base)):
            straight = [self._straight(root, text, name) for text, name in zip(texts, names, strict=True)]
            if any(straight):
                return straight
        for depth in range(len(shared_folders(filter(None, names))) + 1):
            ends = ["/".join(name.split("/")[depth:]) for name in names]
            if any(found := [self._by_name["end"].get(end) or self._by_name["stem"].get(end) or [] for end in ends]):
                return found
        return [[] for _ in texts]

    def _straight(self, root: str, text: str, name: str) -> list[str]:
        for path in (Path(root, one) for one in dict.fromkeys((text, name))):
            with suppress(OSError, ValueError):  # what no file can be called is none
                if path.suffix.lower() in SUFFIXES and path.is_file():
                    return [os.path.normpath(path)]
        if name.isascii():
            return []
        return self._by_name["whole"].get(_composed(os.path.relpath(Path(root, name), self.base)), [])  # in another Unicode form

    @cached_property
    def _by_name(self) -> dict[str, dict[str, list[str]]]:
        """The paths of pictures by their whole names, by the ends of these, and by the ends without ending."""
        found: dict[str, dict[str, list[str]]] = {"whole": {}, "end": {}, "stem": {}}
        for file in self.walk.files:
            name = _composed(file.id)
            stem = name.rpartition(".")[0]
            for form, keys in (("whole", [name]), ("end", _tails(name)), ("stem", _tails(stem))):
                for key in keys:
                    found[form].setdefault(key, []).append(file.path)
        return found


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\\", "/")


def _tails(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[at:]) for at in range(len(parts))]
