"""Suspect labels of a run or of probabilities made elsewhere, and findings in files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from jaxtyping import Int64
from numpy.typing import ArrayLike

from dataprune import noise, store, tables
from dataprune.blocks import as_array
from dataprune.data import Dataset, read
from dataprune.data.labels import LabelFile, read_labels
from dataprune.errors import InputError, MachineError, check_type, invalid, join_some
from dataprune.noise import Evidence, Suspects
from dataprune.noise.duplicates import conflicts, identical, with_conflicts
from dataprune.noise.suspects import WhyNoCount, with_threshold
from dataprune.run.evidence import evidence_of, evidence_of_trace
from dataprune.run.recorded import of_data
from dataprune.run.run import Run
from dataprune.tables import TABLES, check_output
from dataprune.tables.join import join, places
from dataprune.trace import Trace, open_member
from dataprune.training.ensemble import threshold_mask

COLUMNS = ("id", "label", "suggested_label", "probability", "score", "is_suspect", "reason")
ROWS = ("ids", "labels", *COLUMNS[2:])  # of a finding, a value for each example
OPTIONAL = ("suggested_probability",)  # a table may lack it
DECIDED = ("decision", "new_label")  # what a person fills in


def find_suspects(
    source: Run | Trace | Evidence | None = None,
    *,
    data: Any = None,
    labels: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
    seed: int = 0,
) -> Suspects:
    """Judge every label of a run or a trace, or of probabilities made elsewhere.

    Args:
        source: a finished run, where networks that did not see an example (with folds) speak of it too, which finds far more; where
            its data can be read, labels that contradict those of identical examples are suspects too. Or a `Trace`, an `Evidence`.
        data: with a trace, what was trained on, as for `write_run`: it names examples and classes, and identical ones count too.
        labels, probabilities: instead of it: (N,) class indices, and the (N, K) class probabilities of a model that did not see the
            examples, by cross-validation say.
        seed: of samples.
    Returns:  For each example the probability that its label is wrong, and how many are in all, with an interval; or, where the
              evidence carries no number, an order to look in and why.
    """
    if labels is not None and probabilities is not None and source is None:
        source = Evidence(as_array(labels, "labels"), out_of_sample=as_array(probabilities, "probabilities"))
    elif labels is not None or probabilities is not None:
        raise InputError("give either a run or an Evidence, or both `labels` and `probabilities`.")
    check_type("source", source, Run | Trace | Evidence, "Open a run's folder with `open_run`.")
    assert source is not None
    if data is not None and not isinstance(source, Trace):
        raise InputError("`data` goes with a trace: a run knows its data, an Evidence needs none.")
    if isinstance(source, Trace):
        dataset, trace = (None, source) if data is None else of_data(source, read(data))
        found = noise.find(evidence_of_trace(trace, trace.classes if dataset is None else dataset.classes), seed=seed)
        return found if dataset is None else with_identical(found, dataset)
    if isinstance(source, Evidence):
        return noise.find(source, seed=seed)
    found = judged(source, seed)
    try:
        return with_identical(found, source.dataset())
    except (InputError, MachineError) as reason:
        return replace(found, notes=(*found.notes, f"identical examples with different labels were not looked for: {reason}"))


def judged(run: Run, seed: int = 0) -> Suspects:
    """Judge the labels of a run by its networks alone; where all of them saw them, those with threshold samples count."""
    found, networks, spec = noise.find(evidence_of(run), seed=seed), run.manifest.threshold, run.manifest.spec
    if found.why_no_count != "in_sample" or not networks:
        return found
    margins = [open_member(run.path / str(one.file)).arrays["margin"].mean(axis=0) for one in networks]
    samples = [threshold_mask(len(found), spec.n_classes, spec.seed, one.member - spec.members) for one in networks]
    return with_threshold(found, np.stack(margins), np.stack(samples))


def with_identical(found: Suspects, dataset: Dataset) -> Suspects:
    """Make suspects of the labels that contradict those of identical examples."""
    if dataset.records is not None:
        found = replace(found, texts=np.array([dataset.records.shown(row) for row in range(len(dataset))], object))
    against = conflicts(identical([dataset.whole]), found.labels)
    if dataset.kind in ("rows", "features"):  # two cases may differ that are described alike, so none need be wrong
        against = replace(against, n_wrong=0)
    return with_conflicts(found, against)


def evidence_of_file(probabilities: Path, labels: str, classes: Sequence[str] = ()) -> Evidence:
    """Read probabilities made elsewhere, of networks that did not see the examples, and the labels they judge.

    Args:
        probabilities: .npy, a row for each example and a column for each class. Or .csv or .parquet with a column for each class,
            called like it, and one that names the examples.
        labels: `FILE[:COLUMN]`, names or class indices; by the names of the examples where both files have them, else by row.
        classes: in the order of the columns of .npy; else names are taken in alphabetical order, numbers as column numbers, or in
            their order where they are too large for that. Without, an order with which far more labels agree is an error.
    """
    p, ids, named = _probabilities(probabilities)
    file, known, notes = read_labels(labels), named or tuple(classes), tuple[str, ...]()
    if ids is None:
        key, names = file.sheet.own_names()
        given, found = file.resolved(key, known)
        ids = names if key else None
    else:
        aligned = file.align(ids, known)
        given, found, notes = aligned.labels, aligned.classes, aligned.notes
    if len(given) != len(p):
        raise invalid("labels", f"have one row for each of the {len(p)} rows of {probabilities}", f"{len(given)} in {labels}")
    numbers = [int(name) for name in found if name.isdecimal()] if not known else []
    if len(numbers) == len(found) and max(numbers, default=p.shape[1]) < p.shape[1]:
        given, found = np.array(numbers)[given], tuple(str(index) for index in range(p.shape[1]))
    if len(found) != p.shape[1]:
        cure = "Name them, in the order of the columns, with --classes."
        raise invalid("labels", f"be of the {p.shape[1]} classes of {probabilities}", f"{len(found)} classes in {labels}", cure)
    better = noise.better_order(p, given)
    if better is not None:
        order = [found[index] for index in better.order.tolist()]
        agree = f"{better.n_agree:,} of {len(p):,} labels agree with {probabilities}, but {better.n_better:,} if its columns are"
        if not known:
            cure = f"Say which: --classes {','.join(order)}, or --classes {','.join(found)} if so many labels are wrong."
            raise InputError(f"with the columns {join_some(found)}, {agree} {join_some(order)}. {cure}")
        notes = (*notes, f"{agree} {join_some(order)}")
    return Evidence(given, p, ids=None if ids is None else np.array(ids, np.dtypes.StringDType()), classes=found, notes=notes)


def _probabilities(path: Path) -> tuple[np.ndarray, list[str] | None, tuple[str, ...]]:
    """Read a matrix; of a table also the names of its rows and columns."""
    if path.suffix.lower() not in TABLES:
        return noise.checked_probabilities(tables.read_npy(path), str(path)), None, ()
    sheet = tables.read_sheet(path)
    key, ids = sheet.own_names()
    if key is None:
        raise invalid(str(path), "have a column that names the examples", join_some(sheet.names), "Call it id.")
    columns = tables.read_table(path, [name for name in sheet.names if name != key]).columns
    return noise.checked_probabilities(np.stack(list(columns.values()), axis=1), str(path)), ids, tuple(columns)


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


def finding_columns(found: Suspects) -> dict[str, np.ndarray]:
    """Return a row for each example, most suspect first, with labels as the names of their classes."""
    names = np.array(found.classes, dtype=object)
    columns = {
        "id": found.ids,
        "label": names[found.labels],
        "suggested_label": names[found.suggested_label],
        **{name: getattr(found, name) for name in ("probability", "score", "rank", "is_suspect", "reason")},
        "suggested_probability": found.suggested_probability,
        "text": found.texts,
    }
    return {name: values[found.order] for name, values in columns.items() if values is not None}


def write_suspects(found: Suspects, out: str | Path, *, overwrite: bool = False) -> int:
    """Write a finding as .csv or .parquet, a row for each example, most suspect first, and what it says in all as `<out>.json`.

    Labels are written as the names of their classes. The last column, `decision`, is empty: a person fills it in (keep, drop or
    relabel), and `read_decisions` takes the file. Of a finding that lies there, decisions are carried over.

    Args:     overwrite: replace what lies there, decisions too.
    Returns:  How many decisions were carried over.
    Raises:   InputError: without `overwrite`, the file is no finding, has columns of its own, or a decision about an example that
              now has another label or another suggestion.
    """
    out = check_output(out, TABLES)
    check_type("found", found, Suspects)
    columns = finding_columns(found)
    written = {name: np.full(len(found), "", dtype=object) for name in DECIDED}
    n_carried = 0 if overwrite or not out.exists() else _carry_over(written, columns, out)
    columns["decision"] = written["decision"]
    if (written["new_label"] != "").any():
        columns["new_label"] = written["new_label"]
    store.check_beside(out, _about, overwrite=overwrite)
    store.beside(out).unlink(missing_ok=True)  # never that of another table
    with store.writing(out) as temporary:
        tables.write_table(temporary, columns)
    store.write_json(store.beside(out), {one.name: getattr(found, one.name) for one in fields(FindingRecord)})
    return n_carried


def _carry_over(written: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], out: Path) -> int:
    """Fill in what a person wrote into the finding at `out`, where the example, its label and the suggestion are the same."""
    cure = "Name another file, or give --overwrite."
    there, known = set(tables.column_names(out)), {*columns, *OPTIONAL, *DECIDED, "text"}
    if not {*COLUMNS, "decision"} <= there <= known:
        others = join_some(sorted(there - known)) or "other columns"
        raise InputError(f"`out` {out} is there already and is not a table of this command: it has {others}. {cure}")
    table = {name: cells.tolist() for name, cells in tables.read_table(out, as_text=True).columns.items()}
    ids = [str(one) for one in table["id"]]
    n_carried = 0
    for row, place in enumerate(places(columns["id"].tolist(), ids).places):
        cells = {name: str(table[name][row]).strip() for name in DECIDED if name in table}
        if not any(cells.values()):
            continue
        label, suggested = table["label"][row], table["suggested_label"][row]
        what = "" if place >= 0 else "is not in the data"
        if place >= 0 and (str(label), str(suggested)) != (columns["label"][place], columns["suggested_label"][place]):
            what = f"was {label!r}, rather {suggested!r}, and is found otherwise now"
        if what:
            raise InputError(f"`out` {out} holds a decision about {ids[row]!r}, which {what}. {cure}")
        n_carried += 1
        for name, cell in cells.items():
            written[name][place] = cell
    return n_carried


def read_suspects(path: str | Path) -> Suspects:
    """Read a finding that `write_suspects` wrote: in the order of its rows, or where its names are row numbers, in theirs.

    Raises:   InputError: the file is none, or what lies beside it is not there or of another kind.
              StoreError: what lies beside it is damaged.
    """
    path = Path(path)
    beside, needs = store.beside(path), (str(path), "be a table of `dataprune noise find`")
    if not beside.is_file():
        raise invalid(*needs, f"no {beside.name} beside it", "Write it again.")
    try:
        about = _about(store.read_json(beside))
    except msgspec.ValidationError:
        raise invalid(*needs, f"other things in {beside.name}", "Write it again.") from None
    table = _checked_table(path, about.classes)
    ids, labels = np.array([str(one) for one in table.pop("id").tolist()], np.dtypes.StringDType()), table.pop("label")
    found = Suspects(ids=ids, labels=labels, reason=table.pop("reason").astype(object), **table, **vars(about))
    row_of = {name: row for row, name in enumerate(ids.tolist())}
    rows = [row_of.get(str(number), -1) for number in range(len(ids))]
    return found if -1 in rows else _of_rows(found, rows)


def _checked_table(path: Path, classes: tuple[str, ...]) -> dict[str, Any]:
    """Read the columns of a finding, which somebody may have edited, and refuse those that hold other things."""
    there = tables.column_names(path)
    table: dict[str, Any] = tables.read_table(path, [*COLUMNS, *(name for name in OPTIONAL if name in there)]).columns
    texts = tables.read_table(path, ["label", "suggested_label"], as_text=True).columns
    index_of = {name: index for index, name in enumerate(classes)}

    def check(name: str, is_right: bool, requirement: str, got: str = "other values") -> None:
        if not is_right:
            raise invalid(f"{path}:{name}", requirement, got, "Find again.")

    for name, column in texts.items():
        unknown = [repr(str(one)) for one in column.tolist() if str(one) not in index_of]
        check(name, not unknown, f"hold names of the classes ({join_some(classes)})", *unknown[:1])
        table[name] = np.array([index_of[str(one)] for one in column.tolist()], np.int64)
    for name in [one for one in ("probability", *OPTIONAL, "score") if one in table]:
        is_number, least, most = table[name].dtype.kind in "iuf", *((-np.inf, np.inf) if name == "score" else (0.0, 1.0))
        is_inside = is_number and bool((np.isfinite(table[name]) & (table[name] >= least) & (table[name] <= most)).all())
        check(name, is_inside, "hold numbers" if name == "score" else "hold probabilities")
        table[name] = table[name].astype(np.float64)
    check("is_suspect", table["is_suspect"].dtype == bool, "hold true or false in each row")
    return table


def read_suspects_of(run: Run, path: Path) -> Suspects:
    """Read a finding about a run's examples, in their order, however its rows were sorted since."""
    found, cure = read_suspects(path), "Find again."
    if len(found) != len(run.ids):
        raise invalid("suspects", f"be what was found in {run.path}", f"other examples in {path}", cure)
    rows = join(run.ids.tolist(), found.ids.tolist(), "suspects", path).rows
    if found.classes != run.classes or not np.array_equal(found.labels[rows], run.labels):
        raise invalid("suspects", f"be what was found in {run.path}", f"other labels in {path}", cure)
    return _of_rows(found, rows)


