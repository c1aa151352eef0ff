"""What does a study ask? A frozen value that prints as TOML and is read back from it."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.selection import STRATEGIES
from dataprune.training.recipes import MOST_EPOCHS, Recipe

ORDERS = ("easy-to-hard", "hard-to-easy")
"""Strategies that leave nothing out, but begin with a part and add to it by `stages`."""
BUDGETS = ("epochs", "steps")
JUDGES = ("test", "validation")
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Part:
    """One sweep of a study: a strategy at several sizes, and for `window` from several starts.

    Attributes:
        strategy: of `dataprune.selection.STRATEGIES`, or `easy-to-hard` or `hard-to-easy` (a curriculum, with the study's stages).
        keep: fractions kept.
        start: fractions of easier examples left out, for `window`.
    """

    strategy: str
    keep: tuple[float, ...] = (1.0,)
    start: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES and self.strategy not in ORDERS:
            raise unknown_choice("strategy", self.strategy, (*STRATEGIES, *ORDERS))
        for keep in self.keep:
            if not 0 < keep <= 1:
                cure = f" It is the fraction kept: write {keep / 100:g} to keep {keep:g} %." if 1 < keep <= 100 else ""
                raise invalid("keep", "be in (0, 1]", f"{keep:g}", cure.strip())
        for start in self.start:
            if not 0 <= start < 1:
                raise invalid("start", "be in [0, 1)", f"{start:g}", "It is a fraction of all examples.")
            if start and self.strategy != "window":
                raise invalid("start", f"be 0 for strategy '{self.strategy}'", f"{start:g}", "It belongs to 'window'.")
        if not self.keep or not self.start:
            raise invalid("keep" if not self.keep else "start", "hold at least one fraction", "none")


@dataclass(frozen=True)
class Variant:
    """A recipe that is tried: the study's own with some of its fields changed.

    Attributes:
        name: what it is called in tables.
        changes: `model`, `recipe`, `rate_factor` (on its learning rate) or fields of `dataprune.Recipe`, and their values.
    """

    name: str
    changes: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        known = (
            "model",
            "recipe",
            "rate_factor",
            *(one.name for one in dataclasses.fields(Recipe) if one.name not in ("name", "epochs")),
        )
        for key, _ in self.changes:
            if key not in known:
                raise unknown_choice(f"variant '{self.name}'", key, known)


@dataclass(frozen=True)
class StudySpec:
    """Everything that a study asks; what is 0 or "" follows from the data.

    Attributes:
        preset: its name.
        parts: what is kept, by each of `scores`.
        scores: names of scores that the run has.
        seeds: how many trainings of each cell, with the seeds `seed`, `seed + 1` and so on.
        seed: of the splits and ties too.
        budget: `epochs` gives every trial the same passes over what it keeps, `steps` the same number of batches.
        model: of the trials, by name; "" is `proxy` for pictures and `mlp` for vectors.
        recipe: of the trials, by name; "" is the fast one for the data.
        epochs: of a training on all data; 0 follows from the number of examples.
        batch: examples a step; 0 is the recipe's own.
        balanced: every kept set has the same share of each class.
        noise: the share of each class that a second arm of the study labels wrongly; 0 is one arm.
        clusters: for the score `km`, cut into so many clusters each (`auto`, `classes` or a number), from features.
        stages: (epochs, share) of a curriculum; the epochs are in proportion and are scaled to `epochs`.
        variants: recipes to compare on all data.
        controls: of `random` (at each size) and `all`.
        judge: `test`, or `validation` where a choice is made and test may not be read.
        validation_share: of train, cut before selection where the data bring no validation split.
        test_share: of train, cut before scoring where the data bring no test split.
        tolerance: a loss of accuracy that counts as none, for the verdicts.
    """

    preset: str
    parts: tuple[Part, ...] = ()
    scores: tuple[str, ...] = ()
    seeds: int = 3
    seed: int = 0
    budget: str = "epochs"
    model: str = ""
    recipe: str = ""
    epochs: int = 0
    batch: int = 0
    balanced: bool = False
    noise: float = 0.0
    clusters: tuple[str, ...] = ()
    stages: tuple[tuple[int, float], ...] = ()
    variants: tuple[Variant, ...] = ()
    controls: tuple[str, ...] = ("random", "all")
    judge: str = "test"
    validation_share: float = 0.1
    test_share: float = 0.2
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        for name, choices in (("budget", BUDGETS), ("judge", JUDGES)):
            if getattr(self, name) not in choices:
                raise unknown_choice(name, getattr(self, name), choices)
        for name, least in (("seeds", 1), ("epochs", 0), ("batch", 0)):
            if getattr(self, name) < least:
                raise invalid(name, f"be at least {least}", getattr(self, name))
        if self.epochs > MOST_EPOCHS:
            raise invalid("epochs", f"be at most {MOST_EPOCHS:,}", self.epochs)
        if self.seeds > MOST_SEEDS:
            raise invalid("seeds", f"be at most {MOST_SEEDS}", self.seeds, "It is how many seeds, not which one.")
        for name in ("validation_share", "test_share"):
            if not 0 < getattr(self, name) < 1:
                raise invalid(name, "be in (0, 1)", f"{getattr(self, name):g}")
        if not 0 <= self.noise < 1:
            raise invalid("noise", "be in [0, 1)", f"{self.noise:g}")
        if not (math.isfinite(self.tolerance) and 0 <= self.tolerance < 1):
            raise invalid("tolerance", "be in [0, 1)", f"{self.tolerance:g}", "0.01 is one percentage point of accuracy.")
        for control in self.controls:
            if control not in ("random", "all"):
                raise unknown_choice("controls", control, ("random", "all"))
        if self.judge == "validation" and self.parts:
            raise invalid("judge", "be test for a study of kept sets", "'validation'", "Only recipes are chosen on validation.")
        self._check_stages()
        for name in ("scores", "clusters"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise invalid(name, "name each once", ", ".join(getattr(self, name)))
        if len({variant.name for variant in self.variants}) != len(self.variants):
            raise invalid("variants", "have different names", ", ".join(variant.name for variant in self.variants))

    def _check_stages(self) -> None:
        has_orders = any(part.strategy in ORDERS for part in self.parts)
        if has_orders != bool(self.stages):
            raise invalid(
                "stages", "be given with the strategies easy-to-hard and hard-to-easy, and only with them", self.stages or "none"
            )
        shares = [share for _, share in self.stages]
        if any(epochs < 1 for epochs, _ in self.stages):
            raise invalid("stages", "have at least 1 epoch each", self.stages)
        if shares and (shares != sorted(shares) or not shares[0] > 0 or shares[-1] != 1):
            raise invalid("stages", "have growing shares in (0, 1] that end at 1", shares)

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """The seeds of the trainings."""
        return tuple(range(self.seed, self.seed + self.seeds))


def to_toml(spec: StudySpec) -> str:
    """Write a spec as TOML.

    Example:
        >>> print(to_toml(StudySpec("mine", (Part("hardest", (0.5,)),), scores=("el2n",)))[:33])
        preset = "mine"
        scores = ["el2n"]
    """
    plain = {name.name: getattr(spec, name.name) for name in dataclasses.fields(spec) if name.name not in ("parts", "variants")}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
    for part in spec.parts:
        lines += ["", "[[parts]]", *(f"{key} = {_toml(value)}" for key, value in vars(part).items())]
    for variant in spec.variants:
        lines += ["", "[[variants]]", f"name = {_toml(variant.name)}"]
        lines += [f"{key} = {_toml(value)}" for key, value in variant.changes]
    return "\n".join(lines) + "\n"


def from_toml(text: str, source: str = "spec") -> StudySpec:
    """Read a spec that `to_toml` wrote, or somebody by hand; what is left out has its default.

    Raises:
        InputError: no TOML, unknown keys (with the nearest one), or values out of range.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"`{source}` is no TOML: {error}.") from None
    parts = tuple(Part(**_checked(Part, one, "parts")) for one in _tables(given, "parts"))
    variants = tuple(_variant(one) for one in _tables(given, "variants"))
    fields = _checked(StudySpec, {k: v for k, v in given.items() if k not in ("parts", "variants")}, source)
    if "preset" not in fields:
        raise invalid(source, "name its `preset`", "none", "It is a name of your choice.")
    return StudySpec(**fields, parts=parts, variants=variants)


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
    for name in ("model", "recipe"):
        named = [getattr(spec, name), *(value for variant in spec.variants for key, value in variant.changes if key == name)]
        for value in named:
            if ":" in str(value):
                raise invalid(
                    name, "be a name of dataprune in a spec file", repr(value), f"Name code of your own by --{name} instead."
                )
    return spec


