"""What is known about a run when its page is written: everything that can be opened, and for each absent part the reason."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from dataprune.clustering import take
from dataprune.data import Dataset, Records, Splits, read, read_features, read_splits
from dataprune.data.dataset import THINGS
from dataprune.encoders import encode
from dataprune.errors import DatapruneError, InputError, join_some
from dataprune.noise import Suspects
from dataprune.quality.issues import Issues
from dataprune.report.predictions import EnsemblePredictions, predictions_of
from dataprune.report.text import capitalise, display_text, pluralise
from dataprune.run.duplicates import Duplicates, find_duplicates
from dataprune.run.evidence import dealt_of, evidence_of
from dataprune.run.features import match
from dataprune.run.issues import FILE as ISSUES
from dataprune.run.journal import Journal
from dataprune.run.manifest import RunManifest
from dataprune.run.run import Run, local
from dataprune.run.suspects import judged, with_identical
from dataprune.scores import Score, Scores

MOST_COMPARED = 20_000  # near duplicates among more take minutes
MOST_FEATURE_VALUES = 2**28  # one gigabyte
SCORED_WITH = "the features that the run was scored with"
NAME_LETTERS = 40
TEXT_LETTERS = 400  # of a text that is shown


@dataclass(frozen=True, eq=False)
class ReportData:
    """A run, as its page tells of it.

    Attributes:
        features, features_are: vectors for the map and for the nearest examples, and what these are, in words.
        pair_rows: (P, 2) rows of the duplicates.
        beyond: the other splits by name; their examples are the rows from the set's size N on.
        missing: for each absent part ("pictures", "suspects", "duplicates", "near", "features") the reason, in words.
        paths: of each row the file of its picture; None where pictures have no files.
        gone: which pictures are not there any more, in words.
        decided: what was decided in review: row, decision, index of the new label or −1.
        issues: what is wrong beside the labels.
        accuracy: how often networks name given labels that they did not see; None where all saw all.
    """

    name: str
    manifest: RunManifest
    ids: np.ndarray
    labels: Int64[np.ndarray, " examples"]
    scores: Scores
    predictions: EnsemblePredictions
    images: "np.ndarray | Remaining | None" = None
    features: np.ndarray | None = None
    features_are: str = ""
    suspects: Suspects | None = None
    duplicates: Duplicates | None = None
    pair_rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    beyond: Mapping[str, Dataset] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    accuracy: float | None = None
    records: Records | None = None
    paths: "np.ndarray | Mapping[int, Path] | None" = None
    decided: tuple[tuple[int, str, int], ...] = ()
    issues: Issues | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.data.classes

    @property
    def leading(self) -> str:
        """The score that the page ranks by: `el2n`, or `aum` where networks memorised the labels: the last epoch tells little."""
        wanted = "aum" if self.manifest.memorised and "aum" in self.scores else "el2n"
        return wanted if wanted in self.scores else next(iter(self.scores))

    @property
    def score(self) -> Score:
        return self.scores[self.leading]

    @cached_property
    def class_names(self) -> list[str]:
        """Class names as they are shown."""
        return [display_text(name, NAME_LETTERS) for name in self.classes]

    def name_of(self, label: int) -> str:
        """Name a label as it is shown; -1 is none."""
        return self.class_names[label] if label >= 0 else "no label"

    @property
    def things(self) -> str:
        """What the examples are called."""
        return THINGS[self.manifest.data.kind]

    def place(self, row: int) -> tuple[str, Dataset | None, int]:
        """Return where an example lies: its split, the data of a split other than the run's, and its row there."""
        at = row - len(self)
        for name, part in self.beyond.items() if at >= 0 else ():
            if at < len(part):
                return name, part, at
            at -= len(part)
        return "train", None, row

    def id_of(self, row: int) -> str:
        _, part, at = self.place(row)
        return str((self.ids if part is None else part.ids)[at])

    def label_of(self, row: int) -> int:
        """Return the class index of an example, −1 for no label."""
        _, part, at = self.place(row)
        labels = self.labels if part is None else part.labels
        return -1 if labels is None else int(labels[at])

    def pixels_of(self, row: int) -> np.ndarray | None:
        """Return the picture of an example, None where there is none."""
        _, part, at = self.place(row)
        images = self.images if part is None else part.images
        pixels = None if images is None else images[at]
        return None if pixels is None else np.asarray(pixels)

    def text_of(self, row: int) -> str:
        """Return the text, or the row, of an example as it is shown; "" where there is none."""
        _, part, at = self.place(row)
        records = self.records if part is None else part.records
        return "" if records is None else display_text(records.shown(at), TEXT_LETTERS)

    @cached_property
    def sorted_difficulties(self) -> dict[str, np.ndarray]:
        """Difficulties by score, ascending: where an example stands among all is a search in them."""
        return {name: np.sort(score.difficulty) for name, score in self.scores.items()}

    @property
    def probable(self) -> Int64[np.ndarray, " wrong"]:
        """Rows of the labels that are flagged and probably wrong."""
        return np.zeros(0, np.int64) if self.suspects is None else self.suspects.probable


