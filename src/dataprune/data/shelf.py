"""Pictures by the names that a table gives them: paths, the last parts of paths, with or without ending."""

import os
import posixpath
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from dataprune.data.decode import SUFFIXES
from dataprune.data.source import shared_folders
from dataprune.data.walk import Walk, walk


class Shelf:
    """The pictures below a folder, which is walked through only when paths do not lead to them straight."""

    def __init__(self, base: str, found: Walk | None = None) -> None:
        self.base = base
        self._found = found

    @cached_property
    def walk(self) -> Walk:
        """All that lies below the folder."""
        return self._found or walk(self.base)

    def find(self, texts: Sequence[str], folder: str) -> list[list[str]]:
        """Return for each text the paths of the pictures that it may mean.

        Texts are paths from `folder` or from the shelf's own, or else whole ends of the pictures' paths: `1.png`, `a/1.png`, `1`.
        Where none means anything, folders that all texts begin with are left away first.
        """
        names = [posixpath.normpath(_composed(text)) if text else "" for text in texts]
        for root in dict.fromkeys((folder, self.base)):
            straight = [self._straight(root, text, name) for text, name in zip(texts, names, strict=True)]
            if any(straight):
                return straight
        for depth in range(len(shared_folders(filter(None, names))) + 1):
            ends = ["/".join(name.split("/")[depth:]) for name in names]
            if any(found := [self._ends.get(end) or self._stems.get(end) or [] for end in ends]):
                return found
        return [[] for _ in texts]

    def _straight(self, root: str, text: str, name: str) -> list[str]:
        for one in dict.fromkeys((text, name)):
            path = Path(root, one)
            if path.suffix.lower() in SUFFIXES and is_file(path):
                return [os.path.normpath(path)]
        if name.isascii():
            return []
        return self._wholes.get(_composed(os.path.relpath(Path(root, name), self.base)), [])  # in another Unicode form

    @cached_property
    def _wholes(self) -> dict[str, list[str]]:
        return self._by(lambda name: [name])

    @cached_property
    def _ends(self) -> dict[str, list[str]]:
        return self._by(_ends)

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        return self._by(lambda name: _ends(name.rpartition(".")[0]))

    def _by(self, keys: Callable[[str], list[str]]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in self.walk.files:
            for key in keys(_composed(file.id)):
                found.setdefault(key, []).append(file.path)
        return found


def is_file(path: Path) -> bool:
    """Return whether there is such a file; what no file can be called is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\\", "/")


def _ends(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[at:]) for at in range(len(parts))]
