"""Data → train → trace → scores → manifest: makes a run, finds a finished one, goes on with an interrupted one."""

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from dataprune import noise, store
from dataprune.data import Dataset, pack
from dataprune.errors import DatapruneError, InputError, MachineError, StoreError, WorkError, invalid, join_some
from dataprune.run.evidence import evidence_of_rounds, excluded
from dataprune.run.manifest import MachineRecord, MemberRecord, Phase, RunData, RunManifest, RunSpec
from dataprune.run.run import MANIFEST, SCORES_FILE, SPEC, Run, open_run, write_local
from dataprune.scores import FEATURE_SCORES, SCORES, Score, Scores, median_distance, score_trace
from dataprune.tables import write_table
from dataprune.trace import Trace, open_member
from dataprune.training.checkpoint import training_environment
from dataprune.training.cost import Cost
from dataprune.training.ensemble import Ensemble, EpochDone, MemberDone, train_members
from dataprune.training.features import penultimate
from dataprune.training.plan import Plan, plan
from dataprune.training.settings import Hardware, Settings
from dataprune.workers import Outcome, default_workers

SCRATCH = "scratch"
REASONS = {
    "ok": "",
    "at chance": "it does no better than always naming the largest class; its answers feed no score",
    "diverged": "its loss grew far beyond that of naming no class; its answers feed no score. Try a lower learning rate",
}


@dataclass(frozen=True)
class Progress:
    """What a listener hears: the price once before training, then each finished epoch of a member, and how many are done of all."""

    done: int
    total: int
    price: Cost | None = None
    epoch: EpochDone | None = None


Listener = Callable[[Progress], None]


