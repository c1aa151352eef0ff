"""The members of an ensemble: trained serially or in parallel, each into one trace file; what was interrupted is taken up."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from dataprune.data import Dataset
from dataprune.data.handle import DataHandle, data_handle, open_shared
from dataprune.errors import InputError, WorkError, invalid
from dataprune.precision import Precision
from dataprune.scores import median_distance
from dataprune.store import array_digest, writing
from dataprune.streams import generator, torch_seed
from dataprune.trace import Recorder, save_member
from dataprune.trace.record import FULL_VALUES
from dataprune.training.checkpoint import CHECKPOINT_SECONDS, Checkpoints, is_seen, peak_bytes, training_on
from dataprune.training.recipes import TREES, Recipe
from dataprune.training.trees import grown, staged_logits
from dataprune.workers import ExecutorConfig, Job, Outcome, Report, open_pool

if TYPE_CHECKING:
    from torch import Tensor

    from dataprune.training.fit import Fit

MOST_MEMBERS = 10_000  # more is a slip of the finger
# On what it was trained on, a member must beat "always the largest class" by so many standard errors (of a tiny set, where no
# number of right answers would do, by half of what is missing).
CHANCE_SIGMAS = 3.0
RATES = (1.0, 0.1)  # times the recipe's learning rate: the second is tried where nothing was learned at the first
N_THRESHOLD = 2  # networks with threshold samples: between them every example is judged
SCORES_FEATURES = 0  # the member of whose features `median_distance` is
KEPT_EPOCHS = 10  # at most, evenly spaced, whose weights are kept for vog
DIVERGED_LOSSES = 2.0  # times the loss of giving every class the same probability


@dataclass(frozen=True)
class Ensemble:
    """What defines an ensemble beside the data, as `Settings` has it; a member is a pure function of this, its number and the data.
    With folds there are folds × repeats × rounds members, and member `r·folds + f` of a round never sees fold f of repeat r. With
    threshold samples N_THRESHOLD networks come after the members, which feed no score."""

    model: str
    recipe: Recipe
    members: int
    epochs: int
    n_classes: int
    folds: int = 0
    repeats: int = 1
    rounds: int = 1
    when: Literal["clean", "online"] = "clean"
    seed: int = 0
    threshold_samples: bool = False
    precision: Precision = "fp32"
    record: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.members > MOST_MEMBERS:
            raise invalid("members", f"be at most {MOST_MEMBERS:,}", self.members)
        for name in ("repeats", "rounds"):
            if getattr(self, name) > 1 and not self.folds:
                raise invalid(name, "be 1 without folds", getattr(self, name), f"Give --folds too: {name} are of the folds.")
        expected = self.folds * self.repeats * self.rounds
        if self.folds and self.members != expected:
            raise invalid("members", f"be folds × repeats × rounds = {expected}", self.members, "Leave it out.")
        if self.folds and self.threshold_samples:
            raise invalid("threshold_samples", "go with --folds 0: folds count wrong labels better", f"{self.folds} folds")
        if "second_split" in self.record and not self.folds:
            raise invalid("record", "go with folds for second_split", "--folds 0", "The second split is what a member left out.")
        if self.record and (self.model == TREES.name or (self.model == "linear" and "vog" in self.record)):
            raise invalid("record", "go with a network of several layers", f"{', '.join(self.record)} for {self.model}")

    @property
    def round_size(self) -> int:
        """Members of a round; those of the first come first."""
        return self.members // self.rounds

    @property
    def passes(self) -> int:
        """The epochs that a network takes in all, those of a second training too."""
        return self.epochs * (1 + ("second_split" in self.record))

    @property
    def n_networks(self) -> int:
        return self.members + N_THRESHOLD * self.threshold_samples

    def is_threshold(self, member: int) -> bool:
        return member >= self.members

    def sees_mirrored(self, n_examples: int, have_mirrored: bool) -> bool:
        """Return whether members look at the mirror images too, at the end: the data have such, members learned from them, and
        their answers are kept whole."""
        return have_mirrored and self.recipe.flip and self.when == "clean" and n_examples * self.n_classes <= FULL_VALUES


def assign_folds(labels: Int64[np.ndarray, " examples"], folds: int, seed: int, repeat: int) -> Int64[np.ndarray, " examples"]:
    """Deal the examples of each class in random order onto the folds, so that every fold has its share of every class. A class goes
    on where the last one stopped: fold sizes differ by at most one, and small classes do not all start in fold 0."""
    if folds > len(labels):
        raise invalid("folds", f"be at most the number of examples ({len(labels)})", folds)
    shuffled = generator(seed, "folds", repeat).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[by_class] = np.arange(len(labels)) % folds
    return fold


def training_mask(ensemble: Ensemble, labels: Int64[np.ndarray, " examples"], member: int) -> Bool[np.ndarray, " examples"]:
    """Return which examples a member is trained on by the folds; in a later round suspects are left out of them."""
    if not ensemble.folds:
        return np.ones(len(labels), bool)
    repeat, held_out = divmod(member % ensemble.round_size, ensemble.folds)
    return np.asarray(assign_folds(labels, ensemble.folds, ensemble.seed, repeat) != held_out)


def threshold_mask(n_examples: int, n_classes: int, seed: int, number: int) -> Bool[np.ndarray, " examples"]:
    """Return the threshold samples of a network of these: N / (K + 1) examples at random that it learns as an extra class, as if
    they were wrongly labelled. Those of the N_THRESHOLD networks are disjoint.

    Source: Pleiss et al. 2020, arXiv:2001.10528, section 4.2.
    """
    size, order = max(1, n_examples // (n_classes + 1)), generator(seed, "threshold").permutation(n_examples)
    return np.isin(np.arange(n_examples), order[number * size : (number + 1) * size])


@dataclass(frozen=True)
class MemberJob:
    """All that a worker needs to train one member. `excluded` is never trained on. The scratch folder is the member's own; None
    where the worker does not see the run's."""

    ensemble: Ensemble
    member: int
    shared: DataHandle
    data_key: str
    scratch: Path | None
    device: str
    excluded: Bool[np.ndarray, " examples"] | None = None

    def checkpoints(self, folder: Path, rate: float) -> Checkpoints:
        """Return those of this very member, at so much of the learning rate: it does not depend on how many others there are."""
        spec = {name: value for name, value in asdict(self.ensemble).items() if name not in ("members", "repeats", "rounds")}
        spec |= {} if spec.pop("record") == () else {"record": self.ensemble.record}
        excluded = "" if self.excluded is None else array_digest(self.excluded)
        return Checkpoints.of(folder, self.device, spec=spec, member=self.member, data=self.data_key, excluded=excluded, rate=rate)


