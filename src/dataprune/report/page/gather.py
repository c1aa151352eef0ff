"""What can be found out about a run for its page, and what cannot, with the reason?

Opens what the page needs: scores, trace, pictures, suspects, duplicates, features. A part that is absent costs the page a section,
never the page. Does not know how any of it is shown.
"""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store
from dataprune.data import Dataset, Splits, read_features, read_splits
from dataprune.errors import DatapruneError, InputError, StoreError
from dataprune.kmeans.extent import gather as gathered
from dataprune.report.page.answers import answers
from dataprune.report.page.findings import leading_score
from dataprune.report.page.material import Material, Other, Pairs, Suspects
from dataprune.run import Run, match
from dataprune.run.opened import LOCAL

SUSPECTS = "dataprune.run.suspects"
DUPLICATES = "dataprune.run.duplicates"
MOST_FEATURE_VALUES = 2**28  # one gigabyte


def gather(run: Run, data: str | None = None, features: Path | None = None) -> Material:
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
    suspects = _suspects(run, missing)
    pairs, others = _duplicates(run, dataset, missing)
    return Material(
        run.path.resolve().name,
        run.info,
        run.classes,
        run.ids,
        run.labels,
        run.scores,
        leading_score(run.info, list(run.scores))[0],
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
    if path is not None:
        file = read_features(path)
        known = run.info.get("features", {}).get("digest")
        matched = match(file, run.ids)
        if len(run.ids) * file.width > MOST_FEATURE_VALUES:
            raise InputError(
                f"`features` {path} hold too many numbers for a map: {len(run.ids):,} × {file.width:,}. Leave them out."
            )
        vectors = gathered(matched.features, np.arange(len(run.ids)))[matched.place]
        said = "the features that the run was scored with" if known == file.digest else f"features of {file.path.name}"
        return np.asarray(vectors, np.float32), said
    if dataset is not None and dataset.features is not None:
        return dataset.features, "the feature vectors themselves"
    missing["features"] = "The run has pictures only: give vectors with --features FILE, such as those it was scored with."
    return None, ""


def _suspects(run: Run, missing: dict[str, str]) -> Suspects | None:
    found = _call(SUSPECTS, "suspects_of", run, "suspects", missing)
    if found is None or list(map(str, found.ids.tolist())) == list(map(str, run.ids.tolist())):
        return found  # type: ignore[no-any-return]
    missing["suspects"] = "The suspects found are not those of this run's examples."
    return None


def _duplicates(run: Run, dataset: Dataset | None, missing: dict[str, str]) -> tuple[Pairs | None, tuple[Other, ...]]:
    if dataset is None:
        missing["duplicates"] = "The data were not found, so nothing could be compared."
        return None, ()
    splits = _splits(dataset)
    found = _call(DUPLICATES, "find_duplicates", splits, "duplicates", missing)
    return (None, ()) if found is None else pairs_of(found, run, splits)


def _splits(dataset: Dataset) -> Splits:
    """Give all splits of the run's source, so that duplicates across them are found too; the run's own labels stay."""
    origin = dataset.origin
    if origin is None or not origin.path:
        return Splits(dataset)
    try:
        every = read_splits(origin.path, **{key: value for key, value in origin.options.items() if key != "labels"})
    except DatapruneError:
        return Splits(dataset)
    return Splits(dataset, every.validation, every.test)


def pairs_of(found: Any, run: Run, splits: Splits) -> tuple[Pairs, tuple[Other, ...]]:
    """Bring duplicates into the page's form: rows for examples of the run, and a list of those of other splits."""
    row_of = {str(name): row for row, name in enumerate(run.ids.tolist())}
    by_split = {"validation": splits.validation, "test": splits.test}
    others: list[Other] = []
    place: dict[tuple[str, str], int] = {}

    def row(name: str, label: int, split: str) -> int:
        if split not in by_split or by_split[split] is None:
            return row_of[name]
        if (split, name) not in place:
            place[(split, name)] = len(run.ids) + len(others)
            others.append(Other(name, label, split, _pixels(by_split[split], name)))
        return place[(split, name)]

    columns = {key: np.asarray(getattr(found, key)).tolist() for key in ("id", "other_id", "kind", "label", "other_label")}
    columns |= {key: [str(one) for one in np.asarray(getattr(found, key)).tolist()] for key in ("split", "other_split")}
    ids, other_ids = ([str(one) for one in columns[key]] for key in ("id", "other_id"))
    labels, other_labels = (np.array(columns[key], np.int64) for key in ("label", "other_label"))
    rows = [row(*one) for one in zip(ids, labels.tolist(), columns["split"], strict=True)]
    other_rows = [row(*one) for one in zip(other_ids, other_labels.tolist(), columns["other_split"], strict=True)]
    pairs = Pairs(
        ids,
        other_ids,
        np.array(rows, np.int64),
        np.array(other_rows, np.int64),
        [str(kind) for kind in columns["kind"]],
        labels,
        other_labels,
        columns["split"],
        columns["other_split"],
        np.asarray(found.distance, np.float64),
    )
    return pairs, tuple(others)


def _pixels(dataset: Dataset | None, name: str) -> np.ndarray | None:
    if dataset is None or dataset.images is None:
        return None
    found = np.flatnonzero(np.asarray(dataset.ids == name))
    return np.asarray(dataset.images[found[0]]) if len(found) else None


def _call(module: str, function: str, argument: object, what: str, missing: dict[str, str]) -> Any:
    """Call a part that may not be there; None, and why, where it is not or where it cannot answer."""
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError):
        missing[what] = "This version of dataprune does not look for them."
        return None
    try:
        return found(argument)
    except DatapruneError as reason:
        missing[what] = str(reason)
        return None