def _of_rows(found: Suspects, rows: Any) -> Suspects:
    columns = {name: getattr(found, name) for name in (*ROWS, *OPTIONAL)}
    return replace(found, **{name: values[rows] for name, values in columns.items() if values is not None})


def read_truth(source: str, found: Suspects, table: Path | None = None) -> tuple[Int64[np.ndarray, " examples"], tuple[str, ...]]:
    """Read true labels from `FILE[:COLUMN]`, in the order of a finding: class indices, and what was guessed, in words. By the
    column that names the examples, else by row; without COLUMN it is `clean_label`, or the only one left. `table` is where the
    finding was read from: its rows are sorted, so only row numbers stand for rows there."""
    ids, file = found.ids.tolist(), LabelFile(tables.read_sheet(source, "clean_label"), "truth")
    if table is not None and ids != [str(row) for row in range(len(ids))] and file.sheet.join(ids, "truth").key is None:
        cure = f"The rows of {table} are sorted by suspicion. Or give the RUN."
        raise invalid("truth", "have a column that names the examples", f"{join_some(file.sheet.names)} in {source}", cure)
    aligned = file.align(ids, found.classes)
    return aligned.labels, aligned.notes


def _about(said: Any) -> FindingRecord:
    return msgspec.convert(said, FindingRecord)
