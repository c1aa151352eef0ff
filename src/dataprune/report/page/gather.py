"""What can be found out about a run for its page, and what cannot, with the reason?

Opens what the page needs: scores, trace, pictures, suspects, duplicates, features. A part that is absent costs the page a section,
never the page. Does not know how any of it is shown.
"""

import os
from pathlib import Path

import numpy as np

from dataprune import noise, store
from dataprune.clustering import take
from dataprune.data import Dataset, FeatureFile, Splits, read_features, read_splits
from dataprune.errors import DatapruneError, InputError, StoreError
from dataprune.noise import Suspects
from dataprune.noise.conflicts import conflicts, with_conflicts
from dataprune.noise.duplicates import identical
from dataprune.report.page.answers import answers
from dataprune.report.page.findings import leading_score
from dataprune.report.page.material import Other, Pairs, ReportData
from dataprune.report.text import capitalise
from dataprune.run import Run, match
from dataprune.run.duplicates import Duplicates, find_duplicates
from dataprune.run.evidence import evidence_of
from dataprune.run.run import LOCAL

MOST_COMPARED = 20_000  # near duplicates among more take minutes
MOST_FEATURE_VALUES = 2**28  # one gigabyte
SCORED_WITH = "the features that the run was scored with"


def gather(run: Run, data: str | None = None, features: Path | None = None) -> ReportData:
    """Collect what the page of a run is made of.

    Args:
        data: where its pictures lie now; None is where they lay when it was scored. Where they are not found there, the page is
            made without pictures.
        features: vectors of the same examples, for the map and the nearest examples.

    Raises:
        InputError: `data` or `features` are given and are not those of the run.
        StoreError: the run is damaged.
    """
    missing: dict[str, str] = {}
    dataset = _dataset(run, data, missing)
    images = None if dataset is None else dataset.images
    vectors, features_are = _features(run, dataset, features, missing)
    suspects = _suspects(run, dataset, missing)
    pairs, others = _duplicates(dataset, missing)
    return ReportData(
        run.path.resolve().name,
        run.manifest,
        run.classes,
        run.ids,
        run.labels,
        run.scores,
        leading_score(run.manifest.memorised, list(run.scores))[0],
        answers(run.trace),
        images,
        vectors,
        features_are,
        suspects,
        pairs,
        others,
        missing,
    )


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
    if path is not None:
        file = read_features(path)
        known = run.manifest.features
        said = SCORED_WITH if known is not None and known.digest == file.digest else f"features of {file.path.name}"
        if len(run.ids) * file.width > MOST_FEATURE_VALUES:
            raise InputError(f"`features` {path} hold too many numbers for a map: {_size(run, file)}. Leave them out.")
        return _vectors(run, file), said
    if dataset is not None and dataset.features is not None:
        return dataset.features, "the feature vectors themselves"
    if run.manifest.features is None:
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
    """Judge the labels as `suspects_of` does, by the data that are at hand: its own notes would name their place."""
    try:
        found = noise.find(evidence_of(run))
    except DatapruneError as reason:
        missing["suspects"] = str(reason)
        return None
    return found if dataset is None else with_conflicts(found, conflicts(identical([dataset.inputs]), found.labels))


def _duplicates(dataset: Dataset | None, missing: dict[str, str]) -> tuple[Pairs | None, tuple[Other, ...]]:
    if dataset is None:
        missing["duplicates"] = "The data were not found, so nothing could be compared."
        return None, ()
    splits = _splits(dataset)
    n = sum(len(part) for part in (splits.train, splits.validation, splits.test) if part is not None)
    if n > MOST_COMPARED:
        missing["near"] = f"Among {n:,} examples only identical ones were looked for; dataprune duplicates DATA finds near ones."
    try:
        return pairs_of(find_duplicates(splits, near=n <= MOST_COMPARED), splits)
    except DatapruneError as reason:
        missing["duplicates"] = str(reason)
        return None, ()


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


def pairs_of(found: Duplicates, splits: Splits) -> tuple[Pairs, tuple[Other, ...]]:
    """Bring duplicates into the page's form: rows for examples of train, and a list of those of other splits."""
    by_split = {"validation": splits.validation, "test": splits.test}
    others: list[Other] = []
    place: dict[tuple[str, int], int] = {}

    def row(name: str, label: int, split: str, at: int) -> int:
        dataset = by_split.get(split)
        if dataset is None:
            return at
        if (split, at) not in place:
            place[(split, at)] = len(splits.train) + len(others)
            pixels = None if dataset.images is None else np.asarray(dataset.images[at])
            others.append(Other(name, label, split, pixels))
        return place[(split, at)]

    def rows(ids: np.ndarray, labels: np.ndarray, names: np.ndarray, at: np.ndarray) -> np.ndarray:
        every = zip(ids.tolist(), labels.tolist(), names.tolist(), at.tolist(), strict=True)
        return np.array([row(str(name), label, str(split), own) for name, label, split, own in every], np.int64)

    pairs = Pairs(
        [str(one) for one in found.ids.tolist()],
        [str(one) for one in found.other_ids.tolist()],
        rows(found.ids, found.labels, found.split, found.rows),
        rows(found.other_ids, found.other_labels, found.other_split, found.other_rows),
        ["exact" if exact else "near" for exact in found.is_exact.tolist()],
        found.labels,
        found.other_labels,
        [str(one) for one in found.split.tolist()],
        [str(one) for one in found.other_split.tolist()],
        found.distance.astype(np.float64),
    )
    return pairs, tuple(others)
