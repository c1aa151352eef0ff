"""Suspect labels of a run or of probabilities made elsewhere, and findings in files."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from jaxtyping import Int64

from dataprune import noise, store, tables
from dataprune.data.labels import LabelFile, read_labels, resolve
from dataprune.errors import check_type, invalid
from dataprune.noise import Evidence, Suspects
from dataprune.noise.suspects import WhyNoCount
from dataprune.run.duplicates import with_duplicates
from dataprune.run.evidence import evidence_of
from dataprune.run.run import Run
from dataprune.tables import TABLES, check_output, write_table
from dataprune.tables.join import join

COLUMNS = ("id", "label", "suggested_label", "probability", "score", "is_suspect", "reason")
ROWS = ("ids", "labels", *COLUMNS[2:])  # of a finding, a value for each example
OPTIONAL = ("suggested_probability",)  # what earlier tables lack


def find_suspects(source: Run | Evidence, *, seed: int = 0) -> Suspects:
    """Judge every label of a run, or of probabilities made elsewhere.

    Args:
        source: a finished run, where networks that did not see an example (with folds) speak of it too, which finds far more; where
            its data can be read, labels that contradict those of identical examples are suspects too. Or
            `Evidence(labels, out_of_sample=probabilities)`.
        seed: of samples.

    Returns:
        For each example the probability that its label is wrong, and how many are in all, with an interval; or, where the evidence
        carries no number, an order to look in and why.
    """
    check_type("source", source, Run | Evidence, "Open a run's folder with `open_run`.")
    if isinstance(source, Evidence):
        return noise.find(source, seed=seed)
    return with_duplicates(noise.find(evidence_of(source), seed=seed), source)


def evidence_of_file(probabilities: Path, labels: str) -> Evidence:
    """Read probabilities made elsewhere, of networks that did not see the examples, and the labels they judge.

    Args:
        probabilities: .npy, a row for each example and a column for each class.
        labels: `FILE[:COLUMN]`, a row for each row of the probabilities; class indices, or names, whose alphabetical order is
            then that of the columns. A column `id` names the examples.
    """
    p = noise.checked_probabilities(tables.read_npy(probabilities), str(probabilities))
    file = read_labels(labels)
    given, classes = resolve(file.values, ())
    if len(given) != len(p):
        raise invalid("labels", f"have one row for each of the {len(p)} rows of {probabilities}", f"{len(given)} in {labels}")
    numbered = classes == tuple(str(index) for index in range(len(classes)))
    if len(classes) > p.shape[1] or (len(classes) < p.shape[1] and not numbered):
        raise invalid("labels", f"be of the {p.shape[1]} classes of {probabilities}", f"{len(classes)} classes in {labels}")
    names = classes if not numbered else tuple(str(index) for index in range(p.shape[1]))
    ids = None if file.names is None else np.array(file.names, dtype=np.dtypes.StringDType())
    return Evidence(given, out_of_sample=p, ids=ids, classes=names)


@dataclass(frozen=True)
class FindingRecord:
    """What lies beside a finding's table: what it says in all, as in `Suspects`."""

    n_wrong: float | None
    n_wrong_low: float | None
    n_wrong_high: float | None
    why_no_count: WhyNoCount
    accuracy: float | None
    classes: tuple[str, ...]
    sampling: Literal["in", "out", "both"]
    method: str
    notes: tuple[str, ...]


def write_suspects(found: Suspects, out: str | Path) -> None:
    """Write a finding as .csv or .parquet, a row for each example in source order, and what it says in all as `<out>.json`.

    The last column, `decision`, is empty: a person fills it in (keep, drop or relabel), and `read_decisions` takes the file.
    """
    out = check_output(out, TABLES)
    check_type("found", found, Suspects)
    names = np.array(found.classes, dtype=object)
    columns = {
        "id": found.ids,
        "label": found.labels,
        "suggested_label": found.suggested_label,
        "label_name": names[found.labels],
        "suggested_name": names[found.suggested_label],
        "probability": found.probability,
        "score": found.score,
        "rank": found.rank,
        "is_suspect": found.is_suspect,
        "reason": found.reason,
    }
    if found.suggested_probability is not None:
        columns["suggested_probability"] = found.suggested_probability
    columns["decision"] = np.full(len(found), "", dtype=object)
    _beside(out).unlink(missing_ok=True)  # never that of another table
    with store.writing(out) as temporary:
        write_table(temporary, columns)
    store.write_json(_beside(out), {one.name: getattr(found, one.name) for one in fields(FindingRecord)})