def score(
    dataset: Dataset,
    out: str | Path,
    settings: Settings | None = None,
    hardware: Hardware | None = None,
    *,
    extend: bool = False,
    wait: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Train an ensemble on the data and score every example.

    The same call on the same folder goes on where it was interrupted, with results equal to the bit, or returns at once.

    Args:
        dataset: with labels, at least two classes.
        out: the folder of the run, made if need be.
        settings: what to train; everything in it is the run's identity.
        hardware: where to train; none of it changes a result on a CPU.
        extend: add members to a finished run up to `settings.members`.
        wait: if another process works on the folder, wait for it.
        listener: hears the price and the progress.

    Returns:
        The run, with all scores that the trace allows.

    Raises:
        InputError: the data cannot be scored, or `out` holds another run or other things.
        MachineError: no room, no permission, no such device.
        WorkError: no member learned anything.
    """
    settings, hardware = settings or Settings(), hardware or Hardware()
    planned = plan(dataset, settings)
    ensemble = planned.ensemble
    folder = Path(out)
    store.check_writable(folder)
    with store.lock(folder, wait=wait):
        finished = _claim(folder, planned, extend)
        _write_local(folder, dataset)
        store.sweep(folder)
        if finished is not None:
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)
            return finished
        started = time.perf_counter()
        device = hardware.resolved_device()
        pack.verify(dataset)
        members = _train(folder, planned, device, hardware, listener)
        trained = time.perf_counter()
        scores = _score(folder, dataset, ensemble, _here(device), members)
        _publish(folder, planned, device, members, scores, (trained - started, time.perf_counter() - trained))
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    return open_run(folder)


def check_out(out: str | Path) -> None:
    """Refuse an output folder that cannot become a run, before anything is read for it.

    Raises:
        InputError: it is a file, or holds other things.
        MachineError: it cannot be written.
    """
    folder = Path(out)
    if folder.is_dir():
        _refuse_others(folder)
        store.check_writable(folder)
    elif os.path.lexists(folder):
        raise invalid("out", "be a folder", f"{folder}, which is a file")
    else:
        present = next(parent for parent in folder.absolute().parents if parent.is_dir())
        store.check_writable(present)


def identity(dataset: Dataset, ensemble: Ensemble) -> RunSpec:
    """Return what makes two runs the same run."""
    spec = {field.name: getattr(ensemble, field.name) for field in fields(ensemble)}
    spec["recipe"] = replace(ensemble.recipe, epochs=None)
    return RunSpec(data=dataset.fingerprint, n_examples=len(dataset), **spec)


def _claim(folder: Path, planned: Plan, extend: bool) -> Run | None:
    """Make the folder this run's own; return the run if it is finished. Refuse a folder that holds anything else."""
    ensemble = planned.ensemble
    wanted = identity(planned.dataset, ensemble).plain
    if not (folder / SPEC).exists() and not (folder / MANIFEST).exists():
        others = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        if others:
            raise InputError(
                f"`out` must be a new folder or a run, got {folder}, which holds {', '.join(others[:3])}. Choose another."
            )
        planned.cost(ensemble.members)  # refuses a model that is unknown or does not fit, before the folder is claimed
        store.write_sealed(folder / SPEC, wanted)
        return None
    present = {"rounds": 1} | _identity_of(folder)  # before there were rounds nothing was said of them
    grows = extend and present.get("members", 0) < ensemble.members and not ensemble.folds
    differing = [k for k in wanted if present.get(k) != wanted[k] and not (k == "members" and grows)]
    if differing:
        raise InputError(
            f"`out` {folder} holds a run with other settings: {_difference(present, wanted, differing)}. Choose another folder."
        )
    if grows:
        return None  # the finished run stays one until the new members are there
    try:
        sound = (folder / MANIFEST).exists() and not store.faults(folder, MANIFEST)
    except StoreError:  # the manifest itself is damaged: it follows from the rest and is written anew
        sound = False
    return open_run(folder) if sound else None


def _identity_of(folder: Path) -> dict[str, Any]:
    """Read what a run is; where that file is damaged, from the manifest, which says it too.

    Raises:
        StoreError: neither can be believed.
    """
    try:
        return store.read_sealed(folder / SPEC)
    except StoreError as error:
        try:
            return dict(store.read_manifest(folder, MANIFEST, dict)["spec"])
        except (DatapruneError, KeyError, TypeError):
            raise StoreError(f"{str(error).rstrip('.')}. Choose another folder, or remove this one.") from error


def _refuse_others(folder: Path) -> None:
    others = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if others and not any((folder / name).exists() for name in (SPEC, MANIFEST)):
        raise InputError(
            f"`out` must be a new folder or a run, got {folder}, which holds {join_some(others, most=3)}. Choose another."
        )


def _difference(present: dict[str, Any], wanted: dict[str, Any], keys: list[str]) -> str:
    parts = []
    for key in keys:
        old, new = present.get(key), wanted[key]
        if isinstance(new, dict) and isinstance(old, dict):
            parts += [f"{key}.{k} {old.get(k)!r} there, {new[k]!r} asked" for k in new if old.get(k) != new[k]]
        else:
            most = 12 if key == "data" else 80  # of a fingerprint the beginning tells enough
            parts.append(f"{key} {str(old)[:most]} there, {str(new)[:most]} asked")
    return "; ".join(parts)


def _write_local(folder: Path, dataset: Dataset) -> None:
    """Note where the source lies, apart from everything that is hashed or shown."""
    origin = dataset.origin
    source = None if origin is None or not origin.path else origin.path
    write_local(folder, source=source)


def member_file(member: int) -> str:
    """Return the path of a member's trace inside a run."""
    return f"trace/member-{member:03d}.safetensors"


def _train(folder: Path, planned: Plan, device: str, hardware: Hardware, listener: Listener | None) -> list[MemberRecord]:
    """Train the members that are not yet published whole, publish each as it comes, and give a record of all."""
    dataset, ensemble = planned.dataset, planned.ensemble
    scratch = folder / SCRATCH
    scratch.mkdir(exist_ok=True)
    (folder / "trace").mkdir(exist_ok=True)
    records = {m: r for m in range(ensemble.members) if (r := _published(folder, m)) is not None}
    for record in records.values():
        if record.file is not None:
            _same_making(record, device)
    missing = [m for m in range(ensemble.members) if m not in records]
    if not missing:
        return [records[m] for m in range(ensemble.members)]
    executor_config = hardware.executor_config(device)
    if listener is not None:
        at_once = 1 if executor_config.executor == "serial" else min(hardware.workers or default_workers(), len(missing))
        listener(Progress(0, len(missing) * ensemble.epochs, price=planned.timed_cost(len(missing), _here(device), at_once)))
    progress = dict.fromkeys(missing, 0)

    def heard(epoch: EpochDone) -> None:
        progress[epoch.member] = epoch.epoch
        if listener is not None:
            listener(Progress(sum(progress.values()), len(missing) * ensemble.epochs, epoch=epoch))

    for number in range(ensemble.rounds):
        asked = [m for m in missing if m // ensemble.round_size == number]
        if asked:
            excluded = _left_out(folder, dataset, ensemble, records, number)
            outcomes = train_members(
                dataset,
                ensemble,
                asked,
                scratch,
                device=device,
                executor_config=executor_config,
                excluded=excluded,
                on_message=heard,
            )
            records |= _published_of(folder, outcomes, device)
    return [records[m] for m in range(ensemble.members)]


def _published_of(folder: Path, outcomes: Iterable[Outcome], device: str) -> dict[int, MemberRecord]:
    """Publish members as they come; give the record of each."""
    records, lost = {}, []
    for outcome in outcomes:
        member = int(outcome.key.split()[1])
        if outcome.error is None:
            records[member] = _publish_member(folder, outcome.value, device)
        elif outcome.lost:
            lost.append(f"{outcome.key}: {outcome.error}")
        elif isinstance(outcome.exception, MachineError | OSError | MemoryError):
            raise outcome.exception  # the machine's fault, not the member's: the same command goes on once it is mended
        else:
            records[member] = _record_failure(folder, member, outcome)
    if lost:
        raise WorkError(f"{'; '.join(lost)}. What was finished is kept: the same command goes on.")
    return records


def _left_out(
    folder: Path, dataset: Dataset, ensemble: Ensemble, records: dict[int, MemberRecord], number: int
) -> Bool[np.ndarray, " examples"] | None:
    """Return which examples a round is not trained on, by the members of the rounds before it."""
    used = [m for m in range(number * ensemble.round_size) if records[m].status == "ok"]
    if not used:
        return None
    assert dataset.labels is not None, "checked by `plan`"
    trace = Trace([open_member(folder / member_file(m)) for m in used], dataset.labels, dataset.ids)
    # Counted by what it is judged by: the lower count of the two, and fewer are left out. The figures of docs/log.md are of this.
    evidence = replace(evidence_of_rounds(trace, used, ensemble.round_size, dataset.classes), count_from=None)
    return excluded(noise.find(evidence, seed=ensemble.seed))


def _here(device: str) -> str:
    """Return the device if this machine has it (members may have been trained on others), else the CPU."""
    from dataprune.training.inputs import open_device

    try:
        return str(open_device(device))
    except MachineError:
        return "cpu"


def _note(folder: Path, member: int) -> Path:
    return folder / "trace" / f"member-{member:03d}.json"


def _record_failure(folder: Path, member: int, outcome: Outcome) -> MemberRecord:
    """Note a member that raised, so that it is not repeated; the traceback lies apart, it names paths of this machine."""
    record = MemberRecord(member, "failed", str(outcome.error))
    store.write_sealed(_note(folder, member), asdict(record))
    with store.writing(_note(folder, member).with_suffix(".traceback.txt")) as temporary:
        temporary.write_text(outcome.traceback or "", encoding="utf-8", errors="backslashreplace")
    return record


def _same_making(record: MemberRecord, device: str) -> None:
    """Refuse to go on with members that other versions or another kind of device made: their bits would not fit ours."""
    now = training_environment(device)
    differing = [f"{k} {v} there, {now.get(k)} here" for k, v in record.made_with.items() if now.get(k) != v]
    if differing:
        cure = "Go on with the same versions and device, or choose another folder"
        raise InputError(f"`out` holds members made otherwise: {'; '.join(differing)}. {cure}.")


def _published(folder: Path, member: int) -> MemberRecord | None:
    """Return the record of a member whose trace lies there whole (or still in scratch, after a kill between note and rename)."""
    try:
        note = store.as_record(store.read_sealed(_note(folder, member)), MemberRecord, _note(folder, member))
        if note.member != member or (note.status != "failed" and note.file != member_file(member)):
            return None  # a name from a stored file is no path of ours unless it is the one we would write
        if note.status == "failed":
            return note
        path, waiting = folder / member_file(member), folder / SCRATCH / f"member-{member:03d}" / "trace.safetensors"
        if not path.exists() and waiting.exists() and store.sha256(waiting) == note.sha256:
            waiting.replace(path)
        return note if store.sha256(path) == note.sha256 else None
    except (StoreError, OSError):
        return None


def _publish_member(folder: Path, done: MemberDone, device: str) -> MemberRecord:
    record = MemberRecord(
        done.member,
        done.status,  # type: ignore[arg-type]
        REASONS[done.status],
        member_file(done.member),
        store.sha256(done.path),
        training_environment(device),
        round(done.accuracy, 6),
        round(done.seconds, 3),
        done.examples_seen,
        done.peak_bytes,
    )
    store.write_sealed(_note(folder, done.member), asdict(record))
    done.path.replace(folder / member_file(done.member))
    shutil.rmtree(done.path.parent, ignore_errors=True)
    return record


def _score(folder: Path, dataset: Dataset, ensemble: Ensemble, device: str, members: list[MemberRecord]) -> Scores:
    """Compute every score from the members that learned, and write the table."""
    used = [member for member in members if member.status == "ok"]
    if not used:
        reasons = "; ".join(sorted({member.reason for member in members}))
        failed = all(member.status == "failed" for member in members)
        cure = "Mend the cause" if failed else "Try more --epochs, another --model or --recipe, or look at the labels"
        raise WorkError(f"no member can be scored: {reasons.rstrip('.')}. {cure}, and choose a new folder.")
    assert dataset.labels is not None, "checked by `plan`"
    opened = [open_member(folder / str(member.file)) for member in used]
    scores = score_trace(Trace(opened, dataset.labels, dataset.ids), ids=dataset.ids)
    present, absent = list(scores.values()), dict(scores.absent)
    try:
        features = penultimate(dataset, opened[0].arrays, ensemble.model, ensemble.recipe.normalise, ensemble.n_classes, device)
        distance = median_distance(features, dataset.labels)
        present.append(Score("median_distance", distance, 1, dataset.ids, dataset.labels))
    except InputError as reason:
        absent["median_distance"] = str(reason)
    scores = Scores(present, absent)
    (folder / MANIFEST).unlink(missing_ok=True)
    store.write_sealed(folder / SPEC, identity(dataset, ensemble).plain)  # with more members, where the run was extended
    write_scores(folder / SCORES_FILE, scores, dataset)
    return scores


def _doubts(manifest: RunManifest) -> list[str]:
    """Return what speaks against the scores."""
    if not manifest.memorised:
        return []
    share = min(member.accuracy for member in manifest.learned)
    return [
        f"the members have memorised {share:.1%} of the labels they were trained on, so el2n and the other scores of the last epoch "
        "tell little apart; aum, confidence and forget look at all epochs, or train with fewer --epochs"
    ]


def _small_classes(dataset: Dataset, ensemble: Ensemble) -> list[str]:
    counts = np.bincount(dataset.labels, minlength=dataset.n_classes)  # type: ignore[arg-type]
    small = [repr(dataset.classes[index]) for index in np.flatnonzero((counts > 0) & (counts < ensemble.folds))]
    return [f"fewer examples than the {ensemble.folds} folds in class {join_some(small)}"] if small else []


def write_scores(path: Path, scores: Scores, dataset: Dataset | Run) -> None:
    """Write one row for each example in source order: id, label, then a column for each score with its sign as metadata."""
    columns: dict[str, Any] = {"id": dataset.ids, "label": dataset.labels}
    metadata: dict[str, dict[str, object]] = {}
    for name, one in scores.items():
        columns[name] = one.values
        metadata[name] = {"harder": one.harder}
        formula = SCORES[name].formula if name in SCORES else FEATURE_SCORES.get(name)
        if formula is not None:
            metadata[name]["formula"] = formula
    with store.writing(path) as temporary:
        write_table(temporary, columns, metadata)


def _publish(
    folder: Path,
    planned: Plan,
    device: str,
    members: list[MemberRecord],
    scores: Scores,
    seconds: tuple[float, float],
) -> None:
    """Write the manifest: from here on the run is finished."""
    dataset, ensemble = planned.dataset, planned.ensemble
    counts = np.bincount(dataset.labels, minlength=dataset.n_classes)  # type: ignore[arg-type]
    trained = [member for member in members if member.file is not None]
    manifest = RunManifest(
        spec=identity(dataset, ensemble),
        data=RunData(
            n_examples=len(dataset),
            classes=dataset.classes,
            class_counts=tuple(counts.tolist()),
            shape=tuple(dataset.inputs.shape[1:]),
            kind="images" if dataset.images is not None else "features",
        ),
        members=tuple(members),
        scores={name: {"harder": one.harder} for name, one in scores.items()},
        absent_scores=dict(scores.absent),
        read={k: v for k, v in dataset.origin.options.items() if k != "labels"} if dataset.origin else {},
        skipped=dataset.skipped,
        notes=tuple(dataset.notes),
        cost=(
            Phase(
                "train",
                round(seconds[0], 3),
                sum(member.examples_seen for member in members),
                int(planned.cost(len(trained)).flops),
                round(sum(member.seconds for member in members), 3),
            ),
            Phase("score", round(seconds[1], 3), len(dataset), planned.forward_flops),
        ),
        machine=MachineRecord(platform.machine(), device, device == "cpu"),
        versions={name: version(name) for name in ("dataprune", "torch", "numpy")} | {"python": platform.python_version()},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    manifest = replace(manifest, notes=(*manifest.notes, *_doubts(manifest), *_small_classes(dataset, ensemble)))
    notes = [_note(folder, member.member).relative_to(folder).as_posix() for member in members]
    files = [SPEC, SCORES_FILE, *(str(member.file) for member in trained), *notes]
    store.write_manifest(folder, MANIFEST, manifest.plain, files)