def gather(
    run: Run,
    data: str | Path | Dataset | None = None,
    features: Path | None = None,
    encoder: str | None = None,
) -> ReportData:
    """Collect what the page of a run is made of.

    Args:
        data: where its pictures lie now; None is where they lay when it was scored, and if not there, the page has none.
        features: vectors of the same examples, for the map and the nearest examples; or the `encoder` that makes them.
    """
    missing: dict[str, str] = {}
    dataset, rest = _dataset(run, data, missing)
    if dataset is not None and features is None:
        dataset = encode(dataset, encoder or run.eyes)
    vectors, features_are = _features(run, dataset, features, missing)
    suspects: Suspects | None = None
    try:
        suspects = judged(run) if dataset is None else with_identical(judged(run), dataset)
    except DatapruneError as reason:
        missing["suspects"] = str(reason)
    accuracy = evidence_of(run).out_of_sample_accuracy if suspects is None else suspects.accuracy
    images = rest if dataset is None else dataset.images
    of_run = (run.path.resolve().name, run.manifest, run.ids, run.labels, run.scores, predictions_of(run.trace, dealt_of(run)))
    found = (*of_run, images, vectors, features_are, suspects, *_duplicates(dataset, missing), missing)
    gone, records = () if rest is None else (rest.said,), None if dataset is None else dataset.records
    paths = rest.paths if rest is not None else None if dataset is None else dataset.paths
    return ReportData(*found, gone, accuracy, records, paths, _decided(run))


def with_issues(found: ReportData, run: Run, data: str | Path | Dataset | None) -> ReportData:
    """Look for what is wrong beside the labels, if that has been done before or takes no minutes."""
    missing, pairs = dict(found.missing), found.duplicates
    if (len(run.ids) > MOST_COMPARED or pairs is None) and not (run.path / ISSUES).exists():
        missing["issues"] = "dataprune check RUN looks for them; a report made after that shows them."
        return replace(found, missing=missing)
    try:
        return replace(found, issues=run.issues(data, None if "near" in missing else pairs))
    except DatapruneError:
        gone = "pictures" in missing or pairs is None
        missing["issues"] = "The data were not found." if gone else "They could not be looked for: dataprune check RUN says why."
        return replace(found, missing=missing)


def _decided(run: Run) -> tuple[tuple[int, str, int], ...]:
    row_of, class_of = ({str(name): at for at, name in enumerate(names)} for names in (run.ids.tolist(), run.classes))
    state = {name: one for (split, name), one in Journal(run.path).state.items() if split == "train" and one.decision}
    return tuple((row_of[name], one.decision, class_of.get(one.label, -1)) for name, one in state.items() if name in row_of)