def _tables(given: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    tables = given.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise invalid(name, f"be tables, each headed by [[{name}]]", repr(tables))
    return tables


def _variant(given: dict[str, Any]) -> Variant:
    rest = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items() if key != "name"}
    if not isinstance(given.get("name"), str):
        raise invalid("variants", "each have a `name`", repr(given))
    return Variant(given["name"], tuple(rest.items()))


def _checked(kind: type, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the values of a TOML table as the fields of a dataclass, with their types."""
    fields = {one.name: one for one in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in fields:
            raise unknown_choice(where, key, [name for name in fields if name not in ("parts", "variants")])
        values[key] = _typed(key, value, _LIKE[kind, key] if (kind, key) in _LIKE else fields[key].default)
    if kind is Part and "strategy" not in values:
        raise invalid("parts", "each name a `strategy`", repr(dict(given)))
    return values


_LIKE: dict[tuple[type, str], Any] = {
    (Part, "strategy"): "",
    (StudySpec, "preset"): "",
    (StudySpec, "scores"): ("",),
    (StudySpec, "clusters"): ("",),
    (StudySpec, "stages"): ((0, 0.0),),
}
"""A value of the type of each field whose default does not show it."""


def _typed(key: str, value: Any, like: Any) -> Any:
    """Return the value as the type of `like`, refusing what is of another."""
    if isinstance(like, tuple):
        if not isinstance(value, list):
            raise invalid(key, "be a list", repr(value))
        inner = like[0]
        if isinstance(inner, tuple):
            if not all(isinstance(one, list) and len(one) == len(inner) for one in value):
                raise invalid(key, f"hold lists of {len(inner)}", repr(value))
            return tuple(tuple(_typed(key, cell, kind) for cell, kind in zip(one, inner, strict=True)) for one in value)
        return tuple(_typed(key, one, inner) for one in value)
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(like):
        raise invalid(key, f"be {_KINDS[type(like)]}", repr(value))
    return value


_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, str):
        return '"' + "".join(_escaped(letter) for letter in value) + '"'
    return repr(float(value)) if isinstance(value, float) else str(int(value))


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"
