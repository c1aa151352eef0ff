"""A kept set leaves the run: as a file of ids or rows, or as a folder of copies or links."""

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from dataprune import store
from dataprune.data import Dataset
from dataprune.data.decode import write_png
from dataprune.errors import InputError, invalid
from dataprune.run.run import SPEC, Run
from dataprune.selection import Selection
from dataprune.tables import write_lines, write_npy, write_table

How = Literal["copy", "link"]
FORMATS = (".txt", ".csv", ".parquet", ".npy")


def write_kept(kept: Selection, out: str | Path, run: Run | None = None) -> None:
    """Write a kept set, and beside it `<out>.json` with what was asked, the hash of the kept ids and a checksum of the file.

    Args:
        out: ends in `.txt` (one id a line), `.csv` or `.parquet` (`id, label, row, score`), or `.npy` (rows, int64).
        run: whose score chose it. With it `<out>.json` also names the data, by their fingerprint, and the run, by its settings'.

    Raises:
        InputError: another ending, or the folder does not exist.
        MachineError: no room, or no permission.
    """
    path = Path(out)
    if path.suffix not in FORMATS:
        raise invalid("out", f"end in one of {', '.join(FORMATS)}", repr(str(out)))
    if not path.parent.is_dir():
        raise invalid("out", "lie in a folder that exists", f"{path.parent}")
    with store.writing(path) as temporary:
        if path.suffix == ".txt":
            write_lines(temporary, [str(i) for i in kept.ids])
        elif path.suffix == ".npy":
            write_npy(temporary, kept.rows)
        else:
            columns = {"id": kept.ids, "label": kept.labels, "row": kept.rows, "score": kept.scores}
            write_table(temporary, {name: values for name, values in columns.items() if values is not None})
    said = kept.spec | {"n_examples": kept.n_total}
    if run is not None:
        said |= {"data": run.manifest.spec.data, "run": run.manifest.files[SPEC].sha256}
    store.write_manifest(path.parent, f"{path.name}.json", said, [path.name])


def write_folder(kept: Selection, dataset: Dataset, out: str | Path, how: How) -> None:
    """Make a folder `class/file` of the kept pictures, by copy or by symbolic link.

    Pictures that have no file of their own (Parquet, arrays) become `class/id.png`.

    Args:
        dataset: the data the kept set was taken from; labels decide the class folder.
        out: must not exist; it is filled under another name and renamed when complete.

    Raises:
        InputError: `out` exists, or the data are feature vectors, or links were asked of data without files.
        MachineError: no room, or no permission.
    """
    target = Path(out)
    check_new(target)
    check_pictures(dataset, how)
    with store.publish_together([target], folder_identity(kept, dataset, how), folder_bytes(kept, dataset, how)) as places:
        for place in places.values():
            build_folder(kept, dataset, place, how)


def build_folder(kept: Selection, dataset: Dataset, place: Path, how: How) -> None:
    """Fill a new folder as `write_folder` does, picture by picture."""
    for row, name in zip(kept.rows.tolist(), _file_names(kept, dataset), strict=True):
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        _put(dataset, row, file, how)


def check_pictures(dataset: Dataset, how: How) -> None:
    """Refuse data that cannot become a folder of copies or links."""
    if dataset.images is None:
        raise InputError("feature vectors cannot be copied as pictures. Write the kept ids with --out FILE.")
    if how == "link" and dataset.paths is None:
        raise InputError("these data have no files to link to. Use --copy-to, which writes PNG files.")


def folder_identity(kept: Selection, dataset: Dataset, how: How) -> str:
    """Return a hash of what the folder will hold: which pictures under which labels."""
    assert dataset.labels is not None
    what = [how, dataset.fingerprint, kept.rows.tolist()]
    return hashlib.sha256(store.canonical_json(what).encode()).hexdigest()


def folder_bytes(kept: Selection, dataset: Dataset, how: How) -> int | None:
    """Return how large the folder will be, where that is known before."""
    if how == "link" or dataset.paths is None:
        return None
    return sum(Path(dataset.paths[row]).stat().st_size for row in kept.rows.tolist())


def check_new(folder: Path) -> None:
    """Refuse a folder that exists."""
    store.check_new([folder])


def _put(dataset: Dataset, row: int, place: Path, how: How) -> None:
    if dataset.paths is None:
        assert dataset.images is not None
        write_png(place, np.asarray(dataset.images[row]))
    elif how == "copy":
        shutil.copy2(dataset.paths[row], place)
    else:
        place.symlink_to(Path(dataset.paths[row]).resolve())


def _file_names(kept: Selection, dataset: Dataset) -> list[PurePosixPath]:
    """Return each kept example its place `class/name`: no part of a name may lead out of the folder, and no two may meet."""
    assert dataset.labels is not None
    taken: set[str] = set()
    folders: list[str] = []
    for name in dataset.classes:  # two class names may become one when they are made harmless
        folder = _safe(name)
        while folder.casefold() in {other.casefold() for other in folders}:
            folder += "_"
        folders.append(folder)
    names = []
    for row in kept.rows.tolist():
        folder = folders[int(dataset.labels[row])]
        file = f"{_safe(str(dataset.ids[row]))}.png" if dataset.paths is None else _safe(Path(dataset.paths[row]).name)
        name, number = f"{folder}/{file}", 1
        while name.casefold() in taken:  # two sub-folders, or a file system that does not tell case apart
            stem, dot, ending = file.rpartition(".")
            name, number = f"{folder}/{stem or ending}-{number}{dot}{ending if stem else ''}", number + 1
        taken.add(name.casefold())
        names.append(PurePosixPath(name))
    return names


def _safe(name: str) -> str:
    """Make one harmless part of a path out of any text."""
    cleaned = "".join("_" if c in '/\\\0:*?"<>|' or ord(c) < 32 else c for c in name)
    stem, dot, ending = cleaned.rpartition(".")
    if not stem or len(ending) > 8:
        stem, dot, ending = cleaned, "", ""
    while len(f"{stem}{dot}{ending}".encode("utf-8", "surrogateescape")) > 200:
        stem = stem[:-1]  # the ending stays: it is what the file is read by
    cleaned = f"{stem}{dot}{ending}"
    return f"_{cleaned}" if cleaned.strip(". ") == "" or cleaned.startswith((".", "-")) else cleaned