@dataclass(frozen=True)
class EpochDone:
    """The progress message of a member after each epoch."""

    member: int
    epoch: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class MemberDone:
    """A finished member: its trace file, its accuracy on what it was trained on, what it took in all, and at how much of the
    recipe's learning rate. `strength` is that of the regularisation, where the recipe has it chosen; `content` is that of the file,
    where the driver does not see it."""

    member: int
    path: Path
    status: str
    accuracy: float
    examples_seen: int
    seconds: float
    peak_bytes: int
    strength: float | None = None
    content: bytes | None = None
    rate: float = 1.0


def train_members(
    dataset: Dataset,
    ensemble: Ensemble,
    members: Sequence[int],
    scratch: Path,
    *,
    device: str = "cpu",
    executor_config: ExecutorConfig = ExecutorConfig(),  # noqa: B008 frozen
    excluded: Bool[np.ndarray, " examples"] | None = None,
    on_message: Callable[[EpochDone], None] = lambda message: None,
) -> Iterator[Outcome]:
    """Train the members asked for; outcomes (value: `MemberDone`) come as they finish. A member that was interrupted goes on from
    its checkpoint in `scratch`, except on machines that do not see it: there it starts anew. None is trained on what is
    `excluded`."""
    with open_pool(executor_config) as workers:
        shared, seen = data_handle(dataset, scratch, workers), is_seen(scratch, workers)
        folders = {member: scratch / f"member-{member:03d}" for member in members}
        of_member = partial(MemberJob, ensemble, shared=shared, data_key=dataset.fingerprint, device=device, excluded=excluded)
        jobs = [Job(f"member {n}", train_member, of_member(n, scratch=folder if seen else None)) for n, folder in folders.items()]
        for outcome in workers.run(jobs, lambda _, message: on_message(message)):
            if outcome.error is None and not seen:
                outcome = replace(outcome, value=_fetched(outcome.value, folders[outcome.value.member]))
            yield outcome


def _fetched(done: MemberDone, folder: Path) -> MemberDone:
    """Write down a trace that came along."""
    assert done.content is not None
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder / done.path.name, len(done.content)) as temporary:
        temporary.write_bytes(done.content)
    return replace(done, path=folder / done.path.name, content=None)


def train_member(job: MemberJob, report: Report) -> MemberDone:
    """Train one member from its last checkpoint on and write its trace beside it."""
    with training_on(job.device, f"member {job.member}", job.scratch) as folder:
        done = _train_member(job, folder, report)
        return replace(done, content=done.path.read_bytes()) if job.scratch is None else done


