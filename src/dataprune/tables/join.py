"""Join by name: for each example the row of whatever carries names. The one place where anything is aligned.

Two names agree if they are equal, or equal in a looser form: Unicode composed and without `./`, one the end of the other's path,
without endings, without leading zeros. The strictest form under which every example has a row is taken, and said.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from dataprune.errors import InputError, invalid, join_some

_KEY = re.compile(r"(.+[ _-])?ids?|key|uuid|name|path|example|(file|image|img)s?([ _]?(id|name|path))?", re.IGNORECASE)
_ROW = re.compile(
    r"(row|index|idx|nr|no|number)([ _]?(id|nr|no|number|index))?", re.IGNORECASE
)  # names examples that have only numbers
PLACES = frozenset(["rank", "row", "order", "position"])  # whole numbers that say where something stands, not what it is

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Joined:
    """Where each example's row is in a table."""

    rows: Int64[np.ndarray, " examples"]
    extra: tuple[str, ...] = ()  # names that are no example's, in the table's order
    form: str = ""  # in which the names agree; empty where they are equal as they stand
    key: str | None = "id"  # the column that names the examples; None where they were joined by row

    def notes(self, source: object) -> tuple[str, ...]:
        """Say what was guessed, and what was left over, in a line each."""
        said = []
        if self.key is None:
            said = [f"{source} was joined by row: no column of it names the examples"]
        elif self.key != "id" or self.form:
            said = [f"{source} was joined by its column {self.key}{self.form and f', {self.form}'}"]
        if self.extra:
            said += [f"{source} has rows for ids that are not in the data: {join_some(map(repr, self.extra), most=3)}"]
        return tuple(said)


def is_key(column: str) -> bool:
    """Return whether a column is called as what names examples; such a one is never passed over for the order of rows."""
    return _KEY.fullmatch(column) is not None


def align(columns: Mapping[str, Sequence[str]], n_rows: int, ids: Sequence[str], name: str, source: object) -> Joined:
    """Return for each id its row in a table: by that of `columns` (texts) which names the examples, else by row. `name` is what the
    table is called in the call, `source` the file that it is, for messages. An InputError says that a name stands twice or is
    missing, that two columns name the examples differently, or that none does and the lengths differ."""
    key = key_column(columns, ids, source)
    if key is None:
        if n_rows != len(ids):
            raise invalid(name, f"have one row for each of the {len(ids)} examples", f"{n_rows} rows in {source}", "Or add ids.")
        return Joined(np.arange(n_rows), key=None)
    joined = join(ids, columns[key], name, source, key)
    counts = any(list(columns[key]) == [str(row + first) for row in range(n_rows)] for first in (0, 1))
    moved = np.flatnonzero(joined.rows != np.arange(len(ids)))
    if counts and joined.form and not is_key(key) and len(moved):
        place = int(moved[0])
        got = f"`{key}` in {source}, which counts the rows: {ids[place]!r} is row {joined.rows[place]} by name, {place} by row"
        raise invalid(name, "say which example a row is", got, "Call the column id if it names them, else leave it out.")
    return joined


def join(ids: Sequence[str], keys: Sequence[str], name: str, source: object, key: str = "id") -> Joined:
    """Return for each id the row whose key names it; the column of keys is called `key`, the rest is as of `align`.

    Example:
        >>> join(["b", "a"], ["a", "b", "c"], "scores", "scores.csv")
        Joined(rows=array([1, 0]), extra=('c',), form='', key='id')
        >>> join(["lily/1.png", "rose/1.png"], ["./rose/1", "./lily/1"], "labels", "labels.csv").rows.tolist()
        [1, 0]
    """
    found = places(ids, keys)
    counts = Counter(keys)
    owners = Counter(place for place in found.places if place >= 0)
    is_double = [owners[place] > 1 if owners else counts[one] > 1 for one, place in zip(keys, found.places, strict=True)]
    doubles = [repr(one) for one, double in zip(keys, is_double, strict=True) if double]
    extra = tuple(one for one, place in zip(keys, found.places, strict=True) if place < 0)
    missing = [repr(one) for place, one in enumerate(ids) if place not in owners]
    if doubles:
        raise invalid(name, "name every id once", f"{join_some(dict.fromkeys(doubles))} more than once in {source}")
    if missing:
        others = f"; its rows without an example: {join_some(map(repr, extra), most=2)}" if extra else ""
        got = f"none for the id {join_some(missing)} ({len(missing):,} of {len(ids):,}) in {source}{others}"
        raise invalid(name, "have a row for every example", got)
    row_of = {place: row for row, place in enumerate(found.places)}
    return Joined(np.array([row_of[place] for place in range(len(ids))], np.int64), extra, found.form, key)


