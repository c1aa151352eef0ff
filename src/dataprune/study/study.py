"""A study on disk, read back: what it asked, its trials, what they show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store
from dataprune.errors import InputError, StoreError
from dataprune.notebook import Reported, Tabular
from dataprune.run.manifest import Phase
from dataprune.run.run import MANIFEST as RUN_MANIFEST
from dataprune.run.run import Run, open_run, verify
from dataprune.study.cost import StudyCosts, scoring_cost, study_costs
from dataprune.study.metric import ACCURACY, Metric
from dataprune.study.spec import StudySpec, from_toml
from dataprune.study.summary import Summary, summarise
from dataprune.study.trial import FOLDER, TrialResult, read_trial, sound_trial
from dataprune.tables import read_table
from dataprune.training.recipes import Recipe

SPEC = "study-spec.json"  # the identity, written first
MANIFEST = "study.json"  # everything else, written last
TRIALS, SUMMARY = "trials.parquet", "summary.parquet"
OPEN, OK, FAILED = "open", "ok", "failed"
FORMAT = 1  # of the identity
RUN, NOISY_RUN = "run", "run-noise"  # where a study scores the data as given, and with noise put in


@dataclass(frozen=True)
class StudySettings:
    """What all trials of a folder have in common: fingerprints of the splits, how is trained, and what computes."""

    train: str
    validation: str
    test: str
    model: str
    recipe: Recipe
    epochs: int
    budget: str
    seed: int
    algorithm: int
    made_with: Mapping[str, str]


@dataclass(frozen=True)
class StudyIdentity:
    """What is written first: the settings, where scores come from (as plain JSON), and the question as TOML."""

    settings: StudySettings
    question: str
    sources: Mapping[str, Any]
    format: int = FORMAT


@dataclass(frozen=True)
class DataSizes:
    """The sizes of the splits, the share of test that was cut from train, and the names of the classes."""

    n_train: int
    n_validation: int
    n_test: int
    cut_test: float
    classes: tuple[str, ...]


@dataclass(frozen=True)
class TrainingTotals:
    """What all trials together cost."""

    train_seconds: float
    examples_seen: int
    flops: int


@dataclass(frozen=True)
class StudyManifest:
    """What is written last; `scoring` has for each arm what each phase of scoring cost, nothing where no run was needed."""

    spec: StudySettings
    question: str
    data: DataSizes
    budget: str
    failed: int
    notes: tuple[str, ...]
    scoring: tuple[tuple[Phase, ...], ...]
    training: TrainingTotals
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    finished: str
    files: Mapping[str, store.FileRecord] = field(default_factory=dict)


@dataclass(frozen=True)
class Study(Tabular, Reported):
    """A study on disk.

    `trials` has the columns of `trials.parquet`, a row for each cell and seed; `manifest` is None while trials are open.
    """

    path: Path
    spec: StudySpec
    settings: StudySettings
    trials: dict[str, np.ndarray]
    manifest: StudyManifest | None

    @property
    def is_finished(self) -> bool:
        """Whether every trial has ended, well or not."""
        return self.manifest is not None

    @property
    def measure(self) -> str:
        """The column of what is judged."""
        return Metric.of(self.spec.metric).column

    @property
    def data(self) -> str:
        """The fingerprint of the training data: scores for it must be of the same."""
        return self.settings.train

    @property
    def failed(self) -> list[int]:
        """Rows of the trials that failed."""
        return np.flatnonzero(self.trials["status"] == FAILED).tolist()

    @cached_property
    def summary(self) -> Summary:
        """What the trials show that have ended; InputError if none has."""
        names = self.trials["trial"].tolist()
        found = {name: sound_trial(self.path, name) for name in dict.fromkeys(names)}
        correct = [None if (one := found[name]) is None else one.correct for name in names]
        return summarise(self.trials, self.spec.tolerance, Metric.of(self.spec.metric), correct)

    @property
    def costs(self) -> StudyCosts:
        """What scoring and each training cost; scoring is not known of an unfinished study, nor of arms that were scored apart."""
        scoring = () if self.manifest is None else self.manifest.scoring
        return study_costs(self.trials, scoring_cost(scoring[0] if len(scoring) == 1 else ()), self.measure)

    @cached_property
    def results(self) -> tuple[TrialResult | None, ...]:
        """What came of the trial of each row, with its curve by epoch; None where it has not ended. A damaged file is refused."""
        names = self.trials["trial"].tolist()
        found = {name: read_trial(self.path, name) for name in dict.fromkeys(names)}
        return tuple(found[name] for name in names)

    def _columns(self) -> dict[str, np.ndarray]:
        return self.trials

    def _shown(self) -> dict[str, np.ndarray]:
        return self.summary.table if OK in self.trials["status"] else self.trials

    def __repr__(self) -> str:
        status = self.trials["status"].tolist()
        ended = ", ".join(f"{status.count(name)} {name}" for name in (OK, FAILED, OPEN) if name in status)
        shown = "\n  " + repr(self.summary).replace("\n", "\n  ") if OK in status else ""
        return f"Study {self.spec.preset!r} in {self.path}\n  {len(status)} trainings: {ended}{shown}"


def open_study(path: str | Path) -> Study:
    """Open a study, finished or not.

    Raises:
        InputError: `path` is no study.
        StoreError: it is damaged, or of another version.
    """
    folder = Path(path)
    if not folder.is_dir() or not is_study(folder):
        raise InputError(f"`STUDY` must be a folder made by `dataprune study`, got {folder}.")
    identity = read_identity(folder)
    spec = from_toml(identity.question, str(folder / SPEC))
    table, manifest = folder / TRIALS, None
    if (folder / MANIFEST).exists():
        manifest = store.read_manifest(folder, MANIFEST, StudyManifest)
        for file in (table, folder / SUMMARY):
            if file.name in manifest.files and not (file.exists() and store.sha256(file) == manifest.files[file.name].sha256):
                raise StoreError(f"{file} is damaged (its checksum differs). Run the same `dataprune study` command again.")
    elif not table.exists():
        raise InputError(f"the study in {folder} has trained nothing yet: the same `dataprune study` command goes on with it.")
    columns = {name: np.array(values) for name, values in read_table(table).columns.items()}
    for row in np.flatnonzero(columns["status"] == OPEN).tolist() if manifest is None else ():
        if (result := sound_trial(folder, columns["trial"][row])) is not None:  # ended since the table was written
            for name, value in row_of(result, Metric.of(spec.metric)).items():
                columns[name][row] = value
    return Study(folder, spec, identity.settings, columns, manifest)


def read_identity(folder: Path) -> StudyIdentity:
    """Read what a study is; StoreError if that is damaged, or of another version."""
    path = folder / SPEC
    present = store.read_json(path)
    version = present.get("format") if isinstance(present, dict) else None
    if not isinstance(version, int):
        raise StoreError(f"`{path}` is damaged: it is not a study of dataprune. Choose another folder.")
    if version != FORMAT:
        age = "a newer dataprune: upgrade" if version > FORMAT else "an older dataprune: choose another folder"
        raise StoreError(f"`{path}` has format {version}, this version reads format {FORMAT}. It is from {age}.")
    return store.as_record(store.read_sealed(path), StudyIdentity, path)


def is_study(path: Path) -> bool:
    """Return whether a folder is a study."""
    return (path / SPEC).exists()


def is_made_of(study: Study, run: Run) -> bool:
    """Return whether a study took its scores from this run, or from one that is the same."""
    made = read_identity(study.path).sources["run"]
    wanted = made if made is not None else open_run(study.path / RUN).manifest.spec.plain
    return store.canonical_json(wanted) == store.canonical_json(run.manifest.spec.plain)


def verify_study(path: str | Path) -> list[str]:
    """Hash every file of a study again (of an unfinished one the trials that have ended), and return what is wrong."""
    folder = Path(path)
    found = _faults_of_parts(folder)
    if (folder / MANIFEST).exists():
        return found + store.faults(folder, MANIFEST)
    open_study(folder)
    for file in sorted((folder / FOLDER).glob("*.json")):
        found += _faults(read_trial, folder, file.stem)
    return found


def row_of(result: TrialResult | None, metric: Metric) -> dict[str, Any]:
    """Return the columns of `trials.parquet` that a result fills; None is a trial that has not ended."""
    done = TrialResult("", "failed") if result is None else result
    same = ("validation_accuracy", "test_accuracy", "n_test", "train_seconds", "examples_seen", "flops")
    row = {name: getattr(done, name) for name in same} | ({} if done.status == OK else {"train_seconds": float("nan")})
    if done.value is not None or metric != ACCURACY:
        row[metric.column] = float("nan") if done.value is None else done.value
    device, status = (done.made_with or {}).get("device", ""), OPEN if result is None else done.status
    return row | {"device": device, "status": status, "error": done.error}


def _faults_of_parts(folder: Path) -> list[str]:
    """Hash what the manifest does not name: the runs whose scores it takes, and features made of the pixels."""
    found = []
    for place in (RUN, NOISY_RUN):
        if (folder / place / RUN_MANIFEST).exists():
            found += [f"{place}/{fault}" for fault in _faults(verify, folder / place)]
        elif (folder / place).exists() and (folder / MANIFEST).exists():
            found.append(f"{place}/{RUN_MANIFEST} is missing")
    for manifest in sorted(folder.glob("pixels-*.npy.json")):
        found += _faults(store.faults, folder, manifest.name)
    return found


def _faults(check: Callable[..., object], *of: object) -> list[str]:
    """Return what a check finds, if it gives a list of that, or why it fails."""
    try:
        found = check(*of)
    except StoreError as error:
        return [str(error)]
    return found if isinstance(found, list) else []
