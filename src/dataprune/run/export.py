"""What leaves a run: kept sets, cleaned sets and noisy labels as files, copies or links in folders, probabilities."""

import filecmp
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from dataprune import store, tables
from dataprune.data import Dataset, Records
from dataprune.data.decode import write_png
from dataprune.errors import InputError, check_type, invalid, join_some
from dataprune.noise import Suspects
from dataprune.noise.decide import Decisions
from dataprune.run.decisions import read_said
from dataprune.run.run import SPEC, Run
from dataprune.selection import Selection
from dataprune.selection.ids import ids_sha256
from dataprune.tables import TABLES, check_output
from dataprune.tables.annotations import fiftyone_labels, label_studio_task
from dataprune.tables.files import reading, regular

How = Literal["copy", "link"]
KEPT = (".txt", ".csv", ".parquet", ".npy")
RECORDS_FILE = "train.parquet"  # of a copied set of texts or rows: `read` takes the folder
LONGEST_NAME = 200  # bytes of a file name that is made here


def write_kept(kept: Selection, out: str | Path, run: Run | None = None, *, overwrite: bool = False) -> None:
    """Write a kept set, and beside it `<out>.json` with what was asked, the hash of the kept ids and a checksum of the file.

    Args:
        out: ends in `.txt` (one id a line), `.csv` or `.parquet` (`id, label, row, score`), or `.npy` (rows, int64).
        run: whose score chose it. With it labels are written, by their names, and `<out>.json` also names the data, by their
            fingerprint, and the run, by its settings'.
        overwrite: replace a file that holds something else, which is refused otherwise.
    """
    path = check_output(out, KEPT)
    check_type("kept", kept, Selection)
    store.check_beside(path, lambda said: store.speaks_for(said, path.name), overwrite=overwrite)
    with store.writing(path, overwrite=overwrite) as temporary:
        if path.suffix.lower() == ".txt":
            tables.write_lines(temporary, [str(i) for i in kept.ids])
        elif path.suffix.lower() == ".npy":
            tables.write_npy(temporary, kept.rows)
        else:
            tables.write_table(temporary, kept_columns(kept, run))
    said = {**kept.spec, "n_examples": kept.n_total}
    if run is not None:
        said |= {"data": run.manifest.spec.data, "run": run.manifest.files[SPEC].sha256}
    store.write_manifest(path.parent, store.beside(path).name, said, [path.name])


def kept_columns(kept: Selection, run: Run | None = None) -> dict[str, np.ndarray]:
    """Return a row for each kept example: id, label by name where the run is given, row, score, weight, as far as there."""
    columns = {"id": kept.ids, "label": None, "row": kept.rows, "score": kept.scores, "weight": kept.weights}
    if run is not None and kept.labels is not None:
        columns["label"] = np.array(run.classes, object)[kept.labels]
    return {name: values for name, values in columns.items() if values is not None}


def write_probabilities(
    run: Run, out: str | Path, which: Literal["all", "in", "out"] = "all", *, overwrite: bool = False
) -> tuple[int, int]:
    """Write class probabilities of the last epoch, the mean over members, as .npy (examples, classes) float32; return the shape.

    Args:
        which: over all members, over those trained on the example ("in"), or those that were not ("out"), which must exist.
        overwrite: replace a file that holds something else, which is refused otherwise.
    """
    path = check_output(out, (".npy",))
    check_type("run", run, Run, "Open its folder with `open_run`.")
    p = np.concatenate([chunk.probabilities(which) for chunk in run.trace.chunks()])
    with store.writing(path, p.nbytes, overwrite=overwrite) as temporary:
        tables.write_npy(temporary, p)
    return p.shape[0], p.shape[1]


def write_fiftyone(found: Suspects, decisions: Path | None, out: Path, *, overwrite: bool = False) -> int:
    """Write the labels after the decisions as FiftyOne reads them, without what is dropped; return how many."""
    decided, _ = _decided(found, decisions)
    labels = {str(decided.ids[row]): int(decided.labels[row]) for row in decided.rows.tolist()}
    _write_json(out, fiftyone_labels(labels, decided.classes), overwrite)
    return len(labels)


def write_label_studio(found: Suspects, decisions: Path | None, out: Path, *, overwrite: bool = False) -> int:
    """Write a task of Label Studio for each suspect and each label that is decided about, most suspect first; return how many."""
    (decided, words), names, tasks = _decided(found, decisions), found.classes, []
    for row in found.order.tolist():
        name, word = str(found.ids[row]), words.get(row, "")
        if found.is_suspect[row] or word:
            about = {"id": name, "label": names[found.labels[row]], "reason": str(found.reason[row]), "decision": word}
            label = names[decided.labels[row]] if word in ("keep", "relabel") else None
            suggested, sure = names[found.suggested_label[row]], round(float(found.probability[row]), 6)
            tasks.append(label_studio_task(name, about, suggested, sure, label))
    _write_json(out, tasks, overwrite)
    return len(tasks)