def key_column(columns: Mapping[str, Sequence[str]], ids: Sequence[str], source: object = "the table") -> str | None:
    """Return the column that names the examples, None where there is none: the one that names most of them, half of them, or with
    half of its names, none twice; of equal ones that called like a key. Where the ids are row numbers only a column that is called
    like a key or a row counts: any ranking would name them all. Failing that, one that is called like a key and names every row
    differently, which then has to fit. Two that are as good and name the examples in different orders are an InputError."""
    are_numbers = list(ids) == [str(row) for row in range(len(ids))]
    names = sorted(columns, key=lambda name: (not is_key(name), name.lower() != "id"))
    may = [name for name in names if is_key(name) or (_ROW.fullmatch(name) if are_numbers else name.lower() not in PLACES)]
    wanted = set(ids)
    if exact := [name for name in may if wanted.issubset(columns[name])]:
        return _only(exact, columns, ids, source)
    found: dict[str, int] = {}
    for name in may:
        values = columns[name]
        n_found = places(ids, values).n_found
        if n_found and (2 * n_found >= len(ids) or (2 * n_found >= len(values) and len(set(values)) == len(values))):
            found[name] = n_found
    if found:
        most = max(found.values())
        return _only([name for name in found if found[name] == most], columns, ids, source)
    keys = [name for name in names if is_key(name)]
    return next((name for name in keys if name.lower() == "id" or len(set(columns[name])) == len(columns[name])), None)


def _only(names: list[str], columns: Mapping[str, Sequence[str]], ids: Sequence[str], source: object) -> str:
    """Return the first of the columns that name equally many examples, unless another of its rank names them differently."""
    first = names[0]
    for other in names[1:]:
        same_rank = [one.lower() == "id" or is_key(one) * 2 for one in (first, other)]
        if same_rank[0] == same_rank[1] and places(ids, columns[first]).places != places(ids, columns[other]).places:
            raise InputError(f"`{first}` and `{other}` name the examples of {source} in different orders. Leave out the wrong one.")
    return first


@dataclass(frozen=True)
class Places:
    """For each key the place of the example that it names, −1 where it names none; how many are named; in which form."""

    places: list[int]
    n_found: int
    form: str


def places(ids: Sequence[str], keys: Sequence[str]) -> Places:
    """Find what keys name, in the strictest form in which every id has a key; else in that in which most have one."""
    best = Places([], -1, "")
    for form, found in _found(ids, keys):
        best = max(best, Places(found, len(set(found) - {-1}), form), key=lambda one: one.n_found)
        if best.n_found == len(ids):
            break
    return best


def _found(ids: Sequence[str], keys: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    place_of = {one: place for place, one in enumerate(ids)}
    yield "", [place_of.get(key, -1) for key in keys]
    paths, given = [_parts(one) for one in ids], [_parts(key) for key in keys]
    ways = [("", 0, 0), ("without endings", 1, 0), ("without endings", 1, 1), ("without leading zeros", 2, 2)]
    for words, of_ids, of_keys in ways:
        names, others = [_stripped(one, of_ids) for one in paths], [_stripped(key, of_keys) for key in given]
        owner = {one: place for place, one in enumerate(names)}
        if len(owner) < len(names):
            continue  # two examples would be one
        yield words, [owner.get(other, -1) for other in others]
        by_end = ", ".join(filter(None, ("by the end of the path", words)))
        yield by_end, _by_longer_keys(owner, others)
        tails: dict[Parts, int] = {}
        for place, one in enumerate(names):
            for start in range(len(one)):
                tails[one[start:]] = -1 if one[start:] in tails else place
        yield by_end, [owner.get(one, tails.get(one, -1)) for one in others]


def _by_longer_keys(owner: Mapping[Parts, int], keys: list[Parts]) -> list[int]:
    """Find the examples that keys end in: below whatever folders where none is named twice, else below the one that names most."""
    deepest = max(map(len, owner), default=0)
    under: dict[Parts, list[tuple[int, int]]] = {}
    for row, key in enumerate(keys):
        for start in range(max(0, len(key) - deepest), len(key)):
            if key[start:] in owner:
                under.setdefault(key[:start], []).append((row, owner[key[start:]]))
                break
    found, folders = [-1] * len(keys), sorted(under.values(), key=len, reverse=True)
    named = [place for pairs in folders for _, place in pairs]
    if len(set(named)) < len(named) and len(folders[0]) > len(folders[1] if folders[1:] else ()):
        folders = folders[:1]  # of folders that name equally many all are taken, and `join` refuses what stands twice
    for row, place in (pair for pairs in folders for pair in pairs):
        found[row] = place
    return found


def _parts(name: str) -> Parts:
    path = unicodedata.normalize("NFC", name).replace("\\", "/")
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _stripped(parts: Parts, how: int) -> Parts:
    """Take the ending off the last part (1), and leading zeros (2)."""
    if not parts or not how:
        return parts
    stem, dot, ending = parts[-1].rpartition(".")
    last = stem if stem and dot and ending.isalnum() and not ending.isdecimal() else parts[-1]
    return (*parts[:-1], str(int(last)) if how == 2 and last.isascii() and last.isdecimal() else last)
