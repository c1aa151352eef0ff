"""What a person decides about the examples of a run: a journal, on disk as soon as it is made, and the table of what stands."""

import atexit
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np

from dataprune import store, tables
from dataprune.errors import InputError, MachineError
from dataprune.noise.decide import Decisions
from dataprune.run.decisions import read_decisions
from dataprune.run.run import Run
from dataprune.store.files import room, sync

logger = logging.getLogger(__name__)

JOURNAL, TABLE = "decisions.jsonl", "decisions.parquet"
COLUMNS = ("id", "split", "given_label", "decision", "new_label")
Key = tuple[str, str]  # split and id


class Decided(NamedTuple):
    """A decision (keep, drop, relabel, or "" for none), the name of the new label, the entry that says so last, and the one that
    said so first, which an undo brings back."""

    decision: str = ""
    label: str = ""
    entry: int = 0
    origin: int = 0


@dataclass(frozen=True)
class Entry:
    """A line: its number from 1, what changes as (split, id, decision, label), and the number of the entry that it undoes or 0."""

    n: int
    changes: list[tuple[str, str, str, str]]
    undoes: int = 0


class Journal:
    """The decisions in a run's folder. One process appends, under the folder's lock; any may read.

    Each line carries a checksum and is synced before `decide` returns. A last line that was cut short is left out; so is a damaged
    one in the middle, which `notes` say, as they say what is missing. A file that others changed since it was read is not written.

    Attributes:
        count: number of the last entry.
        state: what stands, by split and id.
        undoable: numbers of the entries that can be undone, in their order.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        self.count, self.state, self.undoable, self.notes = 0, dict[Key, Decided](), list[int](), tuple[str, ...]()
        self._before: dict[int, dict[Key, Decided]] = {}
        self._size, self._gap, self._file = 0, b"", (0, 0)
        self._read()

    def decide(self, changes: Mapping[Key, tuple[str, str]], known: int) -> list[Key]:
        """Append what changes; return what does not, since somebody else changed it after the entry `known`.

        Args:     changes: decision and new label ("" unless relabelled) by split and id.
        Raises:   MachineError if it cannot be written; the file is then as it was. InputError for a `known` that never was.
        """
        if not 0 <= known <= self.count:
            raise InputError(f"`known` must be the number of an entry, got {known} of {self.count}.")
        asked = {key: to for key, to in changes.items() if self.state.get(key, Decided())[:2] != to}
        conflicts = dict.fromkeys(key for key in asked if self.state.get(key, Decided()).entry > known)
        self._append({key: to for key, to in asked.items() if key not in conflicts})
        return list(conflicts)

    def undo(self, number: int) -> list[Key]:
        """Take an entry back as one entry; return what stays, since a later one changed it."""
        if number not in self.undoable:
            raise InputError(f"`entry` must be one that can be undone, got {number}. It was undone, or there is none.")
        before = self._before[number]
        free = {key: was for key, was in before.items() if self.state.get(key, Decided()).origin == number}
        self._append({key: (was.decision, was.label) for key, was in free.items()}, number)
        return [key for key in before if key not in free]

    def since(self, number: int) -> dict[Key, Decided]:
        """Return what stands of all that changed after an entry."""
        return {key: self.state[key] for later, before in self._before.items() if later > number for key in before}

    def _append(self, changes: Mapping[Key, tuple[str, str]], undoes: int = 0) -> None:
        if not changes:
            return
        entry = Entry(self.count + 1, [(*key, *to) for key, to in changes.items()], undoes)
        line = json.dumps(store.sealed(vars(entry)), separators=(",", ":")).encode() + b"\n"
        with room(self.path.parent, len(line)):
            if _identity(self.path) != self._file:
                raise MachineError(f"{self.path} was changed by others, and nothing is saved. Start the review again.")
            is_new = not self.path.exists()
            with self.path.open("ab", buffering=0) as file:
                file.truncate(self._size)  # what was cut short
                left = memoryview(self._gap + line)
                try:
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(self._size)
                    raise
            if is_new:
                sync(self.path.parent)
        self._size, self._gap, self._file = self._size + len(self._gap + line), b"", _identity(self.path)
        self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        undone, before = self._before.get(entry.undoes, {}), dict[Key, Decided]()
        for split, name, decision, label in entry.changes:
            key = (split, name)
            before[key] = self.state.get(key, Decided())
            self.state[key] = Decided(decision, label, entry.n, undone[key].origin if key in undone else entry.n)
        self._before[entry.n] = before
        self.count = max(self.count, entry.n)
        if not entry.undoes:
            self.undoable.append(entry.n)
        elif entry.undoes in self.undoable:
            self.undoable.remove(entry.undoes)

    def _read(self) -> None:
        self._file = _identity(self.path)
        content = self.path.read_bytes() if self.path.is_file() else b""
        *lines, last = content.split(b"\n")
        found = [*map(_entry, lines), _entry(last)]
        sound = 0
        for entry in found:
            if entry is not None and entry.n > self.count:  # else it stands there twice, or in the wrong place
                self._apply(entry)
                sound += 1
        self._size = len(content)
        n_lines = max(self.count, len(lines) + (found[-1] is not None))
        if n_lines > sound:
            said = f"{n_lines - sound} of {n_lines} lines of {self.path.name} are damaged or missing"
            self.notes = (f"{said}; what the others say stands",)
        if last and found[-1] is not None:
            self._gap = b"\n"
        elif last:
            self._size -= len(last)
            self.notes = (*self.notes, f"the last line of {self.path.name} was cut short and is left out")


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from what it was: which one it is, and its size; zeros without one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size


def _entry(line: bytes) -> Entry | None:
    try:
        body = json.loads(line)
        seal = body.pop("seal")
        return msgspec.convert(body, Entry) if store.json_digest(body) == seal else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def write_reviewed(run: Run, journal: Journal, folder: Path | None = None) -> Path | None:
    """Write what stands as `decisions.parquet` of the run, or in another folder, for `read_decisions`; None where nothing does.

    A row for each decision: id, split, given_label ("" in other splits than train), decision, new_label. Decisions about examples
    that the run does not have are left out.
    """
    path, row_of = (folder or run.path) / TABLE, {str(name): row for row, name in enumerate(run.ids.tolist())}
    stand = [(key, one) for key, one in journal.state.items() if one.decision and (key[0] != "train" or key[1] in row_of)]
    if not stand:
        with room(path.parent):
            path.unlink(missing_ok=True)
        return None
    digest = store.json_digest(
        {"stand": [[*key, *one[:2]] for key, one in sorted(stand)], "labels": store.array_digest(run.labels)}
    )
    if path.is_file() and tables.read_table(path, ["id"]).metadata.get("id", {}).get("digest") == digest:
        return path
    rows = [
        (name, split, run.classes[run.labels[row_of[name]]] if split == "train" else "", one.decision, one.label)
        for (split, name), one in stand
    ]
    with store.writing(path) as temporary:
        tables.write_table(temporary, dict(zip(COLUMNS, np.array(rows, object).T, strict=True)), {"id": {"digest": digest}})
    return path


def reviewed(run: Run) -> Path | None:
    """Return the table of what was decided in the review of a run, written anew if the journal is newer; None without.

    Of a run that may not be written, which is said, an older table is left alone, and a temporary one is returned.
    """
    if not (run.path / JOURNAL).is_file():
        return None
    journal = Journal(run.path)
    for note in journal.notes:
        logger.warning("%s", note)
    try:
        return write_reviewed(run, journal)
    except MachineError as error:
        logger.warning("%s What was decided is read from %s itself.", error, JOURNAL)
        elsewhere = TemporaryDirectory(prefix="dataprune-")
        atexit.register(elsewhere.cleanup)
        return write_reviewed(run, journal, Path(elsewhere.name))


def decisions_of(run: Run) -> Decisions | None:
    """Return what was decided in the review of a run about its examples; None where nothing was."""
    path = reviewed(run)
    return None if path is None else read_decisions(path, run.ids.tolist(), run.labels, run.classes)