def _decided(found: Suspects, decisions: Path | None) -> tuple[Decisions, dict[int, str]]:
    if decisions is not None:
        return read_said(decisions, found.ids.tolist(), found.labels, found.classes, found)
    return Decisions(found.ids, found.labels, found.labels, np.full(len(found), "keep", object), found.classes), {}


def _write_json(out: Path, content: object, overwrite: bool) -> None:
    with store.writing(out, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")


def read_matrix(path: Path) -> Float64[np.ndarray, "rows columns"]:
    """Read a matrix of shares: .npy, or .csv without a header."""
    if path.suffix.lower() not in (".csv", ".npy"):
        raise invalid("matrix", "end in .csv or .npy", repr(str(path)))
    with reading(regular(path), "matrix of numbers: a row a line, commas between them, no header"):
        if path.suffix.lower() == ".npy":
            found = tables.read_npy(path).astype(np.float64)
        else:
            found = np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8-sig")
    if found.ndim != 2:
        raise invalid("matrix", "have rows and columns", f"an array of shape {found.shape} in {path}")
    return found


@dataclass(frozen=True)
class Targets:
    """Where a cleaned set goes: a file of labels, .csv or .parquet, and new folders, each of copies or of links."""

    labels: Path | None = None
    folders: Mapping[Path, How] = field(default_factory=dict)

    def __post_init__(self) -> None:  # texts are paths too
        object.__setattr__(self, "labels", None if self.labels is None else Path(self.labels))
        object.__setattr__(self, "folders", {Path(folder): how for folder, how in self.folders.items()})

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [*([] if self.labels is None else [self.labels]), *self.folders]

    def check(self) -> list[Path]:
        """Refuse names that could not be written, or folders that are taken, before any work; return what is new.

        A file of labels that is there, and not by an interrupted call, is no new one.
        """
        if self.labels is not None:
            check_output(self.labels, TABLES, "A folder of pictures is written by --copy-to or --link-to.")
        is_there = self.labels is not None and self.labels.is_file() and store.begun(self.paths) is None
        new = list(self.folders) if is_there else self.paths
        store.check_new(new)
        return new


def write_cleaned(decided: Decisions, targets: Targets, dataset: Dataset | None = None, *, overwrite: bool = False) -> None:
    """Write the file of labels, and folders `class/file` of the examples that stay, under their labels after it.

    What is new appears together, or not at all. Killed, the same call goes on. The file has a row for each example, also dropped:
    `id, label, given_label, decision`, labels as class names; `--labels` takes it and leaves out the examples that it drops.

    Args:
        dataset: the pictures, for folders.
        overwrite: replace a file of labels that holds something else, which is refused otherwise.
    Raises:   InputError: a folder is there already, nothing stays, or the data are no pictures or have no files to link to.
    """
    check_type("decided", decided, Decisions)
    new, made = targets.check(), dict[Path, Folder]()
    if dataset is not None:
        rows, ids = decided.rows, decided.ids[decided.rows]
        if targets.folders and not len(rows):
            raise InputError("every example would be dropped. Keep some.")
        spec = {"strategy": "decisions", "ids_sha256": ids_sha256(ids.tolist())}
        kept = Selection(rows, ids, decided.labels[rows], None, len(decided), "decisions", len(rows) / len(decided), spec)
        relabelled = dataset.with_labels(decided.labels, decided.classes)
        made = {target: Folder(kept, relabelled, how) for target, how in targets.folders.items()}
    for folder in made.values():
        folder.check()
    table = decided._columns()
    if targets.labels is not None and targets.labels not in new:
        with store.writing(targets.labels, overwrite=overwrite) as temporary:
            tables.write_table(temporary, table)
    if not new:
        return
    what = [*(values.tolist() for values in table.values()), decided.classes, list(targets.folders.values())]
    needs = sum(folder.n_bytes or 0 for folder in made.values())
    with store.publish_together(new, store.json_digest(what), needs or None) as places:
        for target, place in places.items():
            if target == targets.labels:
                tables.write_table(place, table)
            else:
                made[target].build(place)


def write_folder(kept: Selection, dataset: Dataset, out: str | Path, how: How) -> None:
    """Make a folder `class/file` of the kept pictures, by copy or by symbolic link; of texts or rows the table `train.parquet`.

    Pictures that have no file of their own (Parquet, arrays) become `class/id.png`. The table has `id`, the columns as they were
    read, and `label`.

    Args:
        dataset: the data the kept set was taken from; labels decide the class folder.
        out: must not exist, or hold just that; it is filled under another name and renamed when complete.
    Raises:   InputError: `out` holds other things, or the data are feature vectors, or links were asked of data without files.
    """
    check_type("kept", kept, Selection)
    check_type("dataset", dataset, Dataset)
    Folder(kept, dataset, how).write(Path(out))


@dataclass(frozen=True)
class Folder:
    """A folder of kept examples to be made: which, of what, and how."""

    kept: Selection
    dataset: Dataset
    how: How

    def check(self) -> None:
        if self.dataset.images is None and self.dataset.records is None:
            raise InputError(f"{self.dataset.things} cannot be copied. Write the kept ids with --out FILE.")
        if self.how == "link" and self.dataset.paths is None:
            raise InputError("these data have no files to link to. Use --copy-to, which writes them.")
        if double := {"id", "label"} & set(self.dataset.records.columns if self.dataset.records else ()):
            raise invalid("copy_to", "be left out where a column is called id or label and is neither", join_some(sorted(double)))

    def check_at(self, target: Path) -> bool:
        """Refuse data that cannot become a folder, or a place that is taken; return whether there is just that folder already."""
        self.check()
        is_there = self.is_there(target)
        if not is_there:
            store.check_new([target])
        return is_there

    def write(self, target: Path) -> None:
        if self.check_at(target):
            return
        identity = store.json_digest([self.how, self.dataset.fingerprint, self.kept.rows.tolist()])
        with store.publish_together([target], identity, self.n_bytes) as places:
            self.build(places[target])

    @property
    def n_bytes(self) -> int | None:
        paths = self.dataset.paths
        if self.how == "link" or paths is None:
            return None
        return sum(Path(paths[row]).stat().st_size for row in self.kept.rows.tolist())

    def is_there(self, target: Path) -> bool:
        """Return whether a folder holds just what `build` would put there."""
        paths, wanted = self.dataset.paths, self.names()
        folders = {name.partition("/")[0] for name in wanted}
        if paths is None or not target.is_dir() or {one.name for one in target.iterdir()} != folders:
            return False
        there = (file for file in target.rglob("*") if file.is_symlink() or not file.is_dir())
        if {file.relative_to(target).as_posix() for file in there} != set(wanted):
            return False
        pairs = ((target / name, Path(paths[row])) for name, row in wanted.items())
        if self.how == "copy":
            return all(filecmp.cmp(file, source, shallow=False) and not file.is_symlink() for file, source in pairs)
        return all(file.is_symlink() and file.readlink() == source.resolve() for file, source in pairs)

    def build(self, place: Path) -> None:
        """Fill a new folder, picture by picture, or with one table."""
        paths, images = self.dataset.paths, self.dataset.images
        if self.dataset.records is not None:
            place.mkdir(parents=True)
            tables.write_table(place / RECORDS_FILE, self._table(self.dataset.records[self.kept.rows]))
            return
        for name, row in self.names().items():
            file = place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if paths is None:
                assert images is not None, "see `check`"
                write_png(file, np.asarray(images[row]))
            elif self.how == "copy":
                shutil.copy2(paths[row], file)
            else:
                file.symlink_to(Path(paths[row]).resolve())

    def _table(self, records: Records) -> dict[str, np.ndarray]:
        assert self.dataset.labels is not None
        names = np.array(self.dataset.classes, object)[self.dataset.labels[self.kept.rows]]
        return {"id": self.kept.ids, **records.columns, "label": names}

    def names(self) -> dict[str, int]:
        """Return the row of each kept example by its place `class/name`: no name leads out of the folder, and no two meet."""
        labels, paths, folders = self.dataset.labels, self.dataset.paths, list[str]()
        assert labels is not None
        for name in self.dataset.classes:  # two class names may become one when they are made harmless
            folder = _safe(name)
            while folder.casefold() in {other.casefold() for other in folders}:
                folder += "_"
            folders.append(folder)
        taken: set[str] = set()
        found = {}
        for row in self.kept.rows.tolist():
            folder = folders[int(labels[row])]
            file = f"{_safe(str(self.dataset.ids[row]))}.png" if paths is None else _safe(Path(paths[row]).name)
            name, number = f"{folder}/{file}", 1
            while name.casefold() in taken:  # two sub-folders, or a file system that does not tell case apart
                stem, dot, ending = file.rpartition(".")
                name, number = f"{folder}/{stem or ending}-{number}{dot}{ending if stem else ''}", number + 1
            taken.add(name.casefold())
            found[name] = row
        return found


def _safe(name: str) -> str:
    """Make one harmless part of a path out of any text."""
    cleaned = "".join("_" if c in '/\\\0:*?"<>|' or ord(c) < 32 else c for c in name)
    stem, dot, ending = cleaned.rpartition(".")
    if not stem or len(ending) > 8:
        stem, dot, ending = cleaned, "", ""
    while len(f"{stem}{dot}{ending}".encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        stem = stem[:-1]  # the ending stays: it is what the file is read by
    cleaned = f"{stem}{dot}{ending}"
    return f"_{cleaned}" if cleaned.strip(". ") == "" or cleaned.startswith((".", "-")) else cleaned
