"""`StudySpec`: everything that a study asks, as a frozen value that is written as TOML and read from it."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import tomli_w

from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.scores import canonical
from dataprune.selection import STRATEGIES, Dynamic
from dataprune.study.metric import Metric
from dataprune.study.trainer import Trainer
from dataprune.training.recipes import MOST_EPOCHS

ORDERS = ("easy-to-hard", "hard-to-easy")
"""Strategies that leave nothing out, but begin with a part and add to it by `stages`."""
CHOICES = {
    "budget": ("epochs", "steps"),
    "precision": ("auto", "fp32", "bf16"),
}
MOST_SEEDS = 1000
RACED = 2  # seeds after which a race begins to drop cells
# What studies of earlier versions say, and with which value it is what there is now.
GONE: dict[str, object] = {"judge": "test", "controls": ["random", "all"], "variants": []}


@dataclass(frozen=True)
class Sweep:
    """A strategy at several sizes, and for `window` from several starts.

    Attributes:
        strategy: of `dataprune.selection.STRATEGIES`, or `easy-to-hard` or `hard-to-easy` (a curriculum, with the study's stages).
        keep, start: fractions kept, and of easier examples left out.
    """

    strategy: str
    keep: tuple[float, ...] = (1.0,)
    start: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if self.strategy not in (*STRATEGIES, *ORDERS):
            raise unknown_choice("strategy", self.strategy, (*STRATEGIES, *ORDERS))
        for keep in self.keep:
            if not 0 < keep <= 1:
                cure = f"It is the fraction kept: write {keep / 100:g} to keep {keep:g} %." if 1 < keep <= 100 else ""
                raise invalid("keep", "be in (0, 1]", f"{keep:g}", cure)
        for start in self.start:
            if not 0 <= start < 1:
                raise invalid("start", "be in [0, 1)", f"{start:g}", "It is a fraction of all examples.")
            if start and self.strategy != "window":
                raise invalid("start", f"be 0 for strategy '{self.strategy}'", f"{start:g}", "It belongs to 'window'.")
        if not self.keep or not self.start:
            raise invalid("keep" if not self.keep else "start", "hold at least one fraction", "none")


@dataclass(frozen=True)
class StudySpec:
    """Everything that a study asks; what is 0 or "" follows from the data.

    Attributes:
        parts: what is kept, by each of `scores`.
        scores: names of scores that the run has.
        seeds: how many trainings of each cell, with the seeds `seed`, `seed + 1` and so on.
        seed: of the splits and ties too.
        budget: `epochs` gives every trial the same passes over what it keeps, `steps` the same number of batches.
        model: of the trials, by name; "" is `proxy` for pictures and `linear` for vectors.
        recipe: of the trials, by name; "" is the fast one for the data.
        epochs: of a training on all data; 0 follows from the number of examples.
        batch: examples a step; 0 is the recipe's own.
        precision: fp32, bf16, or the faster one here; a study that was begun goes on with its own.
        balanced: every kept set has the same share of each class.
        noise: the share of each class that a second arm of the study labels wrongly; 0 is one arm.
        clusters: for the score `km`, cut into so many clusters each (`auto`, `classes` or a number), from features.
        stages: (epochs, share) of a curriculum; the epochs are in proportion and are scaled to `epochs`.
        dynamic: arms that leave out other examples in every epoch: `infobatch` and `rs2`, or with what they keep: `rs2:0.3`.
        validation_share: of train, cut before selection where the data bring no validation split.
        test_share: of train, cut before scoring where the data bring no test split.
        tolerance: a loss of accuracy that counts as none, for the verdicts.
        racing: after two seeds train no more of a cell that is surely worse than its control by more than the tolerance.
        trainer: a command with places to fill in, or `module:function`, that trains in the place of our networks.
        metric: what it is judged by, as `Metric.of` reads it.
        time_limit: seconds after which one of its trainings is ended; 0 is none.
    """

    preset: str
    parts: tuple[Sweep, ...] = ()
    scores: tuple[str, ...] = ()
    seeds: int = 3
    seed: int = 0
    budget: str = "epochs"
    model: str = ""
    recipe: str = ""
    epochs: int = 0
    batch: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    balanced: bool = False
    noise: float = 0.0
    clusters: tuple[str, ...] = ()
    stages: tuple[tuple[int, float], ...] = ()
    dynamic: tuple[str, ...] = ()
    validation_share: float = 0.1
    test_share: float = 0.2
    tolerance: float = 0.01
    racing: bool = False
    trainer: str = ""
    metric: str = "accuracy"
    time_limit: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", tuple(canonical(name) for name in self.scores))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown_choice(name, getattr(self, name), choices)
        ordered, shares = any(part.strategy in ORDERS for part in self.parts), [share for _, share in self.stages]
        grows = not shares or (shares == sorted(shares) and shares[0] > 0 and shares[-1] == 1)
        is_share = Metric.of(self.metric).is_share
        with_orders = "be given with the strategies easy-to-hard and hard-to-easy, and only with them"
        for name, is_right, demand, cure in (
            ("seeds", 1 <= self.seeds <= MOST_SEEDS, f"be at least 1, at most {MOST_SEEDS}", "It says how many, not which one."),
            (
                "seeds",
                self.seeds > RACED or not self.racing,
                f"be at least {RACED + 1} for a race",
                "It drops cells after two seeds.",
            ),
            ("epochs", 0 <= self.epochs <= MOST_EPOCHS, f"be at least 0, at most {MOST_EPOCHS:,}", ""),
            ("batch", self.batch >= 0, "be at least 0", ""),
            ("validation_share", 0 < self.validation_share < 1, "be in (0, 1)", ""),
            ("test_share", 0 < self.test_share < 1, "be in (0, 1)", ""),
            ("noise", 0 <= self.noise < 1, "be in [0, 1)", ""),
            ("tolerance", 0 <= self.tolerance < (1 if is_share else math.inf), "be in [0, 1)", "0.01 is one percentage point."),
            ("budget", self.budget == "epochs" or not self.dynamic, "be epochs for dynamic arms", "They take fewer steps."),
            ("stages", ordered == bool(self.stages), with_orders, ""),
            ("stages", all(epochs >= 1 for epochs, _ in self.stages), "have at least 1 epoch each", ""),
            ("stages", grows, "have growing shares in (0, 1] that end at 1", ""),
            *self._rules_of_trainer(),
        ):
            if not is_right:
                given = getattr(self, name)
                raise invalid(name, demand, "none" if given == () else given, cure)
        self.dynamics()
        for name in ("scores", "clusters", "dynamic"):
            if len(set(several := getattr(self, name))) != len(several):
                raise invalid(name, "name each once", ", ".join(several))

    def dynamics(self) -> dict[str, Dynamic]:
        """Return the dynamic arms by name."""
        found = {}
        for text in self.dynamic:
            name, _, keep = text.partition(":")
            if name not in ("infobatch", "rs2"):
                raise unknown_choice("dynamic", name, ("infobatch", "rs2"))
            try:
                share = float(keep or 0.5)
            except ValueError:
                raise invalid("dynamic", "be NAME or NAME:KEEP, such as rs2:0.3", repr(text)) from None
            found[text] = Dynamic(name, share)
        return found

    def _rules_of_trainer(self) -> list[tuple[str, object, str, str]]:
        """Return what must hold with and without a trainer: name, whether it does, demand and cure."""
        time = ("time_limit", 0 <= self.time_limit < math.inf, "be seconds, at least 0", "")
        if (trainer := self.own_trainer) is None:
            return [time, ("metric", self.metric == "accuracy", "be accuracy where no trainer is given", "Add --trainer.")]
        trainer.check()
        takes, affair = "budget" in trainer.places, "That is up to the trainer."
        ours = ("model", "recipe", "batch", "stages", "dynamic")
        return [
            time,
            *((name, not getattr(self, name), "be left out where a trainer is given", affair) for name in ours),
            ("precision", self.precision == "auto", "be left out where a trainer is given", affair),
            ("epochs", takes or not self.epochs, "be left out where the trainer does not take {budget}", ""),
            ("epochs", self.epochs or trainer.is_function or not takes, "be given, since the trainer takes {budget}", ""),
            ("budget", self.epochs or self.budget == "epochs", "be epochs where the trainer has no {budget}", ""),
            ("noise", not self.noise or "folder" in trainer.places, "go with {folder}, which has the wrong labels", ""),
        ]

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """The seeds of the trainings."""
        return tuple(range(self.seed, self.seed + self.seeds))

    @property
    def own_trainer(self) -> Trainer | None:
        """What trains in the place of our networks."""
        return Trainer(self.trainer, Metric.of(self.metric)) if self.trainer else None


def to_toml(spec: StudySpec) -> str:
    """Write a spec as TOML.

    Example:
        >>> print(to_toml(StudySpec("mine", scores=("el2n",)))[:40])
        preset = "mine"
        scores = [
            "el2n",
        ]
    """
    plain = dataclasses.asdict(spec)
    parts = plain.pop("parts")  # tables come last
    return tomli_w.dumps(plain | ({"parts": parts} if parts else {}))


def from_toml(text: str, source: str = "spec") -> StudySpec:
    """Read a spec that `to_toml` wrote, or a person; what is left out has its default.

    Raises:
        InputError: no TOML, unknown keys (with the nearest one), or values of the wrong type or out of range.
    """
    try:
        text.encode()  # half of a surrogate pair is no TOML, though tomllib takes it
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, UnicodeEncodeError) as error:
        raise InputError(f"`{source}` is not TOML: {error}.") from None
    given = {name: value for name, value in given.items() if GONE.get(name) != value}
    parts = given.get("parts", [])
    if not isinstance(parts, list) or not all(isinstance(one, dict) for one in parts):
        raise invalid("parts", "be tables, each headed by [[parts]]", repr(parts))
    for where, keys, kind in ((source, given, StudySpec), *(("parts", one, Sweep) for one in parts)):
        names = [one.name for one in dataclasses.fields(kind)]
        for key in keys:
            if key not in names:
                raise unknown_choice(where, key, names)
    try:
        return msgspec.convert(given, StudySpec)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InputError):  # of a class of this file, in its own words
            raise error.__cause__ from None
        raise InputError(f"`{source}` is not a study spec: {error}.") from None


def read_spec(path: Path) -> StudySpec:
    """Read a spec from a file.

    Raises:
        InputError: there is none, it names code to import, or as `from_toml`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise invalid("spec", "be a TOML file", f"{path}: {reason}", "`--print-spec` prints one.") from None
    spec = from_toml(text, str(path))
    for name, is_code in (("model", ":" in spec.model), ("recipe", ":" in spec.recipe), ("trainer", bool(spec.trainer))):
        if is_code:
            demand = "be left out of a spec file" if name == "trainer" else "be a name of dataprune in a spec file"
            raise invalid(name, demand, repr(getattr(spec, name)), f"Name code of your own by --{name} instead.")
    return spec
