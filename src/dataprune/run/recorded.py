"""A run folder of a trace that was recorded in a training of one's own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from dataprune import store
from dataprune.data import Dataset, read
from dataprune.errors import check_type, invalid, join_some
from dataprune.run.manifest import MemberRecord, RunManifest, RunSpec, member_file
from dataprune.run.run import MANIFEST, SCORES_FILE, SPEC, Run, open_run, work_folder, write_local, write_scores
from dataprune.scores import Scores, score_trace
from dataprune.tables.join import join, places
from dataprune.trace import Trace, open_member, save_member
from dataprune.trace.member import MemberTrace

NO_WEIGHTS = "it needs the weights of a network that dataprune can build, and the run was recorded in another training"


def write_run(
    trace: Trace, data: Any, out: str | Path, *, model: str = "recorded", classes: Sequence[str] = (), wait: bool = False
) -> Run:
    """Make a run folder of a trace, for every command that takes a run.

    What only `score` knows (weights, recipe, cost) is absent, with the reason where it is asked for. The same call goes on where it
    was interrupted, or returns at once.

    Args:
        trace: of any training. Its ids, where it has some, say which example is which, else it has the order of the data.
        data: what was trained on, as `read` takes it, with the labels of the trace or with none; examples that the trace does not
            name are left out.
        out: the folder of the run, made if need be.
        model: what the network is called, for the record; it is part of the run's identity.
        classes: names of the classes in the order of the network's outputs; by default those of the recorders, else of the data.
        wait: if another process works on the folder, wait for it.
    Raises:   InputError: the trace has other examples or labels than the data, or no probabilities of the last epoch; `out` holds
              another run or other things.
    """
    check_type("trace", trace, Trace, "Join what Recorder.finish() returns: Trace([member], labels).")
    if not trace.ends_whole:
        raise invalid("trace", "end where its recording does", f"one until epoch {trace.n_epochs}", "Give the whole trace.")
    work = work_folder(out)
    work.check()
    dataset, trace = of_data(trace, read(data), classes)
    spec = _spec(trace, dataset, model)
    with work.work(spec.plain, wait=wait) as finished:
        path = "" if dataset.origin is None else dataset.origin.path
        write_local(work.output, source=path or None)
        if not finished:
            _write(work.output, spec, dataset, trace)
    return open_run(work.output)


def of_data(trace: Trace, dataset: Dataset, classes: Sequence[str] = ()) -> tuple[Dataset, Trace]:
    """Bring a trace into the order of the data, and the data to its examples, labels and classes. Ids that are not in the data,
    another number of rows, and labels that differ are an InputError."""
    rows = np.arange(len(trace))
    if trace.ids is not None:
        names = list(map(str, trace.ids.tolist()))
        found = np.array(places(dataset.ids.tolist(), names).places)
        if len(strangers := [repr(names[row]) for row in np.flatnonzero(found < 0)]):
            raise invalid("trace", "name examples of the data", f"{join_some(strangers)} ({len(strangers):,} of {len(names):,})")
        dataset = dataset.take(np.unique(found))
        rows = join(dataset.ids.tolist(), names, "trace", "the trace").rows
    elif len(trace) != len(dataset):
        raise invalid("trace", f"have {len(dataset):,} examples, or ids: Trace(members, labels, ids)", f"{len(trace):,}")
    known = tuple(map(str, classes)) or trace.classes or dataset.classes
    if len(known) != trace.n_classes or len(set(known)) < len(known):
        raise invalid("classes", f"name each of the {trace.n_classes} outputs of the network", join_some(known) or "none")
    labels = trace.labels[rows]
    bare = dataset.classes == tuple(map(str, range(dataset.n_classes))) and not any(name.isdecimal() for name in known)
    if dataset.labels is not None and not (bare and np.array_equal(labels, dataset.labels)):
        _check_labels(np.array(known, object)[labels], np.array(dataset.classes, object)[dataset.labels], labels, known)
    turned = Trace(list(trace.members_at(rows)), labels, dataset.ids)
    return dataset.with_labels(labels, known), turned


def _check_labels(said: np.ndarray, given: np.ndarray, labels: np.ndarray, known: tuple[str, ...]) -> None:
    """Refuse labels of the trace that are not those of the data; of other orders of the classes say which one would fit."""
    differ = np.flatnonzero(said != given)
    if not len(differ):
        return
    pairs = dict(zip(labels.tolist(), given.tolist(), strict=True))
    fits = all(pairs[label] == name for label, name in zip(labels.tolist(), given.tolist(), strict=True))
    order = [pairs.get(index, "?") for index in range(len(known))]
    cure = "Record against the labels of the data, or give the data with those of the training: data.with_labels(...)."
    if fits and len(set(order)) == len(order):
        cure = f"Say the order of the network's outputs: classes={order}."
    row = int(differ[0])
    got = f"{said[row]!r} rather than {given[row]!r} in row {row}; {len(differ):,} of {len(given):,} differ"
    raise invalid("trace", "have the labels of the data", got, cure)


def _spec(trace: Trace, dataset: Dataset, model: str) -> RunSpec:
    digests, seed = [], 0
    for number, member in enumerate(trace.members_at(np.arange(len(trace)))):
        if not {"probabilities", "top_probabilities"} & member.arrays.keys():
            raise invalid("trace", "hold probabilities of its last epoch, as Recorder.finish() stores", f"none in member {number}")
        seed = seed if number else int(member.info.get("seed", 0))
        digests.append({name: store.array_digest(array) for name, array in member.arrays.items()})
    return RunSpec(
        data=dataset.fingerprint,
        n_examples=len(dataset),
        model=model,
        recipe=None,
        members=trace.n_members,
        epochs=trace.n_epochs,
        n_classes=trace.n_classes,
        when=trace.when,  # type: ignore[arg-type]
        seed=seed,
        encoder=dataset.encoder,
        recorded=store.json_digest(digests),
    )


def _write(folder: Path, spec: RunSpec, dataset: Dataset, trace: Trace) -> None:
    assert dataset.labels is not None, "those of the trace"
    (folder / "trace").mkdir(exist_ok=True)
    each = enumerate(trace.members_at(np.arange(len(trace))))
    members = [_member(folder, number, one, dataset.labels) for number, one in each]
    opened = Trace([open_member(folder / str(one.file)) for one in members], dataset.labels, dataset.ids)
    found = score_trace(opened)
    scores = Scores(found.values(), {**found.absent, "median_distance": NO_WEIGHTS})
    write_scores(folder / SCORES_FILE, scores, dataset.classes)
    largest = np.bincount(dataset.labels).max() / len(dataset)
    notes = [f"the trace of member {one.member} is incomplete: {one.reason}" for one in members if one.reason]
    notes += [f"member {one.member} names no more labels than the largest class has" for one in members if one.accuracy <= largest]
    manifest = RunManifest.of(spec, replace(dataset, notes=(*dataset.notes, *notes)), members, scores, (), "")
    store.write_manifest(folder, MANIFEST, manifest.plain, [SPEC, SCORES_FILE, *(str(one.file) for one in members)])


def _member(folder: Path, number: int, member: MemberTrace, labels: Int64[np.ndarray, " examples"]) -> MemberRecord:
    file, seen = member_file(number), member.arrays["trained_on"]
    save_member(folder / file, member)
    accuracy = float((member.arrays["predicted"][-1] == labels)[seen].mean()) if seen.any() else 0.0
    reason = str(member.info.get("incomplete", ""))
    return MemberRecord(number, "ok", reason, file, store.sha256(folder / file), accuracy=round(accuracy, 6))