def _train_member(job: MemberJob, folder: Path, report: Report) -> MemberDone:
    from dataprune.training.fit import weights_of

    ensemble = job.ensemble
    task = _task(job)
    if ensemble.model == TREES.name:
        return _grown(job, task, folder, report)
    n_seen, seconds, status = 0, 0.0, ""
    for rate in RATES:
        try:
            fit, recorder, features, spent = _trained(job, task, rate, folder, report)
        except WorkError:  # the loss is no number
            if rate == RATES[-1] and not status:
                raise
            continue
        n_seen, seconds, taken = n_seen + int(task.trained_on.sum()) * ensemble.epochs, seconds + spent, rate
        accuracy, loss = recorder.accuracy(ensemble.epochs - 1), recorder.loss(ensemble.epochs - 1)
        status = _status(accuracy, loss, task.labels)
        if status == "ok":
            break
    begun, mirrored = time.perf_counter(), None
    if ensemble.sees_mirrored(len(task.labels), fit.inputs.have_mirrored) and not ensemble.is_threshold(job.member):
        looks = fit.predict(mirrored=True)
        mirrored = np.concatenate([logits.float().softmax(dim=1).cpu().numpy().astype(np.float16) for _, logits, _ in looks])
    member, path = recorder.finish(weights_of(fit.model), status, mirrored), folder / "trace.safetensors"
    arrays = dict(member.arrays) | fit.kept
    if features is not None:
        with suppress(InputError):  # features that are no numbers: said where the scores are made
            arrays["median_distance"] = median_distance(features, task.labels)
    if "second_split" in ensemble.record:
        arrays["second_split"], n_more = _second_split(job, task, fit, report)
        n_seen, seconds = n_seen + n_more, seconds + time.perf_counter() - begun
    save_member(path, replace(member, arrays=arrays))
    return MemberDone(job.member, path, status, accuracy, n_seen, seconds, peak_bytes(), fit.strength, rate=taken)


def _second_split(job: MemberJob, task: "_Task", fit: "Fit", report: Report) -> tuple[Int32[np.ndarray, " examples"], int]:
    """Train the network on what it has not seen; return from which epoch on it never names a label again, and how many it saw."""
    from dataprune.training.fit import Fit

    rest = ~task.trained_on if job.excluded is None else ~task.trained_on & ~job.excluded
    before = time.perf_counter()
    again = replace(fit.training, seed=torch_seed(fit.training.seed, "second split"))
    second, last_right = Fit(again, fit.inputs, task.labels, rest), np.zeros(len(task.labels), np.int32)
    second.model.load_state_dict(fit.model.state_dict())
    for epoch in range(1, again.epochs + 1):
        second.train_epoch()
        right, now = second.named() == task.labels, time.perf_counter()
        last_right[right] = epoch
        report(EpochDone(job.member, again.epochs + epoch, second.loss, float(right[rest].mean()), now - before))
        before = now
    return last_right + 1, int(rest.sum()) * again.epochs


def _grown(job: MemberJob, task: "_Task", folder: Path, report: Report) -> MemberDone:
    """Grow a member's trees, which is quicker than to go on from a checkpoint."""
    begun, ensemble, seed = time.perf_counter(), job.ensemble, torch_seed(job.ensemble.seed, "member", job.member)
    recorder = Recorder(task.labels, task.n_classes, ensemble.epochs, trained_on=task.trained_on, when=ensemble.when, seed=seed)
    x, rows = np.asarray(task.inputs, np.float32), np.flatnonzero(task.trained_on)
    for epoch, logits in enumerate(staged_logits(grown(ensemble.recipe, x[rows], task.labels[rows], seed), x, task.n_classes)):
        recorder.update(np.arange(len(x)), logits, epoch)
        accuracy, loss, seconds = recorder.accuracy(epoch), recorder.loss(epoch), time.perf_counter() - begun
        report(EpochDone(job.member, epoch + 1, loss, accuracy, seconds / ensemble.epochs))
    status, path = _status(accuracy, loss, task.labels), folder / "trace.safetensors"
    save_member(path, recorder.finish(status=status))
    return MemberDone(job.member, path, status, accuracy, len(rows) * ensemble.epochs, seconds, peak_bytes())


@dataclass(frozen=True, eq=False)
class _Task:
    """What a member learns: the inputs as they are stored, and mirrored, labels, classes, and the rows that it is trained on."""

    inputs: np.ndarray
    mirrored: np.ndarray | None
    labels: Int64[np.ndarray, " examples"]
    n_classes: int
    trained_on: Bool[np.ndarray, " examples"]