@dataclass(frozen=True, eq=False)
class Remaining:
    """The pictures of a run of which some are gone: by the run's rows, None for those."""

    images: np.ndarray
    place: dict[int, int]
    paths: dict[int, Path]
    said: str

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all pictures that are left."""
        return self.images.shape

    def __getitem__(self, row: int) -> np.ndarray | None:
        return np.asarray(self.images[self.place[row]]) if row in self.place else None


def _dataset(run: Run, data: str | Path | Dataset | None, missing: dict[str, str]) -> tuple[Dataset | None, Remaining | None]:
    """Return the data of a run or, where pictures are gone, those that remain."""
    try:
        return run.dataset(data), None
    except DatapruneError:
        with suppress(DatapruneError):
            if (rest := _remaining(run, data)) is not None:
                return None, rest
        if data is not None:
            raise
        # In words of our own: the page may be sent to somebody, and where the data lay is nobody's business but the owner's.
        missing["pictures"] = f"{_why_not(run)} Give the data with --data DATA."
        return None, None


def _remaining(run: Run, data: str | Path | Dataset | None) -> Remaining | None:
    """Read the pictures that are still there, in the run's size; None if none is gone: then some are others than were scored.

    Only of folders, where an id is a path: a row number would name another example once one is gone.
    """
    if run.manifest.data.kind != "images":
        return None
    height, width, *_ = run.manifest.data.shape
    size = {"image_size": height} if height == width else {}
    found = read(run.place if data is None else data, **{**run.manifest.read, **size, "on_error": "skip"})
    row_of = {name: row for row, name in enumerate(run.ids.tolist())}
    place = {row_of[name]: at for at, name in enumerate(found.ids.tolist()) if name in row_of}
    gone = [name for name, row in row_of.items() if row not in place]
    if found.images is None or found.origin is None or found.origin.kind != "folder" or not gone or not place:
        return None
    said = f"{pluralise(len(gone), 'picture')} gone or unreadable, so not shown: {join_some(gone, most=3)}"
    paths = {row: Path(found.paths[at]) for row, at in place.items()} if found.paths is not None else {}
    return Remaining(found.images, place, paths, f"{said}; whether the others are as they were scored cannot be checked")


def _why_not(run: Run) -> str:
    noted = local(run.path)
    if "source" not in noted:
        return "The run does not say where its data lie."
    if (source := noted["source"]) is None:
        return "The run was made from arrays in memory, not from a source on disk."
    if os.sep in str(source) and not Path(source).exists():
        return "The data are not where they were scored any more."
    return "The data are not those that were scored: pictures were changed, added or removed since, or cannot be read."


def _features(run: Run, dataset: Dataset | None, path: Path | None, missing: dict[str, str]) -> tuple[np.ndarray | None, str]:
    """Read the vectors of the map: those that are given, those of the data, or those that the run was scored with."""
    known = run.manifest.features
    if path is None and dataset is not None and dataset.features is not None:
        made_by = "the feature vectors themselves" if dataset.encoder is None else f"vectors by {dataset.encoder.name}"
        return np.asarray(dataset.features, np.float32), made_by
    if path is None and known is None:
        are_kept = "pictures only" if run.manifest.data.kind == "images" else "no copy of its vectors"
        missing["features"] = f"The run has {are_kept}: give vectors with --features FILE, or score with --features."
        return None, ""
    try:
        file = run.features() if path is None else read_features(path)
        if len(run.ids) * file.width > MOST_FEATURE_VALUES:
            which, size = SCORED_WITH if path is None else f"`features` {path}", f"{len(run.ids):,} × {file.width:,}"
            raise InputError(f"{which} hold too many numbers for a map: {size}. Give smaller ones with --features, or none.")
        matched = match(file, run.ids)
        is_known = path is None or (known is not None and known.digest == file.digest)
        words = SCORED_WITH if is_known else f"features of {display_text(file.path.name)}"
        return take(matched, matched.place), words
    except DatapruneError as reason:
        if path is not None:
            raise
        missing["features"] = capitalise(str(reason))
    return None, ""


def _duplicates(
    dataset: Dataset | None, missing: dict[str, str]
) -> tuple[Duplicates | None, Int64[np.ndarray, "pairs 2"], dict[str, Dataset]]:
    """Look for duplicates within and across the splits of the run's source; the run's own labels stay."""
    nothing, beyond = np.zeros((0, 2), np.int64), dict[str, Dataset]()
    try:
        if dataset is None:
            raise InputError("The data were not found, or not all of them, so nothing could be compared.")
        splits, origin = Splits(dataset), dataset.origin
        if origin is not None and origin.path:
            with suppress(DatapruneError):
                every = read_splits(origin.path, **{key: value for key, value in origin.options.items() if key != "labels"})
                splits = Splits(dataset, every.validation, every.test)
        beyond = {name: part for name, part in vars(splits).items() if name != "train" and part is not None}
        n = len(dataset) + sum(map(len, beyond.values()))
        if n > MOST_COMPARED:
            missing["near"] = f"Among {n:,} only identical examples were looked for; dataprune duplicates DATA finds near ones."
        if dataset.kind == "rows":
            missing["near"] = "Of rows of a table only identical ones were looked for: near ones are not copies."
        found = find_duplicates(splits, near=n <= MOST_COMPARED)
    except DatapruneError as reason:
        missing["duplicates"] = str(reason)
        return None, nothing, beyond
    starts, start = {"train": 0}, len(dataset)
    for name, part in beyond.items():
        starts[name], start = start, start + len(part)
    sides = ((found.split, found.rows), (found.other_split, found.other_rows))
    rows = [np.array([starts[one] for one in split.tolist()], np.int64) + at for split, at in sides]
    return found, np.stack(rows, axis=1), beyond
