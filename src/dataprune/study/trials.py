"""What is one training of a study, and how does its result lie on disk?

A trial is a pure function of its spec, and named by the hash of it. Its result is one small file that names its own checksum, so a
study of many trials writes none of its large tables while it runs. Knows files; does not train.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from dataprune import store
from dataprune.errors import DatapruneError, StoreError
from dataprune.training.recipes import Recipe

ALGORITHM = 1  # raised when the same spec would give another result
FORMAT = 1
FOLDER = "trials"


@dataclass(frozen=True)
class TrialSpec:
    """Everything that a trial's result follows from.

    Attributes:
        train: fingerprint of the training data, labels included.
        validation: what stands for the validation set.
        test: fingerprint of the test data; None where test is not looked at.
        stages: for each stage the hash of the ids trained on, their number, epochs and steps.
        model: of `dataprune.training.models.MODELS`, or the name of code of somebody's own.
        recipe: whole.
        seed: of the training.
    """

    train: str
    validation: str
    test: str | None
    stages: tuple[tuple[str, int, int, int], ...]
    model: str
    recipe: Recipe
    epochs: int
    seed: int

    @cached_property
    def canonical(self) -> dict[str, Any]:
        """The spec as plain JSON, which is hashed."""
        spec = asdict(self)
        del spec["recipe"]["name"]  # called otherwise, it is the same recipe
        spec["recipe"]["milestones"] = list(self.recipe.milestones)
        return {"algorithm": ALGORITHM, **spec, "stages": [list(stage) for stage in self.stages]}

    @cached_property
    def trial(self) -> str:
        """Its name: 24 hexadecimal digits of the hash of the spec."""
        return hashlib.sha256(store.canonical_json(self.canonical).encode()).hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class TrialResult:
    """What came of a trial.

    Attributes:
        trial: its name.
        status: `ok` or `failed`.
        error: one line, and its traceback, of a failed one.
        loss: (epochs,) mean training loss after each epoch.
        validation: (epochs,) accuracy on validation after each epoch.
        test_correct: (test,) which test examples were right at the end; empty where test was not looked at.
        steps: batches trained, and the examples in them.
        flops: floating-point operations of training.
        train_seconds: of training alone; the only figure that is not the same each time.
        device: on which kind; with the versions that computed.
    """

    trial: str
    status: str
    error: str = ""
    traceback: str = ""
    loss: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()
    test_correct: Bool[np.ndarray, " test"] | None = None
    steps: int = 0
    examples_seen: int = 0
    flops: int = 0
    train_seconds: float = 0.0
    training_environment: Mapping[str, str] | None = None

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on validation at the end; NaN for a failed trial."""
        return self.validation[-1] if self.validation else float("nan")

    @property
    def test_accuracy(self) -> float:
        """Accuracy on test at the end; NaN for a failed trial, and where test was not looked at."""
        if self.test_correct is None or not len(self.test_correct):
            return float("nan")
        return float(self.test_correct.mean())


def trial_file(folder: Path, trial: str) -> Path:
    """Return the path of a trial's file in a study."""
    return folder / FOLDER / f"{trial}.json"


def write_trial(folder: Path, spec: TrialSpec, result: TrialResult) -> None:
    """Write a trial's file, whole or not at all."""
    plain = asdict(result)
    correct = plain.pop("test_correct")
    plain["n_test"] = 0 if correct is None else len(correct)
    plain["test_correct"] = "" if correct is None else base64.b64encode(np.packbits(correct).tobytes()).decode()
    body = {"format": FORMAT, "spec": spec.canonical, "result": plain}
    with store.writing(trial_file(folder, result.trial)) as temporary:
        temporary.write_text(store.canonical_json({**body, "sha256": _digest(body)}) + "\n", encoding="utf-8")


def read_trial(folder: Path, trial: str) -> TrialResult | None:
    """Read a trial's file; None where there is none.

    Raises:
        StoreError: it is damaged, of another version, or of another trial.
    """
    path = trial_file(folder, trial)
    if not path.exists():
        return None
    whole = store.read_json(path)
    if not isinstance(whole, dict) or not isinstance(whole.get("format"), int):
        raise StoreError(f"`{path}` is damaged: it is no trial of dataprune.")
    if whole["format"] != FORMAT:
        raise StoreError(f"`{path}` has format {whole['format']}, this version reads format {FORMAT}.")
    body = {key: value for key, value in whole.items() if key != "sha256"}
    if whole.get("sha256") != _digest(body):
        raise StoreError(f"`{path}` is damaged: its checksum does not fit.")
    try:
        named = hashlib.sha256(store.canonical_json(body["spec"]).encode()).hexdigest()[:24]
        if named != trial or body["result"]["trial"] != trial:
            raise StoreError(f"`{path}` is damaged: it is the file of another trial.")
        return _result(body["result"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise StoreError(f"`{path}` is damaged: it does not say what a trial says.") from error


def _result(said: Mapping[str, Any]) -> TrialResult:
    """Make a result of what a file says; in a stranger's file it may be anything, with a checksum that fits."""
    plain = dict(said)
    bits, n_test = base64.b64decode(plain.pop("test_correct")), plain.pop("n_test")
    if not 0 <= n_test <= 8 * len(bits) or plain["status"] not in ("ok", "failed"):
        raise ValueError("more test examples than bits, or no such status")
    plain["test_correct"] = np.unpackbits(np.frombuffer(bits, np.uint8), count=n_test).astype(bool) if n_test else None
    curves = {name: tuple(float(value) for value in plain[name]) for name in ("loss", "validation")}
    return TrialResult(**{**plain, **curves})


def sound_trial(folder: Path, trial: str) -> TrialResult | None:
    """Read a trial's file; None where there is none that can be believed: it is trained again."""
    try:
        return read_trial(folder, trial)
    except DatapruneError:
        return None


def borrowed(folders: Sequence[Path], trial: str) -> TrialResult | None:
    """Look for a trial that went well in other studies."""
    for folder in folders:
        found = sound_trial(folder, trial)
        if found is not None and found.status == "ok":
            return found
    return None


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(store.canonical_json(body).encode()).hexdigest()
