"""What is known about a run when its page is written: everything that can be opened, and for each absent part the reason."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from dataprune import store
from dataprune.clustering import take
from dataprune.data import Dataset, FeatureFile, Splits, read_features, read_splits
from dataprune.errors import DatapruneError, InputError, StoreError
from dataprune.noise import Suspects
from dataprune.report.page.predictions import EnsemblePredictions, predictions_of
from dataprune.report.text import capitalise, display_text
from dataprune.run import Run, match
from dataprune.run.duplicates import Duplicates, find_duplicates
from dataprune.run.manifest import RunManifest
from dataprune.run.run import LOCAL
from dataprune.run.suspects import judge
from dataprune.scores import Score, Scores

MOST_COMPARED = 20_000  # near duplicates among more take minutes
MOST_FEATURE_VALUES = 2**28  # one gigabyte
SCORED_WITH = "the features that the run was scored with"
NAME_LETTERS = 40
NO_LABEL = "no label"


@dataclass(frozen=True, eq=False)
class Other:
    """An example of another split, which a duplicate names."""

    id: str
    label: int
    split: str
    pixels: np.ndarray | None


@dataclass(frozen=True, eq=False)
class ReportData:
    """A run, as its page tells of it.

    Attributes:
        features, features_are: vectors for the map and for the nearest examples, and what these are, in words.
        suspects, duplicates: where they could be found.
        pair_rows: (P, 2) rows of the duplicates: beyond the set's size N row N + k is `others[k]`.
        others: examples of other splits.
        missing: for each absent part ("pictures", "suspects", "duplicates", "near", "features") the reason, in words.
    """

    name: str
    manifest: RunManifest
    ids: np.ndarray
    labels: Int64[np.ndarray, " examples"]
    scores: Scores
    predictions: EnsemblePredictions
    images: np.ndarray | None = None
    features: np.ndarray | None = None
    features_are: str = ""
    suspects: Suspects | None = None
    duplicates: Duplicates | None = None
    pair_rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    others: tuple[Other, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by index."""
        return self.manifest.data.classes

    @property
    def leading(self) -> str:
        """The score that the page ranks by: `el2n`, or `aum` where networks memorised the labels: the last epoch tells little."""
        wanted = "aum" if self.manifest.memorised and "aum" in self.scores else "el2n"
        return wanted if wanted in self.scores else next(iter(self.scores))

    @property
    def score(self) -> Score:
        """The leading score."""
        return self.scores[self.leading]

    @cached_property
    def class_names(self) -> list[str]:
        """Class names as they are shown."""
        return [display_text(name, NAME_LETTERS) for name in self.classes]

    def name_of(self, label: int) -> str:
        """Name a label as it is shown; -1 is none."""
        return self.class_names[label] if label >= 0 else NO_LABEL

    @property
    def things(self) -> str:
        """What the examples are called."""
        return "pictures" if self.manifest.data.kind == "images" else "feature vectors"

    @cached_property
    def suspect_rows(self) -> Int64[np.ndarray, " flagged"]:
        """Rows of the examples whose label is probably wrong, the most suspect first."""
        found = self.suspects
        if found is None:
            return np.zeros(0, np.int64)
        flagged = np.flatnonzero(np.asarray(found.is_suspect, bool))
        return flagged[np.argsort(np.asarray(found.rank)[flagged], kind="stable")].astype(np.int64)


def gather(run: Run, data: str | None = None, features: Path | None = None) -> ReportData:
    """Collect what the page of a run is made of.

    Args:
        data: where its pictures lie now; None is where they lay when it was scored. Where they are not found there, the page is
            made without pictures.
        features: vectors of the same examples, for the map and the nearest examples.
    """
    missing: dict[str, str] = {}
    dataset = _dataset(run, data, missing)
    vectors, features_are = _features(run, dataset, features, missing)
    suspects = _suspects(run, dataset, missing)
    duplicates, pair_rows, others = _duplicates(dataset, missing)
    return ReportData(
        run.path.resolve().name,
        run.manifest,
        run.ids,
        run.labels,
        run.scores,
        predictions_of(run.trace),
        None if dataset is None else dataset.images,
        vectors,
        features_are,
        suspects,
        duplicates,
        pair_rows,
        others,
        missing,
    )


