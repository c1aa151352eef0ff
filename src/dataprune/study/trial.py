"""One training of a study, and its result as a file.

A trial is a pure function of what defines it, and named by the hash of that. Its file carries its own checksum, so a study writes
none of its large tables while it runs.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from jaxtyping import Bool

from dataprune import store
from dataprune.errors import DatapruneError, StoreError
from dataprune.precision import Precision
from dataprune.selection import Dynamic
from dataprune.study.results_table import Cell
from dataprune.study.trainer import Trainer
from dataprune.training.recipes import Recipe

if TYPE_CHECKING:
    from dataprune.training.staged import Stage

ALGORITHM = 1  # raised when the same trial would give another result
FORMAT = 1
FOLDER = "trials"
SEAL = "sha256"


@dataclass(frozen=True, eq=False)
class Trial:
    """A cell of a study with one seed, and everything that its result follows from.

    Attributes:
        cell: what is asked; two cells that come to the same rows are the same trial.
        train, validation, test: fingerprints, or what stands for them; `test` is None where test is not looked at.
        subsets: for each of `stages` the hash of the ids trained on.
        epochs: of the recipe's schedule.
        dynamic: what leaves out other examples in every epoch, if anything does.
        trainer: what trains in the place of model, recipe and epochs, with a budget of so many passes, 0 for its own.
    """

    cell: Cell
    train: str
    validation: str
    test: str | None
    stages: "tuple[Stage, ...]"
    subsets: tuple[str, ...]
    model: str
    recipe: Recipe
    epochs: int
    seed: int
    dynamic: Dynamic | None = None
    trainer: Trainer | None = None
    budget: float = 0.0
    precision: Precision = "fp32"

    @cached_property
    def canonical(self) -> dict[str, Any]:
        """What is hashed, as plain JSON."""
        if self.trainer is not None:
            same = {name: getattr(self, name) for name in ("train", "validation", "test", "subsets", "budget", "seed")}
            metric = [str(value) for value in vars(self.trainer.metric).values()]
            return {"algorithm": ALGORITHM, **same, "subsets": list(self.subsets), "trainer": self.trainer.call, "metric": metric}
        recipe = dataclasses.asdict(self.recipe) | {"milestones": list(self.recipe.milestones)}
        del recipe["name"]  # by another name it is the same recipe
        sizes = [int(stage.trained_on.sum()) for stage in self.stages]
        stages = [[ids, n, one.epochs, one.steps] for ids, n, one in zip(self.subsets, sizes, self.stages, strict=True)]
        same = {name: getattr(self, name) for name in ("train", "validation", "test", "model", "epochs", "seed")}
        dynamic = {} if self.dynamic is None else {"dynamic": dataclasses.asdict(self.dynamic)}
        same |= {} if self.precision == "fp32" else {"precision": self.precision}
        return {"algorithm": ALGORITHM, **same, "stages": stages, "recipe": recipe, **dynamic}

    @cached_property
    def name(self) -> str:
        """24 hexadecimal digits of the hash."""
        return _name(self.canonical)

    @property
    def n_train(self) -> int:
        """Examples of the last stage."""
        return int(self.stages[-1].trained_on.sum())

    @cached_property
    def examples_seen(self) -> int:
        """Examples through the network, each time counted, with `dynamic` at most; those kept where no trainer's budget is set."""
        if self.trainer is not None:
            return round((self.budget or 1) * self.n_train)
        from dataprune.training.staged import examples_of

        return sum(examples_of(stage, self.recipe.batch) for stage in self.stages)


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial, as it lies on disk.

    Attributes:
        loss, validation: (epochs,) mean training loss and accuracy on validation after each epoch.
        n_test: test examples; 0 where test was not looked at.
        test_correct: a bit for each, whether it was right at the end.
        steps, examples_seen, flops: of training: batches, the examples in them, floating-point operations.
        train_seconds: of training alone; the only figure that is not the same each time.
        value: of the metric, where a trainer said it; None for our own networks.
        made_with: the kind of device and the versions that computed.
    """

    trial: str
    status: Literal["ok", "failed"]
    error: str = ""
    traceback: str = ""
    loss: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()
    n_test: int = 0
    test_correct: bytes = b""
    steps: int = 0
    examples_seen: int = 0
    flops: int = 0
    train_seconds: float = 0.0
    made_with: Mapping[str, str] | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.n_test <= 8 * len(self.test_correct):
            raise ValueError("more test examples than bits")

    @property
    def correct(self) -> Bool[np.ndarray, " test"] | None:
        """Which test examples were right at the end; None where test was not looked at."""
        bits = np.frombuffer(self.test_correct, np.uint8)
        return np.unpackbits(bits, count=self.n_test).astype(bool) if self.n_test else None

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on validation at the end; NaN for a failed trial."""
        return self.validation[-1] if self.validation else float("nan")

    @property
    def test_accuracy(self) -> float:
        """Accuracy on test at the end; NaN for a failed trial, and where test was not looked at."""
        return float("nan") if self.correct is None else float(self.correct.mean())


@dataclass(frozen=True)
class _Stored:
    """A trial's file."""

    spec: Mapping[str, Any]
    result: TrialResult


def write_trial(folder: Path, trial: Trial, result: TrialResult) -> Path:
    """Write a trial's file, whole or not at all, and return where."""
    body = {"format": FORMAT, "spec": trial.canonical, "result": msgspec.to_builtins(dataclasses.asdict(result))}
    path = folder / FOLDER / f"{result.trial}.json"
    store.write_sealed(path, body, SEAL)
    return path


def read_trial(folder: Path, name: str) -> TrialResult | None:
    """Read a trial's file; None where there is none. StoreError for one that is damaged, of another version or another trial."""
    path = folder / FOLDER / f"{name}.json"
    if not path.exists():
        return None
    body = store.read_sealed(path, SEAL)
    if body.get("format") != FORMAT:
        raise StoreError(f"`{path}` has format {body.get('format')}, this version reads format {FORMAT}.")
    stored = store.as_record(body, _Stored, path)
    if stored.result.trial != name or _name(stored.spec) != name:
        raise StoreError(f"`{path}` is damaged: it is the file of another trial.")
    return stored.result


def sound_trial(folder: Path, name: str) -> TrialResult | None:
    """Read a trial's file; None where there is none that can be believed: it is trained again."""
    try:
        return read_trial(folder, name)
    except DatapruneError:
        return None


def _name(canonical: object) -> str:
    return store.json_digest(canonical)[:24]
