"""A finished run, read back: its scores, its trace, what it cost."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from dataprune import store
from dataprune.clustering import take
from dataprune.data import Dataset, FeatureFile, read, read_features
from dataprune.encoders import encode
from dataprune.encoders.encoder import OURS
from dataprune.errors import InputError, StoreError, check_type, invalid
from dataprune.notebook import Reported, Tabular
from dataprune.quality.issues import Issues
from dataprune.run import issues
from dataprune.run.duplicates import Duplicates
from dataprune.run.manifest import RunManifest
from dataprune.scores import FEATURE_SCORES, SCORES, Score, Scores
from dataprune.tables import read_table, write_table
from dataprune.tables.join import align, places
from dataprune.trace import Trace, open_member

SPEC = "spec.json"  # the identity, written first
MANIFEST = "run.json"  # everything else, written last
LOCAL = "local.json"  # where source and features lie on this machine; may be deleted
SCORES_FILE = "scores.parquet"
FEATURES = "features"  # a folder: what was learned inside the run, with manifests of their own; no part of its identity


@dataclass(frozen=True, repr=False)
class Run(Tabular, Reported):
    """A scored data set in the folder `path`; `manifest` has identity, data, members, cost, versions, notes.

    As a table: a row for each example, in source order: id, label as class name, and a column for each score.
    """

    path: Path
    manifest: RunManifest

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return self.manifest.data.classes

    @property
    def eyes(self) -> str:
        """The encoder that the run was made with if it is one of ours, whose stored name is followed; else `scratch`."""
        encoder = self.manifest.spec.encoder
        return encoder.name if encoder is not None and encoder.name in OURS else "scratch"

    @cached_property
    def scores(self) -> Scores:
        """Every score by name, with ids and labels."""
        table = read_table(self.path / SCORES_FILE)
        try:
            index_of = {name: index for index, name in enumerate(self.classes)}
            labels = np.array([index_of[name] for name in table.columns["label"].tolist()], np.int64)
            ids = np.array(table.columns["id"], dtype=np.dtypes.StringDType())
            found = [
                Score(name, values, int(str(table.metadata[name]["harder"])), ids, labels)
                for name, values in table.columns.items()
                if name not in ("id", "label")
            ]
            return Scores(found, absent=self.manifest.absent_scores)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"`{self.path / SCORES_FILE}` is damaged: it is not a table of scores.") from error

    @property
    def ids(self) -> np.ndarray:
        """Ids in the order of the source, as strings."""
        return self.scores.ids  # type: ignore[return-value]

    @property
    def labels(self) -> Int64[np.ndarray, " examples"]:
        """Given labels as class indices, in the order of the source."""
        return self.scores.labels  # type: ignore[return-value]

    @cached_property
    def trace(self) -> Trace:
        """The trace of the members that learned, read lazily."""
        files = [(self.path / str(one.file), self.manifest.files[str(one.file)].sha256) for one in self.manifest.learned]
        return Trace([open_member(undamaged(*file)) for file in files], self.labels, self.ids)

    @property
    def failed(self) -> list[str]:
        """What did not work out, member by member, in words; empty for a sound run."""
        return list(self.manifest.lost)

    def __repr__(self) -> str:
        data, spec = self.manifest.data, self.manifest.spec
        members = f"{len(self.manifest.learned)} of {spec.members} members of {spec.epochs} epochs"
        return f"Run({self.path}: {data.n_examples:,} examples, {len(self.classes)} classes, {members}, {len(self.scores)} scores)"

    def _columns(self) -> dict[str, np.ndarray]:
        return _score_columns(self.scores, self.classes)

    def dataset(self, data: str | Path | Dataset | None = None) -> Dataset:
        """Read the source again, from `data`, or from where it lay when it was scored.

        Raises:   InputError: it is not there, or it is not the data that was scored.
        """
        place = self.place if data is None else data
        found = read(place, **self.manifest.read)
        ids = set(self.ids.tolist())  # `np.isin` compares each text with each
        keep = np.array([one in ids for one in found.ids.tolist()])  # a file of labels may have dropped some; it is not read again
        if len(found) > len(self.ids) == keep.sum():
            found = found.take(np.flatnonzero(keep))
        if len(found) == len(self.labels):  # the run has its labels in it, wherever they came from
            found = found.with_labels(self.labels, self.classes)
        if not self.is_of(found):
            raise other_data(self, found, f"the data in {place}", "Give the original data with --data DATA.")
        return found

    def is_of(self, dataset: Dataset) -> bool:
        """Return whether these are the examples that were scored, in their order; also read from a folder above, or below."""
        encoder, wanted = self.manifest.spec.encoder, self.manifest.spec.data
        if dataset.fingerprint_by(encoder) == wanted:
            return True
        if len(dataset) != len(self.ids) or places(self.ids.tolist(), dataset.ids.tolist()).places != list(range(len(dataset))):
            return False
        return replace(dataset, ids=self.ids).fingerprint_by(encoder) == wanted

    def features(self) -> FeatureFile:
        """Open the features that the run was scored with.

        Raises:   InputError: it was scored without, or they are not there any more, or are others. No message names their place.
        """
        if self.manifest.features is None:
            raise InputError("the run was scored without features. Add them: dataprune score DATA --out RUN --features FILE.")
        place, found, fault = local(self.path).get("features"), None, "are not where they were any more"
        if isinstance(place, str) and (self.path / place).exists():
            try:
                found, fault = read_features(self.path / place), "were changed since"
            except InputError:
                fault = "cannot be read any more"
        if found is None or found.digest != self.manifest.features.digest:
            raise InputError(f"the features that the run was scored with {fault}. Give them with --features FILE.")
        return found

    def issues(
        self,
        data: str | Path | Dataset | None = None,
        pairs: Duplicates | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Issues:
        """Find what is wrong beside the labels, as `find_issues`, with the run's vectors and predictions.

        That is done once and kept in issues.parquet. `data` are those that were scored, where they have moved; `pairs` are their
        duplicates, near ones too, if they were found before; `progress` hears how many pictures are read, of how many.
        """
        if data is not None:  # other data are refused, also where issues are kept
            data = self.dataset(data)
        members, given = [self.manifest.files[str(one.file)].sha256 for one in self.manifest.learned], self.manifest.features

        def make() -> Issues:
            dataset, predicted = self.dataset(data), None
            with suppress(InputError):  # all networks saw all examples
                predicted = np.concatenate([chunk.probabilities("out").argmax(axis=1) for chunk in self.trace.chunks()])
            return issues.find_issues(dataset, features=self._vectors(dataset), predicted=predicted, pairs=pairs, progress=progress)

        return issues.kept(self.path, [self.manifest.spec.data, members, None if given is None else given.digest], make)

    def _vectors(self, dataset: Dataset) -> np.ndarray | None:
        """Return the vectors that the run was scored with or learned from; None where there are none."""
        with suppress(InputError):
            file = self.features()
            return take(file, align(file.keys, file.rows, self.ids.tolist(), "features", file.path).rows)
        return dataset.features if self.eyes == "scratch" else encode(dataset, self.eyes).features

    @property
    def place(self) -> str:
        """Where the source lay when it was scored, if it is still there."""
        noted = local(self.path)
        if "source" not in noted:
            raise InputError(f"{self.path} does not say where its data lie. Give them with --data DATA.")
        if (source := noted["source"]) is None:
            raise InputError("the run was made from arrays in memory, not from a source on disk. Give the data with --data DATA.")
        if os.sep in source and not Path(source).exists():
            raise InputError(f"the data of {self.path} lay in {source}, which is not there any more. Give --data DATA.")
        return str(source)


def other_data(run: Run, dataset: Dataset, what: str, cure: str) -> InputError:
    differ = f"fingerprint {dataset.fingerprint[:12]}, the run has {run.manifest.spec.data[:12]}"
    return InputError(f"{what} are not those of {run.path}: {differ}. {cure}")


def work_folder(out: str | Path) -> store.WorkFolder:
    return store.WorkFolder.in_folder(Path(out), "a run", claim=SPEC, manifest=MANIFEST)


def undamaged(file: Path, sha256: str) -> Path:
    if store.sha256(file) != sha256:
        raise StoreError(f"{file} is damaged (its checksum differs). Make the run again, by the same command or call.")
    return file


def local(folder: Path) -> dict[str, Any]:
    """Read where things lie on this machine; nothing where that is not noted."""
    with suppress(StoreError):
        found = store.read_json(folder / LOCAL)
        return found if isinstance(found, dict) else {}
    return {}


def write_local(folder: Path, **places: str | None) -> None:
    """Note where things lie, apart from everything that is hashed or shown; what else is noted stays."""
    store.write_json(folder / LOCAL, local(folder) | places)


def write_scores(path: Path, scores: Scores, classes: Sequence[str]) -> None:
    """Write one row for each example in source order: id, label by name, then a column for each score with its sign as metadata."""
    metadata: dict[str, dict[str, object]] = {name: {"harder": one.harder} for name, one in scores.items()}
    for name, spec in (SCORES | FEATURE_SCORES).items():
        if name in metadata:
            metadata[name]["formula"] = spec.formula
    with store.writing(path) as temporary:
        write_table(temporary, _score_columns(scores, classes), metadata)


def _score_columns(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    names = {"id": scores.ids, "label": np.array(classes, object)[scores.labels]}
    return names | {name: one.values for name, one in scores.items()}


def open_run(path: str | Path) -> Run:
    """Open a finished run.

    Raises:   InputError: `path` is no run, or one that has not finished.
              StoreError: its manifest is damaged or of another version.
    """
    check_type("RUN", path, str | Path)
    folder = Path(path)
    if not folder.is_dir():
        raise invalid("RUN", "be a folder made by `dataprune score`", f"{folder}, which is not a folder")
    if not (folder / MANIFEST).exists():
        if (folder / SPEC).exists():
            raise InputError(f"the run in {folder} is not finished: the same command or call goes on with it.")
        raise invalid("RUN", "be a folder made by `dataprune score`", f"{folder}, which holds no {MANIFEST}")
    manifest = store.read_manifest(folder, MANIFEST, RunManifest)
    if not manifest.learned or not {SCORES_FILE, *(member.file for member in manifest.learned)} <= manifest.files.keys():
        raise StoreError(f"`{folder / MANIFEST}` is damaged: it does not list the files of a run.")
    if missing := [name for name in manifest.files if not (folder / name).exists()]:
        raise StoreError(f"the run in {folder} lacks {', '.join(missing)}. Make it again, by the same command or call.")
    undamaged(folder / SCORES_FILE, manifest.files[SCORES_FILE].sha256)
    return Run(folder, manifest)


def verify(path: str | Path) -> list[str]:
    """Hash every file of a run again, with what was learned or found inside it since; return what is wrong, in words."""
    folder = Path(path)
    if not (folder / MANIFEST).exists():
        open_run(path)
    found = store.faults(folder, MANIFEST)
    for manifest in inner_manifests(folder):
        try:
            place = manifest.parent.relative_to(folder)
            found += [(place / fault).as_posix() for fault in store.faults(manifest.parent, manifest.name)]
        except StoreError as error:
            found.append(str(error))
    return found


def inner_manifests(folder: Path) -> list[Path]:
    """Find what says how features were learned inside a run, and issues found; each has checksums of its own."""
    return [*sorted((folder / FEATURES).glob("*.json")), *folder.glob(issues.MANIFEST)]
