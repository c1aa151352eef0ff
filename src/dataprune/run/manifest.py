"""What the manifests of a run and of features say, as typed records; JSON on disk has the same names."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from dataprune.data.dataset import Dataset, EncoderRecord, Skipped
from dataprune.errors import join_some, percent
from dataprune.precision import Precision
from dataprune.scores import Scores
from dataprune.store.manifest import FileRecord
from dataprune.training.recipes import PRETRAINED, Recipe

ALGORITHM = 1  # raised when the same spec would give other numbers
MEMORISED = 0.99  # an accuracy on the training labels from which nothing is left to be wrong about


UNKNOWN = ("folds", "repeats", "rounds", "threshold_samples", "precision", "record")  # of a training that only recorded


def made_now() -> dict[str, Any]:
    """Return by which versions and when something is made: two fields of a manifest."""
    versions = {name: version(name) for name in ("dataprune", "torch", "numpy")} | {"python": platform.python_version()}
    return {"versions": versions, "finished": datetime.now(UTC).isoformat(timespec="seconds")}


@dataclass(frozen=True)
class RunSpec:
    """What makes two runs the same run. `recipe` says no epochs: they are `epochs`. `recorded` is a digest of the traces, where
    they were recorded in another training, whose recipe and folds nobody knows. `weights` is the SHA-256 of what a pretrained model
    begins from."""

    data: str
    n_examples: int
    model: str
    recipe: Recipe | None
    members: int
    epochs: int
    n_classes: int
    when: Literal["clean", "online"]
    seed: int
    folds: int = 0
    repeats: int = 1
    rounds: int = 1
    threshold_samples: bool = False
    precision: Precision = "fp32"
    record: tuple[str, ...] = ()
    encoder: EncoderRecord | None = None
    algorithm: int = ALGORITHM
    recorded: str = ""
    weights: str = ""

    @property
    def round_size(self) -> int:
        """Members of a round; those of the first come first."""
        return self.members // self.rounds

    @property
    def networks(self) -> str:
        if self.recipe is None:
            return f"{self.model}, recorded in a training of its own, of which recipe and cost are not known"
        begun = "from pretrained weights" if self.model == PRETRAINED else "from scratch"
        return f"{self.model} {begun if self.encoder is None else f'on vectors of {self.encoder.name}'}"

    @property
    def plain(self) -> dict[str, Any]:
        plain = asdict(self)
        if self.recipe is not None:
            del plain["recipe"]["epochs"]
            plain["recipe"]["milestones"] = list(self.recipe.milestones)
        else:
            plain = {name: value for name, value in plain.items() if name not in UNKNOWN}
        return {name: value for name, value in plain.items() if value or name not in ("encoder", "record", "recorded", "weights")}


@dataclass(frozen=True)
class Phase:
    """What a part of the work cost; `member_seconds` adds up the processes, where there were several."""

    phase: str
    wall_seconds: float
    examples_seen: int = 0
    flops: int = 0
    member_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds of work, added up over processes: the clock knows only the last session of a run."""
        return self.wall_seconds if self.member_seconds is None else self.member_seconds


@dataclass(frozen=True)
class MemberRecord:
    """What came of a member: `file` holds its trace, None where it failed; `made_with` names versions and kind of device;
    `strength` is the inverse of weight decay times rows that cross-validation chose, where it did; `rate` is times the recipe's
    learning rate."""

    member: int
    status: Literal["ok", "at chance", "diverged", "failed"]
    reason: str
    file: str | None = None
    sha256: str = ""
    made_with: Mapping[str, str] = field(default_factory=dict)
    accuracy: float = 0.0
    seconds: float = 0.0
    examples_seen: int = 0
    peak_bytes: int = 0
    strength: float | None = None
    rate: float = 1.0

    @property
    def said(self) -> str:
        return f"member {self.member} ({self.status}): {self.reason}"


@dataclass(frozen=True)
class RunData:
    """The data of a run; `kind` says what people see."""

    n_examples: int
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    shape: tuple[int, ...]
    kind: Literal["images", "features", "texts", "rows"]


@dataclass(frozen=True)
class CurveRecord:
    """Inertia by number of clusters, measured on `rows` rows."""

    clusters: tuple[int, ...]
    inertia: tuple[float, ...]
    rows: int


@dataclass(frozen=True)
class FeaturesRecord:
    """Features, and how they were cut into clusters; `asked` is auto, classes or a number. Of a run and of what `km` writes."""

    digest: str
    asked: str
    seed: int
    restarts: int
    k: int
    elbow: int | None = None
    curve: CurveRecord | None = None
    inertia: float = 0.0
    rows_fitted: int = 0
    iterations: int = 0
    converged: bool = True
    sizes: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    rows: int = 0
    columns: int = 0
    rows_left_out: int = 0
    sample: int | None = None
    normalize: bool = False


