"""The members of a run on disk: a trace each, and a sealed note that says what came of it."""

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from dataprune import store
from dataprune.errors import InputError, MachineError, StoreError, WorkError
from dataprune.run.manifest import MemberRecord
from dataprune.training.checkpoint import training_environment
from dataprune.training.ensemble import MemberDone
from dataprune.workers import Outcome

REASONS = {
    "ok": "",
    "at chance": "it does no better than always naming the largest class, at a tenth of the learning rate too; its answers feed no "
    "score",
    "diverged": "its loss grew far beyond that of naming no class, at a tenth of the learning rate too; its answers feed no score",
}


def member_file(member: int) -> str:
    """Return the path of a member's trace inside a run."""
    return f"trace/member-{member:03d}.safetensors"


def note_file(member: int) -> str:
    """Return the path of a member's note inside a run."""
    return f"trace/member-{member:03d}.json"


def published(folder: Path, scratch: Path, member: int) -> MemberRecord | None:
    """Return the record of a member whose trace lies there whole (or still in scratch, after a kill between note and rename)."""
    try:
        note = store.as_record(store.read_sealed(folder / note_file(member)), MemberRecord, folder / note_file(member))
        # A name from a stored file is no path of ours unless it is the one that we would write.
        if note.member != member or note.file != (None if note.status == "failed" else member_file(member)):
            return None
        if note.file is None:
            return note
        path, waiting = folder / note.file, scratch / f"member-{member:03d}" / "trace.safetensors"
        if not path.exists() and waiting.exists() and store.sha256(waiting) == note.sha256:
            waiting.replace(path)
        return note if store.sha256(path) == note.sha256 else None
    except (StoreError, OSError):
        return None


def publish(folder: Path, outcomes: Iterable[Outcome], device: str) -> dict[int, MemberRecord]:
    """Publish members as they come; return the record of each.

    Raises:
        WorkError: members were lost with their workers; the others are kept.
    """
    records, lost = {}, []
    for outcome in outcomes:
        member = int(outcome.key.split()[1])
        note = folder / note_file(member)
        if outcome.error is None:
            done: MemberDone = outcome.value
            what = (REASONS[done.status], member_file(member), store.sha256(done.path), training_environment(device))
            cost = (round(done.accuracy, 6), round(done.seconds, 3), done.examples_seen, done.peak_bytes, done.strength, done.rate)
            records[member] = MemberRecord(member, done.status, *what, *cost)  # type: ignore[arg-type]
            store.write_sealed(note, asdict(records[member]))
            done.path.replace(folder / member_file(member))
            shutil.rmtree(done.path.parent, ignore_errors=True)
        elif outcome.lost:
            lost.append(f"{outcome.key}: {outcome.error}")
        elif isinstance(outcome.exception, MachineError | OSError | MemoryError):
            raise outcome.exception  # not because of the member: the same command goes on once there is room again
        else:  # noted, so that it is not repeated; the traceback lies apart, it names paths of this machine
            records[member] = MemberRecord(member, "failed", str(outcome.error))
            store.write_sealed(note, asdict(records[member]))
            with store.writing(note.with_suffix(".traceback.txt")) as temporary:
                temporary.write_text(outcome.traceback or "", encoding="utf-8", errors="backslashreplace")
    if lost:
        raise WorkError(f"{'; '.join(lost)}. What was finished is kept: the same command goes on.")
    return records


def check_environment(record: MemberRecord, device: str) -> None:
    """Refuse to go on with members that other versions or another kind of device made: their bits would not fit ours."""
    now = training_environment(device)
    differing = [f"{name} {was} there, {now.get(name)} here" for name, was in record.made_with.items() if now.get(name) != was]
    if differing:
        cure = "Go on with the same versions and device, or choose another folder"
        raise InputError(f"`out` holds members made otherwise: {'; '.join(differing)}. {cure}.")
