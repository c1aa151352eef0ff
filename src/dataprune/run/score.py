"""Data → train → trace → scores → manifest: makes a run, finds a finished one, goes on with an interrupted one."""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from dataprune import noise, store
from dataprune.data import pack
from dataprune.encoders import Encoding, encode
from dataprune.errors import InputError, MachineError, StoreError, WorkError
from dataprune.notebook import bar
from dataprune.precision import Choice
from dataprune.run.evidence import evidence_of_rounds, excluded
from dataprune.run.manifest import MemberRecord, Phase, RunManifest, RunSpec, member_file
from dataprune.run.run import MANIFEST, SCORES_FILE, SPEC, Run, open_run, work_folder, write_local, write_scores
from dataprune.scores import Score, Scores, median_distance, score_trace
from dataprune.trace import Trace, open_member
from dataprune.training.checkpoint import training_environment
from dataprune.training.ensemble import Ensemble, EpochDone, MemberDone, train_members
from dataprune.training.plan import VECTOR_RECIPES, Plan, check_names, plan
from dataprune.training.settings import Cost, Hardware, Settings
from dataprune.workers import Outcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """What a listener hears: cost and precision once before training, then each epoch of a member, and how many are done of all;
    `worked` is how many that are by their work, since some are on smaller pictures."""

    ensemble: Ensemble
    done: int
    total: int
    cost: Cost | None = None
    epoch: EpochDone | None = None
    chosen: Choice | None = None
    worked: float | None = None


Listener = Callable[[Progress], None]


