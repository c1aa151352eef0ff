"""Folders of pictures: which class and split each picture is of, by the folders that it lies in."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dataprune.data.classes import Listing, gather
from dataprune.data.dataset import Dataset, Skipped
from dataprune.data.decode import SUFFIXES
from dataprune.data.source import SPLIT_NAMES, SPLITS, Source, by_split, plain, shared_folders, split_of
from dataprune.data.walk import NOT_FOLLOWED, File, Walk, file_pictures, without_doubles
from dataprune.errors import InputError, invalid, join_some

_PLAIN = frozenset({"data", "image", "images", "img", "imgs", "jpg", "jpegs", "photos", "pictures"})
_UNLABELED = "_unlabeled"


@dataclass(frozen=True)
class Place:
    """A folder whose pictures belong to one split: to one class, or to classes by the folders in it."""

    folder: str  # with a slash at its end, or empty
    split: str
    label: str | None = None


def read_folder(root: Path, found: Walk, labelled: bool) -> Source:
    """List the pictures of a folder: `class/*.jpg`, `train/ test/ [validation/]` with classes inside, or flat. Where it is
    `labelled` from elsewhere, pictures beside class folders are welcome."""
    if not found.files and not found.bad:
        passed = f" (passed over: {_counted(found.others)})" if found.others else ""
        endings = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        cure = f"It must hold class/*.jpg, or train/ and test/ with classes inside; files that end in {endings} are read."
        raise InputError(f"no picture in {plain(root)}{passed}. {cure}")
    places, notes = layout([file.id for file in found.files] or [f"{item.path}/" for item in found.bad], plain(root), labelled)
    taken: dict[str, list[tuple[File, str | None]]] = {split: [] for split in SPLITS if any(p.split == split for p in places)}
    for file in found.files:
        if (place := place_of(file.id, places)) is not None:
            taken[place.split].append((file, label_at(file.id, place)))
    words = {file.id: split_of(PurePosixPath(file.id).stem) for file in found.files}
    if list(taken) == ["train"] and {"train"} < (said := set(words.values())):
        if None in said:
            notes.append("some names of pictures hold words for splits, which are not taken for splits, as others hold none")
        else:
            notes.append("the splits are taken from the names of the pictures")
            taken = {split: [pair for pair in taken["train"] if words[pair[0].id] == split] for split in SPLITS if split in said}
    for split, group in taken.items():
        sole = {label for _, label in group}
        if len(sole) == 1 and (label := next(iter(sole))) is not None and label.casefold() in _PLAIN:
            notes.append(f"the pictures of {split} lie in one folder {label}, which is not taken for a class")
            taken[split] = [(file, None) for file, _ in group]
    of_split = {split: [place for place in places if place.split == split] for split in taken}
    listings = {split: _listing(found, group, of_split[split], labelled) for split, group in taken.items()}
    notes += [f"{NOT_FOLLOWED}, as they lead back: {join_some(found.links)}"] if found.links else []
    return gather("folder", found.base, listings, notes)


def layout(ids: Iterable[str], where: str = "the folder", labelled: bool = False) -> tuple[list[Place], list[str]]:
    """Decide which folders are splits and which are classes, from the paths of all pictures; say what was guessed. Two readings
    that are as good are an InputError."""
    tree = _Tree(ids)
    root = tree.unwrapped("")
    notes = [f"the pictures are read below {root}"] if root else []
    splits, said = _splits(tree, root, where, labelled)
    notes += said
    if splits:
        inner = {split: tree.without_repeats(folder) for split, folder in splits.items()}
        sole = {tuple(tree.below[folder]) for folder in inner.values()}
        if len(sole) == 1 and all(tree.unwrapped(folder) != folder for folder in inner.values()):
            inner = {split: f"{folder}{next(iter(sole))[0]}/" for split, folder in inner.items()}
        return [Place(folder, split) for split, folder in inner.items()], notes
    classes = sorted(tree.below[root])
    inside = [tree.below[f"{root}{name}/"] for name in classes]
    if len(classes) > 1 and len(inside[0]) > 1 and all(names == inside[0] for names in inside):
        words = {name: split_of(name) for name in sorted(inside[0])}
        if "train" in words.values() and len({*words.values()} - {None}) == len(words):
            notes.append(f"every class folder holds the splits {join_some(words)}")
            return [Place(f"{root}{label}/{name}/", str(split), label) for label in classes for name, split in words.items()], notes
        cure = "if those are the classes, the labels here are wrong: give them with labels=FILE (--labels)"
        notes.append(f"every class folder holds the same folders ({join_some(words)}); {cure}")
    return [Place(root, "train")], notes


def place_of(name: str, places: Iterable[Place]) -> Place | None:
    return next((place for place in places if name.startswith(place.folder)), None)


def label_at(name: str, place: Place) -> str | None:
    """Return the class of a picture at its place, None right in the place, or where FiftyOne puts what has no label."""
    if place.label is not None:
        return place.label
    folder, slash, _ = name.removeprefix(place.folder).partition("/")
    return folder if slash and folder != _UNLABELED else None


def refuse_output_inside_data(dataset: Dataset, out: Path, name: str = "out") -> None:
    """Refuse a folder that would be a class of the data, and so make the same command find other data: not one beside `train` and
    `test`, nor one whose name begins with a dot."""
    if dataset.origin is None or dataset.origin.kind != "folder":
        return
    classes = Path(dataset.origin.path)
    for part in shared_folders(str(one) for one in dataset.ids):
        if split_of(part) is None:
            break
        classes /= part
    real = Path(os.path.realpath(out))
    if real.is_relative_to(classes) and not any(part.startswith(".") for part in real.relative_to(classes).parts):
        raise invalid(name, f"lie outside the data in {classes}", str(out), "It would be taken for a class: choose another folder.")


class _Tree:
    """Which folders hold pictures: right in them, or in which folders of theirs."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.below: dict[str, set[str]] = defaultdict(set)
        self.direct: set[str] = set()
        for folder in {one.rpartition("/")[0] for one in ids}:
            self.direct.add(f"{folder}/" if folder else "")
            above = ""
            for part in folder.split("/") if folder else ():
                self.below[above].add(part)
                above += f"{part}/"

    def unwrapped(self, folder: str) -> str:
        """Go down while there is nothing but one folder, which holds folders only and is no split."""
        while folder not in self.direct and len(self.below[folder]) == 1:
            inner = f"{folder}{next(iter(self.below[folder]))}/"
            if inner in self.direct or split_of(inner.split("/")[-2]):
                break
            folder = inner
        return folder

    def without_repeats(self, folder: str) -> str:
        """Go down while a folder holds nothing but one that is called as it is, as archives are unpacked."""
        while folder not in self.direct and self.below[folder] == {name := folder.split("/")[-2]}:
            folder += f"{name}/"
        return folder


