"""A study on disk, read back: what it asked, its trials, what they show."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from dataprune import store
from dataprune.errors import InputError, StoreError
from dataprune.run.run import MANIFEST as RUN_MANIFEST
from dataprune.run.run import verify
from dataprune.study.spec import StudySpec, from_toml
from dataprune.study.summary import Summary, summarise
from dataprune.study.trials import FOLDER, TrialResult, read_trial, sound_trial
from dataprune.tables import read_table

SPEC = "study-spec.json"  # the identity, written first
MANIFEST = "study.json"  # everything else, written last
TRIALS, SUMMARY = "trials.parquet", "summary.parquet"
OPEN, OK, FAILED = "open", "ok", "failed"
FORMAT = 1  # of the identity
RUN, NOISY_RUN = "run", "run-noise"  # where a study scores the data as given, and with noise put in


@dataclass(frozen=True)
class Study:
    """A study on disk.

    Attributes:
        path: the folder.
        spec: what it asks.
        info: the manifest of a finished study; of an unfinished one the identity alone (`read_identity`).
        trials: the columns of `trials.parquet`, a row for each cell and seed.
        is_finished: whether every trial has ended, well or not.
    """

    path: Path
    spec: StudySpec
    info: dict[str, Any]
    trials: dict[str, np.ndarray]
    is_finished: bool

    @property
    def measure(self) -> str:
        """The column of the accuracy that is judged."""
        return f"{self.spec.judge}_accuracy"

    @property
    def data(self) -> str:
        """The fingerprint of the training data: scores for it must be of the same."""
        return str(self.info["spec" if self.is_finished else "settings"]["train"])

    @property
    def failed(self) -> list[int]:
        """Rows of the trials that failed."""
        return np.flatnonzero(self.trials["status"] == FAILED).tolist()

    @cached_property
    def summary(self) -> Summary:
        """What the trials show that have ended.

        Raises:
            InputError: none has.
        """
        correct = (lambda: self.correct) if self.spec.judge == "test" else None
        return summarise(self.trials, self.spec.tolerance, correct, self.measure)  # type: ignore[arg-type]

    @cached_property
    def correct(self) -> Bool[np.ndarray, "trials examples"] | None:
        """Which test examples were right in each row of `trials`, all false where it has not ended; None where no test was read."""
        answers = [None if row is None else row.test_correct for row in self.results]
        lengths = {len(one) for one in answers if one is not None}
        if len(lengths) != 1:
            return None
        empty = np.zeros(lengths.pop(), bool)
        return np.stack([empty if one is None else one for one in answers])

    @cached_property
    def results(self) -> tuple[TrialResult | None, ...]:
        """What came of the trial of each row, with its curve by epoch; None where it has not ended.

        Raises:
            StoreError: a file is damaged.
        """
        found = {name: read_trial(self.path, name) for name in dict.fromkeys(self.trials["trial"].tolist())}
        return tuple(found[name] for name in self.trials["trial"].tolist())


def open_study(path: str | Path) -> Study:
    """Open a study, finished or not.

    Raises:
        InputError: `path` is no study.
        StoreError: it is damaged, or of another version.
    """
    folder = Path(path)
    if not folder.is_dir() or not (folder / SPEC).exists():
        raise InputError(f"`STUDY` must be a folder made by `dataprune study`, got {folder}.")
    identity = read_identity(folder)
    spec = from_toml(identity["question"], str(folder / SPEC))
    if (folder / MANIFEST).exists():
        info = store.read_manifest(folder, MANIFEST, dict)
        for name in (TRIALS, SUMMARY):
            if name in info["files"] and not _is_sound(folder, name, info):
                raise StoreError(
                    f"{folder / name} is damaged (its checksum differs). Run the same `dataprune study` command again."
                )
        return Study(folder, spec, info, _columns(folder), True)
    if not (folder / TRIALS).exists():
        raise InputError(f"the study in {folder} has trained nothing yet: the same `dataprune study` command goes on with it.")
    columns = _columns(folder)
    return Study(folder, spec, identity, _brought_up(folder, columns), False)


def read_identity(folder: Path) -> dict[str, Any]:
    """Read what a study is: `settings` that all its trials share, `sources` of its scores, and the `question` as TOML.

    Raises:
        StoreError: it is damaged, or of another version.
    """
    present = store.read_json(folder / SPEC)
    if not isinstance(present, dict) or not isinstance(present.get("format"), int):
        raise StoreError(f"`{folder / SPEC}` is damaged: it is no study of dataprune. Choose another folder.")
    if present["format"] != FORMAT:
        age = "a newer dataprune: upgrade" if present["format"] > FORMAT else "an older dataprune: choose another folder"
        raise StoreError(f"`{folder / SPEC}` has format {present['format']}, this version reads format {FORMAT}. It is from {age}.")
    present = store.read_sealed(folder / SPEC)
    if not (isinstance(present.get("settings"), dict) and isinstance(present.get("question"), str)):
        raise StoreError(f"`{folder / SPEC}` is damaged: it holds no settings. Choose another folder.")
    return present


def is_study(path: Path) -> bool:
    """Return whether a folder is a study."""
    return (path / SPEC).exists()


def verify_study(path: str | Path) -> list[str]:
    """Hash every file of a study again.

    Returns:
        What is wrong, in words; empty when everything is as it was written. Of an unfinished study the trials that have ended.
    """
    folder = Path(path)
    found = _faults_of_parts(folder)
    if (folder / MANIFEST).exists():
        return found + store.faults(folder, MANIFEST)
    open_study(folder)
    for file in sorted((folder / FOLDER).glob("*.json")):
        try:
            read_trial(folder, file.stem)
        except StoreError as error:
            found.append(str(error))
    return found


def _faults_of_parts(folder: Path) -> list[str]:
    """Hash what the manifest does not name: the runs whose scores it takes, and features made of the pixels."""
    found = []
    for place in (RUN, NOISY_RUN):
        if (folder / place / RUN_MANIFEST).exists():
            found += [f"{place}/{fault}" for fault in _told(verify, folder / place)]
        elif (folder / place).exists() and (folder / MANIFEST).exists():
            found.append(f"{place}/{RUN_MANIFEST} is missing")
    for manifest in sorted(folder.glob("pixels-*.npy.json")):
        found += _told(store.faults, folder, manifest.name)
    return found


def _told(check: Callable[..., list[str]], *of: object) -> list[str]:
    try:
        return check(*of)
    except StoreError as error:
        return [str(error)]


def row_of(result: TrialResult | None) -> dict[str, Any]:
    """Return the columns of `trials.parquet` that a result fills."""
    if result is None:
        result = TrialResult("", OPEN)
    return {
        "validation_accuracy": result.validation_accuracy,
        "test_accuracy": result.test_accuracy,
        "train_seconds": result.train_seconds if result.status == OK else float("nan"),
        "examples_seen": result.examples_seen,
        "flops": result.flops,
        "device": "" if result.training_environment is None else result.training_environment["device"],
        "status": result.status,
        "error": result.error,
    }


def _columns(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in read_table(folder / TRIALS).columns.items()}


def _is_sound(folder: Path, name: str, info: dict[str, Any]) -> bool:
    path = folder / name
    return path.exists() and store.sha256(path) == info["files"][name]["sha256"]


def _brought_up(folder: Path, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fill in the trials that have ended since the table was written."""
    for row in np.flatnonzero(columns["status"] == OPEN).tolist():
        result = sound_trial(folder, columns["trial"][row])
        if result is not None:
            for name, value in row_of(result).items():
                columns[name][row] = value
    return columns