def read_suspects(path: str | Path) -> Suspects:
    """Read a finding that `write_suspects` wrote.

    Raises:
        InputError: the file is none, or what lies beside it is not there or of another kind.
        StoreError: what lies beside it is damaged.
    """
    path = Path(path)
    beside, needs = _beside(path), (str(path), "be a table of `dataprune noise find`")
    if not beside.is_file():
        raise invalid(*needs, f"no {beside.name} beside it", "Write it again.")
    try:
        about = msgspec.convert(store.read_json(beside), FindingRecord)
    except msgspec.ValidationError:
        raise invalid(*needs, f"other things in {beside.name}", "Write it again.") from None
    table = _checked_table(path, len(about.classes))
    return Suspects(
        ids=np.array([str(one) for one in table["id"].tolist()], dtype=np.dtypes.StringDType()),
        labels=table["label"].astype(np.int64),
        suggested_label=table["suggested_label"].astype(np.int64),
        probability=table["probability"].astype(np.float64),
        suggested_probability=table["suggested_probability"].astype(np.float64) if "suggested_probability" in table else None,
        score=table["score"].astype(np.float64),
        is_suspect=table["is_suspect"].astype(bool),
        reason=table["reason"].astype(object),
        **{one.name: getattr(about, one.name) for one in fields(about)},
    )


def _checked_table(path: Path, n_classes: int) -> dict[str, np.ndarray]:
    """Read the columns of a finding, which somebody may have edited, and refuse those that hold other things."""
    there = tables.column_names(path)
    table = tables.read_table(path, [*COLUMNS, *(name for name in OPTIONAL if name in there)]).columns
    for name in ("label", "suggested_label"):
        if table[name].dtype.kind not in "iu" or not ((table[name] >= 0) & (table[name] < n_classes)).all():
            raise invalid(f"{path}:{name}", f"hold class indices in [0, {n_classes})", "other values", "Find again.")
    for name in ("probability", *OPTIONAL):
        if name in table and not (table[name].dtype.kind in "iuf" and ((table[name] >= 0) & (table[name] <= 1)).all()):
            raise invalid(f"{path}:{name}", "hold probabilities", "other values", "Find again.")
    if table["score"].dtype.kind not in "iuf" or not np.isfinite(table["score"]).all():
        raise invalid(f"{path}:score", "hold numbers", "other values", "Find again.")
    if table["is_suspect"].dtype != bool:
        raise invalid(f"{path}:is_suspect", "hold true or false in each row", "other values", "Find again.")
    return table


def read_suspects_of(run: Run, path: Path) -> Suspects:
    """Read a finding about a run's examples, in their order, however its rows were sorted since."""
    found, cure = read_suspects(path), "Find again."
    if len(found) != len(run.ids):
        raise invalid("suspects", f"be what was found in {run.path}", f"other examples in {path}", cure)
    rows = join(run.ids.tolist(), found.ids.tolist(), "suspects", path).rows
    if found.classes != run.classes or not np.array_equal(found.labels[rows], run.labels):
        raise invalid("suspects", f"be what was found in {run.path}", f"other labels in {path}", cure)
    columns = {name: getattr(found, name) for name in (*ROWS, *OPTIONAL)}
    return replace(found, **{name: values[rows] for name, values in columns.items() if values is not None})


def read_truth(source: str, found: Suspects) -> Int64[np.ndarray, " examples"]:
    """Read true labels, in the order of a finding.

    Args:
        source: `FILE[:COLUMN]`, by its column `id` if it has one, else by row; without COLUMN it is `clean_label`, or the only one.
    """
    values, names = tables.read_column(source, "clean_label")
    file = LabelFile(source, values, None if names is None else tuple(str(name) for name in names), called="truth")
    return file.align([str(one) for one in found.ids.tolist()], found.classes).labels


def _beside(path: Path) -> Path:
    return path.parent / f"{path.name}.json"