@dataclass(frozen=True)
class MachineRecord:
    """Where it was made; `bit_exact` where the same spec gives the same bits there."""

    processor: str
    device: str = "cpu"
    bit_exact: bool = True


@dataclass(frozen=True)
class RunManifest:
    """What `run.json` says; how the source was read stands in `read`, for `dataprune.read`."""

    spec: RunSpec
    data: RunData
    members: tuple[MemberRecord, ...]
    scores: Mapping[str, Mapping[str, int]]
    absent_scores: Mapping[str, str]
    read: Mapping[str, Any]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    cost: tuple[Phase, ...]
    machine: MachineRecord
    versions: Mapping[str, str]
    finished: str
    features: FeaturesRecord | None = None
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    @classmethod
    def of(
        cls, spec: RunSpec, dataset: Dataset, members: Sequence[MemberRecord], scores: Scores, cost: tuple[Phase, ...], device: str
    ) -> "RunManifest":
        """Describe what was made of a data set now; without a device nobody knows where."""
        assert dataset.labels is not None
        counts = tuple(np.bincount(dataset.labels, minlength=dataset.n_classes).tolist())
        data = RunData(len(dataset), dataset.classes, counts, tuple(dataset.content.shape[1:]), dataset.kind)
        options = {} if dataset.origin is None else dataset.origin.options
        read = {name: value for name, value in options.items() if name != "labels"}  # of a file: a run holds them itself
        directions, machine = directions_of(scores), MachineRecord(platform.machine(), device, device == "cpu")
        about = (directions, dict(scores.absent), read, dataset.skipped, (), cost, machine)
        made = cls(spec, data, tuple(members), *about, **made_now())
        return replace(made, notes=(*dataset.notes, *made.lost, *doubts(made)))

    @property
    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"spec": self.spec.plain}

    @cached_property
    def learned(self) -> tuple[MemberRecord, ...]:
        """Members that learned: they feed the scores."""
        return tuple(one for one in self.members if one.status == "ok" and one.member < self.spec.members)

    @property
    def threshold(self) -> tuple[MemberRecord, ...]:
        """The networks with threshold samples, where all of them learned."""
        found = tuple(one for one in self.members if one.status == "ok" and one.member >= self.spec.members)
        return found if len(found) == len(self.members) - self.spec.members else ()

    @property
    def lost(self) -> tuple[str, ...]:
        """What became of the members that feed no score, one line each."""
        return tuple(one.said for one in self.members if one.status != "ok")

    @property
    def training(self) -> Phase:
        """What training cost: the first phase of every run but a recorded one."""
        return self.cost[0]

    @property
    def memorised(self) -> bool:
        """Whether every member that learned names the labels that it was trained on: the last epoch then tells little apart."""
        return bool(self.learned) and min(member.accuracy for member in self.learned) >= MEMORISED


def directions_of(scores: Scores) -> dict[str, dict[str, int]]:
    """Return of each score by name which way is harder."""
    return {name: {"harder": one.harder} for name, one in scores.items()}


def doubts(manifest: RunManifest) -> list[str]:
    """Return what speaks against the scores."""
    doubts, folds = [], manifest.spec.folds
    if manifest.memorised:
        share = min(member.accuracy for member in manifest.learned)
        known = f"the members have memorised {percent(share, 1)} of the labels they were trained on"
        cure = "aum, confidence and forget look at all epochs, or train for fewer epochs"
        doubts.append(f"{known}, so el2n and the other scores of the last epoch tell little apart; {cure}")
    slow = [one.member for one in manifest.members if one.status == "ok" and one.rate < 1]
    if slow:
        doubts.append(f"nothing was learned at the recipe's learning rate, but at a tenth of it, by member {join_some(slow)}")
    small = [repr(name) for name, count in zip(manifest.data.classes, manifest.data.class_counts, strict=True) if 0 < count < folds]
    return [*doubts, f"fewer examples than the {folds} folds in class {join_some(small)}"] if small else doubts


def member_file(member: int) -> str:
    return f"trace/member-{member:03d}.safetensors"


@dataclass(frozen=True)
class Quality:
    """How often the nearest neighbours name the class; `against` is `test`, or says that each example was asked about."""

    knn_accuracy: float
    pixels_knn_accuracy: float | None
    neighbours: int
    metric: str
    against: str
    known: int
    queries: int


@dataclass(frozen=True)
class FeatureData:
    """The data of features: `ids` is a hash of the ids."""

    fingerprint: str
    n_examples: int
    ids: str


@dataclass(frozen=True)
class EmbeddingManifest:
    """What lies beside features: `asked` is their identity, by their method, and `about` what else that method tells."""

    asked: Mapping[str, Any]
    about: Mapping[str, Any]
    data: FeatureData
    columns: int
    quality: Quality | None
    cost: tuple[Phase, ...]
    skipped: tuple[Skipped, ...]
    machine: MachineRecord
    versions: Mapping[str, str]
    finished: str
    files: Mapping[str, FileRecord] = field(default_factory=dict)