def _splits(tree: _Tree, root: str, where: str, labelled: bool) -> tuple[dict[str, str], list[str]]:
    """Return the folder of each split, none where the folders are classes (a class may be called "train")."""
    words = {name: split for name in sorted(tree.below[root]) if (split := split_of(name))}
    if not words:
        return {}, []
    is_exact = any(name.casefold() in SPLIT_NAMES for name in words)
    found = by_split(words, where) if is_exact or len(set(words.values())) > 1 or len(tree.below[root]) == 1 else {}
    others = sorted(tree.below[root] - set(found.values()))
    has_classes = "train" in found and bool(tree.below[f"{root}{found['train']}/"])
    if "train" not in found or (len(found) == 1 and others and not has_classes):
        said = f"read as classes, though they may be splits by their names (no train and another go together): {join_some(words)}"
        return {}, [said]
    strangers = [name for name in others if split_of(name) is None]
    if strangers and not has_classes and not labelled:
        shown, rest = join_some(found.values()), join_some(strangers)
        cure = "Name the folder of one split as DATA, move what is no split, or rename the classes."
        raise InputError(f"{where}: {shown} may be splits, with {rest} beside them, or classes as {rest} are. {cure}")
    notes = [f"passed over beside the splits: {join_some(others)}"] if others else []
    guessed = [f"{name} as {split}" for split, name in found.items() if name.casefold() != split]
    notes += [f"folders read as splits: {join_some(guessed)}"] if guessed else []
    return {split: f"{root}{name}/" for split, name in found.items()}, notes


def _listing(found: Walk, taken: list[tuple[File, str | None]], own: list[Place], labelled: bool) -> Listing:
    label_of = {file.id: label for file, label in taken}
    files, notes = without_doubles([file for file, _ in taken])
    bad = [item for item in found.bad if place_of(item.path, own)]
    # A folder whose pictures are all bad is not empty as well: one mistake, one line.
    filled = {file.id.rpartition("/")[0] for file in files} | {item.path for item in bad}
    if not any(place.label for place in own) and any(label_of.values()):
        folders = [one for one in found.folders if (place := place_of(one, own)) and "/" not in one.removeprefix(place.folder)]
        empty = [one for one in sorted(folders) if not any(f"{name}/".startswith(f"{one}/") for name in filled)]
        bad += [Skipped(name, "a class folder with no picture") for name in empty if PurePosixPath(name).name != _UNLABELED]
    if others := [name for name in found.others if place_of(name, own)]:
        what = "1 file that is not a picture by its" if len(others) == 1 else f"{len(others)} files that are not pictures by their"
        notes.insert(0, f"passed over {what} ending: {_counted(others)}")
    ids = [file.id for file in files]
    outside = [row for row, one in enumerate(ids) if label_of[one] is None and _UNLABELED not in PurePosixPath(one).parts]
    labels = None if labelled and None in map(label_of.get, ids) else [label_of[one] for one in ids]

    def content(rows: list[int]) -> dict[str, Any]:
        kept = [files[row] for row in rows]
        return {"pictures": file_pictures(found.base, kept), "paths": [file.path for file in kept], "notes": tuple(notes)}

    faults = dict.fromkeys(outside, "lies outside any class folder") if labels and any(labels) else {}
    return Listing(ids, labels, content, faults, bad=tuple(bad))


def _counted(others: Iterable[str]) -> str:
    counts = Counter(PurePosixPath(name).suffix or "without ending" for name in others)
    return join_some(f"{count} {ending}" for ending, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