def score(
    source: Any,
    out: str | Path,
    settings: Settings | None = None,
    hardware: Hardware | None = None,
    *,
    encoder: str = "auto",
    extend: bool = False,
    wait: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Train an ensemble on the data and score every example.

    The same call on the same folder goes on where it was interrupted, with results equal to the bit, or returns at once.

    Args:
        source: a `Dataset`, or whatever `read` takes; with labels, at least two classes.
        out: the folder of the run, made if need be.
        settings: what to train; everything in it is the run's identity.
        hardware: where to train; none of it changes a result on a CPU.
        encoder: the frozen network that turns pictures into vectors first, as for `encode`; auto is none where a model or a
            recipe for pixels is asked for.
        extend: add members to a finished run, up to `settings.members` or `settings.repeats` of the folds.
        wait: if another process works on the folder, wait for it.
        listener: hears the cost and the progress; in a notebook a bar does by default.
    Raises:   InputError: the data cannot be scored, or `out` holds another run or other things.
              MachineError: no room, no permission, no such device.
              WorkError: no member learned anything.
    """
    settings, hardware = settings or Settings(), hardware or Hardware()
    check_names(settings.model, settings.recipe)
    from dataprune.training.models import begins_from

    work = work_folder(out)
    work.check()
    how = Encoding(hardware.resolved_device(), hardware.workers)
    dataset = encode(source, eyes_for(encoder, settings.model, settings.recipe), how)
    begun = work.begun()
    first = None if begun is None else begun.get("precision", "fp32")  # runs of before there was a choice do not say it
    # Refuses a model that is unknown or does not fit, before the folder is claimed.
    planned, chosen = plan(dataset, settings).computed(settings.precision, how.device, first)
    ensemble = planned.ensemble
    asked = {one.name: getattr(ensemble, one.name) for one in fields(ensemble)} | {"recipe": replace(ensemble.recipe, epochs=None)}
    asked["weights"] = begins_from(ensemble.model)
    spec = RunSpec(data=dataset.fingerprint, n_examples=len(dataset), encoder=dataset.encoder, **asked)
    fixed = ensemble.rounds > 1 or ensemble.threshold_samples  # later rounds and threshold samples come after the members
    grows = ("members", "repeats") if extend and not fixed else ()
    identity = {name: value for name, value in spec.plain.items() if name != "precision" or begun is None or name in begun}
    with work.work(identity, wait=wait, grows=grows) as finished:
        origin = dataset.origin
        write_local(work.output, source=None if origin is None or not origin.path else origin.path)
        if not finished:
            pack.verify(dataset)
            _Scoring(work, planned, chosen, spec, hardware, how.device, listener or bar()).make()
    run = open_run(work.output)
    if listener is None:  # who listens says it in words of their own
        for line in run.failed:
            _log.warning("%s", line)
    return run


def eyes_for(encoder: str, model: str | None, recipe: str | None) -> str:
    """Return the encoder that is meant: `auto` is `scratch` where a model, or a recipe, for pixels is asked for."""
    from dataprune.training.models import VECTOR_MODELS

    of_pixels = (model is not None and model not in VECTOR_MODELS) or recipe not in (None, *VECTOR_RECIPES)
    return "scratch" if encoder == "auto" and of_pixels else encoder


@dataclass(frozen=True)
class _Scoring:
    """One call of `score` that has something to do."""

    work: store.WorkFolder
    planned: Plan
    chosen: Choice
    spec: RunSpec
    hardware: Hardware
    device: str
    listener: Listener | None

    def make(self) -> None:
        """Train what is missing, score, and write the manifest: from there on the run is finished."""
        begun = time.perf_counter()
        (self.work.output / "trace").mkdir(exist_ok=True)
        members = self._train()
        trained = time.perf_counter()
        scores, looked_at = self._score(members)
        self._finish(members, scores, looked_at, (trained - begun, time.perf_counter() - trained))

    def _train(self) -> list[MemberRecord]:
        """Train the members that are not yet published whole, publish each as it comes, and return the records of all."""
        dataset, ensemble, scratch = self.planned.dataset, self.planned.ensemble, self.work.scratch
        config, records = self.hardware.executor_config(self.device), dict[int, MemberRecord]()
        for member in range(ensemble.n_networks):
            if (record := published(self.work.output, scratch, member)) is not None:
                records[member] = record
                if record.file is not None:
                    check_environment(record, self.device)
        missing = [member for member in range(ensemble.n_networks) if member not in records]
        total, done = len(missing) * ensemble.passes, dict.fromkeys(missing, 0)
        if missing and self.listener is not None:
            gain = self.hardware.gain(self.device, len(missing))
            cost = self.planned.timed_cost(len(missing), self._own_device, gain)
            self.listener(Progress(ensemble, 0, total, cost=cost, chosen=self.chosen))

        def heard(epoch: EpochDone) -> None:
            done[epoch.member] = epoch.epoch
            if self.listener is not None:
                worked = sum(map(self.planned.work, done.values())) / self.planned.work(ensemble.passes) * ensemble.passes
                self.listener(Progress(ensemble, sum(done.values()), total, epoch=epoch, worked=worked))

        for number in range(ensemble.rounds):
            asked = [one for one in missing if min(one // ensemble.round_size, ensemble.rounds - 1) == number]
            if asked:
                left = self._excluded(records, number)
                outcomes = train_members(
                    dataset, ensemble, asked, scratch, device=self.device, executor_config=config, excluded=left, on_message=heard
                )
                records |= publish(self.work.output, outcomes, self.device)
        return [records[member] for member in range(ensemble.n_networks)]

    def _excluded(self, records: Mapping[int, MemberRecord], number: int) -> Bool[np.ndarray, " examples"] | None:
        """Return which examples a round is not trained on, by the members of the rounds before it."""
        round_size, labels = self.planned.ensemble.round_size, self.planned.dataset.labels
        used = [member for member in range(number * round_size) if records[member].status == "ok"]
        if not used:
            return None
        assert labels is not None
        trace = Trace([open_member(self.work.output / member_file(member)) for member in used], labels, self.planned.dataset.ids)
        evidence = evidence_of_rounds(trace, used, round_size, self.planned.dataset.classes)
        # Counted by what it is judged by: the lower count of the two, and fewer are left out; docs/log.md has figures of this.
        return excluded(noise.find(replace(evidence, count_from=None), seed=self.spec.seed))

    @property
    def _own_device(self) -> str:
        """The device if this machine has it (members may be trained on others), else the CPU."""
        from dataprune.training.inputs import open_device

        with suppress(MachineError):
            return str(open_device(self.device))
        return "cpu"

    def _score(self, members: list[MemberRecord]) -> tuple[Scores, bool]:
        """Compute every score from the members that learned, and write the table; return whether a network looked at all once
        more."""
        used = [one for one in members if one.status == "ok" and not self.planned.ensemble.is_threshold(one.member)]
        if not used:
            reasons = "; ".join(sorted({member.reason for member in members}))
            cure = "Mend the cause or train otherwise (--epochs, --model, --recipe), and choose a new folder."
            raise WorkError(f"no member can be scored: {reasons.rstrip('.')}. {cure}")
        dataset, ensemble = self.planned.dataset, self.planned.ensemble
        assert dataset.labels is not None, "checked by `plan`"
        opened = [open_member(self.work.output / str(member.file)) for member in used]
        scores = score_trace(Trace(opened, dataset.labels, dataset.ids), ids=dataset.ids)
        present, absent = list(scores.values()), dict(scores.absent)
        distance = opened[0].arrays.get("median_distance")
        looked_at = distance is None
        try:
            if distance is None:  # the first member, which keeps it, learned nothing, or there was no room
                from dataprune.training.features import Built, penultimate

                built = Built(ensemble.model, ensemble.recipe.normalise, ensemble.n_classes, self._own_device)
                distance = median_distance(penultimate(dataset, opened[0].arrays, built), dataset.labels)
            present.append(Score("median_distance", np.asarray(distance), 1, dataset.ids, dataset.labels))
        except InputError as reason:
            absent["median_distance"] = str(reason)
        scores = Scores(present, absent)
        self.work.renew(self.spec.plain)  # with more members, where the run was extended
        write_scores(self.work.output / SCORES_FILE, scores, dataset.classes)
        return scores, looked_at

    def _finish(self, members: list[MemberRecord], scores: Scores, looked_at: bool, seconds: tuple[float, float]) -> None:
        dataset, trained = self.planned.dataset, [member for member in members if member.file is not None]
        n_seen, spent = sum(member.examples_seen for member in members), sum(member.seconds for member in members)
        training = Phase("train", round(seconds[0], 3), n_seen, int(self.planned.cost(len(trained)).flops), round(spent, 3))
        again = (len(dataset), self.planned.forward_flops) if looked_at else (0, 0)
        cost = (training, Phase("score", round(seconds[1], 3), *again))
        manifest = RunManifest.of(self.spec, dataset, members, scores, cost, self.device)
        files = [SPEC, SCORES_FILE, *(str(member.file) for member in trained), *(note_file(member.member) for member in members)]
        store.write_manifest(self.work.output, MANIFEST, manifest.plain, files)


REASONS = {
    "ok": "",
    "at chance": "it does no better than always naming the largest class, at a tenth of the learning rate too; its answers feed no "
    "score",
    "diverged": "its loss grew far beyond that of naming no class, at a tenth of the learning rate too; its answers feed no score",
}


def note_file(member: int) -> str:
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
    """Publish members as they come; return the record of each. Members lost with their workers are a WorkError; the others are
    kept."""
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
        raise InputError(f"`out` holds members of other versions or another device: {'; '.join(differing)}. Choose another folder.")