def _task(job: MemberJob) -> _Task:
    inputs, labels, mirrored = open_shared(job.shared)
    assert labels is not None
    ensemble = job.ensemble
    if ensemble.is_threshold(job.member):
        is_sample = threshold_mask(len(labels), ensemble.n_classes, ensemble.seed, job.member - ensemble.members)
        extended = np.where(is_sample, ensemble.n_classes, labels)
        return _Task(inputs, mirrored, extended, ensemble.n_classes + 1, np.ones(len(labels), bool))
    trained_on = training_mask(ensemble, labels, job.member)
    trained_on = trained_on if job.excluded is None else trained_on & ~job.excluded
    return _Task(inputs, mirrored, labels, ensemble.n_classes, trained_on)


def _trained(
    job: MemberJob, task: _Task, rate: float, folder: Path, report: Report
) -> tuple["Fit", Recorder, Float32[np.ndarray, "examples features"] | None, float]:
    """Train at `rate` times the recipe's learning rate, from the last checkpoint on; return network, trace, what goes into the last
    layer at the end (of one member) and seconds."""
    from dataprune.training.fit import Fit, Training
    from dataprune.training.inputs import Inputs

    begun = before = written = time.perf_counter()
    ensemble, seed = job.ensemble, torch_seed(job.ensemble.seed, "member", job.member)
    recipe = replace(ensemble.recipe, learning_rate=ensemble.recipe.learning_rate * rate)
    training = Training(ensemble.model, recipe, ensemble.epochs, seed, task.n_classes, job.device, ensemble.precision)
    inputs = Inputs(task.inputs, recipe.normalise, job.device, mirrored=task.mirrored)
    fit = Fit(training, inputs, task.labels, task.trained_on)
    about = task.labels, task.n_classes, ensemble.epochs
    recorder = Recorder(*about, trained_on=task.trained_on, when=ensemble.when, seed=seed, last_bias=fit.last_bias)
    checkpoints = job.checkpoints(folder if rate == 1 else folder / f"rate-{rate:g}", rate)
    if (last := checkpoints.latest()) is not None:
        fit.restore(last.arrays, last.info["fit"])
        recorder.restore({n.removeprefix("recorder."): a for n, a in last.arrays.items() if n.startswith("recorder.")})
        begun -= last.info["seconds"]
    n_kept = min(KEPT_EPOCHS, ensemble.epochs) if "vog" in ensemble.record else 0
    kept = set(np.linspace(1, ensemble.epochs, n_kept).round().astype(int).tolist())
    features = fit.room_for_features() if job.member == SCORES_FEATURES else None
    is_filled = False
    while fit.epoch < ensemble.epochs:
        is_filled = fit.epoch == ensemble.epochs - 1 and ensemble.when == "clean"
        _record_epoch(fit, recorder, ensemble.when, features if is_filled else None)
        if fit.epoch in kept:
            fit.keep()
        now = time.perf_counter()
        if fit.epoch == ensemble.epochs or now - written >= CHECKPOINT_SECONDS:
            arrays = fit.arrays() | {f"recorder.{name}": value.numpy() for name, value in recorder.state().items()}
            checkpoints.save(fit.epoch, arrays, {"fit": fit.info(), "seconds": now - begun})
            written = now
        report(EpochDone(job.member, fit.epoch, fit.loss, recorder.accuracy(fit.epoch - 1), now - before))
        before = now
    if features is not None and not is_filled:
        for rows, _, seen in fit.predict():
            _keep(features, rows, seen)
    return fit, recorder, features, before - begun


def _record_epoch(fit: "Fit", recorder: Recorder, when: str, kept: Float32[np.ndarray, "examples features"] | None) -> None:
    epoch, rows_left = fit.epoch, None
    if when == "clean":
        fit.train_epoch()
    else:
        fit.train_epoch(lambda rows, logits, features: recorder.update(rows, logits, epoch, features))
        rows_left = np.flatnonzero(~fit.trained_on)
    for rows, logits, features in fit.predict(rows_left):
        recorder.update(rows, logits, epoch, features)
        if kept is not None:
            _keep(kept, rows, features)


def _keep(kept: Float32[np.ndarray, "examples features"], rows: "Tensor", features: "Tensor | None") -> None:
    assert features is not None, "there is room for what a layer is given"
    kept[rows.cpu().numpy()] = features.float().cpu().numpy()


def _status(accuracy: float, loss: float, labels: np.ndarray) -> str:
    """Return whether a member learned anything: `ok`, `diverged` (far worse than naming no class) or `at chance`."""
    if loss > DIVERGED_LOSSES * math.log(labels.max() + 1):
        return "diverged"
    largest = float(np.bincount(labels).max() / len(labels))
    error = math.sqrt(largest * (1 - largest) / len(labels))
    margin = min(CHANCE_SIGMAS * error, (1 - largest) / 2)
    return "ok" if accuracy > largest + margin else "at chance"