def pairs_of(found: Duplicates, splits: Splits) -> tuple[np.ndarray, tuple[Other, ...]]:
    """Return the rows of each pair as `ReportData.pair_rows`, and the examples of other splits that they name."""
    by_split = {"validation": splits.validation, "test": splits.test}
    others: list[Other] = []
    place: dict[tuple[str, int], int] = {}

    def row(name: str, label: int, split: str, at: int) -> int:
        dataset = by_split.get(split)
        if dataset is None:
            return at
        if (split, at) not in place:
            place[split, at] = len(splits.train) + len(others)
            pixels = None if dataset.images is None else np.asarray(dataset.images[at])
            others.append(Other(name, label, split, pixels))
        return place[split, at]

    ones = zip(found.ids.tolist(), found.labels.tolist(), found.split.tolist(), found.rows.tolist(), strict=True)
    twins = zip(
        found.other_ids.tolist(), found.other_labels.tolist(), found.other_split.tolist(), found.other_rows.tolist(), strict=True
    )
    rows = [(row(*one), row(*twin)) for one, twin in zip(ones, twins, strict=True)]
    return np.array(rows, np.int64).reshape(-1, 2), tuple(others)


def _dataset(run: Run, data: str | None, missing: dict[str, str]) -> Dataset | None:
    try:
        return run.dataset(data)
    except DatapruneError:
        if data is not None:
            raise
        # In words of our own: the page may be sent to somebody, and where the data lay is nobody's business but the owner's.
        missing["pictures"] = f"{_why_not(run)} Give the data with --data DATA."
        return None


def _why_not(run: Run) -> str:
    try:
        source = store.read_json(run.path / LOCAL)["source"]
    except (StoreError, KeyError, TypeError):
        return "The run does not say where its data lie."
    if source is None:
        return "The run was made from arrays in memory, not from a source on disk."
    if os.sep in str(source) and not Path(source).exists():
        return "The data are not where they were scored any more."
    return "The data are not those that were scored: pictures were changed, added or removed since, or cannot be read."


def _features(run: Run, dataset: Dataset | None, path: Path | None, missing: dict[str, str]) -> tuple[np.ndarray | None, str]:
    """Read the vectors of the map: those that are given, those of the data, or those that the run was scored with."""
    known = run.manifest.features
    if path is not None:
        file = read_features(path)
        if len(run.ids) * file.width > MOST_FEATURE_VALUES:
            raise InputError(f"`features` {path} hold too many numbers for a map: {_size(run, file)}. Leave them out.")
        is_known = known is not None and known.digest == file.digest
        return _vectors(run, file), SCORED_WITH if is_known else f"features of {display_text(file.path.name)}"
    if dataset is not None and dataset.features is not None:
        return dataset.features, "the feature vectors themselves"
    if known is None:
        missing["features"] = "The run has pictures only: give vectors with --features FILE, or score with --features."
        return None, ""
    try:
        file = run.features()
        if len(run.ids) * file.width <= MOST_FEATURE_VALUES:
            return _vectors(run, file), SCORED_WITH
        missing["features"] = f"The features that the run was scored with are too many for a map: {_size(run, file)} numbers."
    except DatapruneError as reason:
        missing["features"] = capitalise(str(reason))
    return None, ""


def _vectors(run: Run, file: FeatureFile) -> np.ndarray:
    matched = match(file, run.ids)
    return take(matched.features, matched.place)


def _size(run: Run, file: FeatureFile) -> str:
    return f"{len(run.ids):,} × {file.width:,}"


def _suspects(run: Run, dataset: Dataset | None, missing: dict[str, str]) -> Suspects | None:
    try:
        return judge(run, dataset)
    except DatapruneError as reason:
        missing["suspects"] = str(reason)
        return None


def _duplicates(dataset: Dataset | None, missing: dict[str, str]) -> tuple[Duplicates | None, np.ndarray, tuple[Other, ...]]:
    none = np.zeros((0, 2), np.int64)
    if dataset is None:
        missing["duplicates"] = "The data were not found, so nothing could be compared."
        return None, none, ()
    splits = _splits(dataset)
    n = sum(len(part) for part in (splits.train, splits.validation, splits.test) if part is not None)
    if n > MOST_COMPARED:
        missing["near"] = f"Among {n:,} examples only identical ones were looked for; dataprune duplicates DATA finds near ones."
    try:
        found = find_duplicates(splits, near=n <= MOST_COMPARED)
    except DatapruneError as reason:
        missing["duplicates"] = str(reason)
        return None, none, ()
    return found, *pairs_of(found, splits)


def _splits(dataset: Dataset) -> Splits:
    """Return all splits of the run's source, so that duplicates across them are found too; the run's own labels stay."""
    origin = dataset.origin
    if origin is None or not origin.path:
        return Splits(dataset)
    try:
        every = read_splits(origin.path, **{key: value for key, value in origin.options.items() if key != "labels"})
    except DatapruneError:
        return Splits(dataset)
    return Splits(dataset, every.validation, every.test)
