"""Which trials answer a study's question?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from dataprune.errors import DatapruneError, InputError, invalid, join_some
from dataprune.scores import Score, Scores
from dataprune.selection import select
from dataprune.streams import torch_seed
from dataprune.study.curriculum import growing, scaled, stages_by
from dataprune.study.spec import ORDERS, StudySpec
from dataprune.study.splits import StudyData
from dataprune.study.trials import TrialSpec
from dataprune.training.recipes import Recipe
from dataprune.training.staged import Stage

NOISE, GIVEN = "noise", "given"
SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Arm:
    """One arm of a study: its data, and the scores made of them.

    Attributes:
        name: "" where there is one arm only.
        scores: by the name they have in tables; the score `km` with several numbers of clusters is there as `km` of each.
    """

    name: str
    data: StudyData
    scores: Mapping[str, Score]
    km: Mapping[int, Score]


@dataclass(frozen=True)
class TrainingSetup:
    """By what a cell is trained: the recipe, whole, and the model."""

    name: str
    model: str
    recipe: Recipe
    epochs: int


@dataclass(frozen=True)
class Cell:
    """What trainings have in common that differ in their seed alone; the columns of `trials.parquet`."""

    score: str
    strategy: str
    keep: float
    start: float = 0.0
    arm: str = ""
    order: str = ""
    clusters: int = 0


@dataclass(frozen=True, eq=False)
class GridRow:
    """One row of the grid: a cell, a seed, and the trial that answers it."""

    cell: Cell
    seed: int
    spec: TrialSpec
    stages: tuple[Stage, ...]
    n_train: int


@dataclass(frozen=True, eq=False)
class Grid:
    """All rows, seed after seed, and what one should know of them."""

    rows: tuple[GridRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Wish:
    """A cell before its rows are known: where its score is found."""

    cell: Cell
    arm: Arm
    trained: TrainingSetup
    score: Score | None


def grid(spec: StudySpec, arms: Sequence[Arm], trained: Sequence[TrainingSetup]) -> Grid:
    """Lay out the trials of a study.

    Args:
        spec: what is asked.
        arms: at least one.
        trained: by what; several for a study of recipes, each on all data.

    Raises:
        InputError: a size that leaves fewer than two examples or passes the end with its start, or nothing is asked.
    """
    wishes = list(_wishes(spec, arms, trained))
    if not wishes:
        raise invalid("parts", "ask for at least one training", "none")
    rows = []
    notes: dict[str, None] = {}
    fixed: dict[Cell, tuple[Stage, ...]] = {}
    for seed in spec.training_seeds:
        for wish in wishes:
            if wish.cell not in fixed or wish.score is None:
                fixed[wish.cell] = _stages(spec, wish, seed, notes)
            rows.append(_planned(spec, wish, seed, fixed[wish.cell]))
    return Grid(tuple(rows), tuple(notes))


def _wishes(spec: StudySpec, arms: Sequence[Arm], trained: Sequence[TrainingSetup]) -> Iterator[_Wish]:
    """Name the cells: controls first, then each part, by score, size and start."""
    for arm in arms:
        for number, how in enumerate(trained):
            if "all" in spec.controls and (number == 0 or not spec.parts):
                yield _Wish(_recipe_cell(arm, how, number), arm, how, None)
        keeps = dict.fromkeys(keep for part in spec.parts if part.strategy not in ORDERS for keep in part.keep if keep < 1)
        for keep in keeps if "random" in spec.controls else ():
            yield _Wish(Cell("random", "random", keep, arm=arm.name), arm, trained[0], None)
        if spec.stages and "random" in spec.controls:
            yield _Wish(Cell("random", "random", 1.0, arm=arm.name, order="random order"), arm, trained[0], None)
        for part in spec.parts:
            if part.strategy == "random":
                continue  # it is the control
            for name, clusters, score in _scores(spec, arm):
                for keep in part.keep:
                    for start in part.start:
                        if start + keep > 1 + SLACK:
                            raise invalid("start", "leave enough to keep (with `keep` at most 1 together)", f"{start:g} + {keep:g}")
                        order = part.strategy if part.strategy in ORDERS else ""
                        strategy = "curriculum" if order else part.strategy
                        yield _Wish(Cell(name, strategy, keep, start, arm.name, order, clusters), arm, trained[0], score)


def _recipe_cell(arm: Arm, how: TrainingSetup, number: int) -> Cell:
    if number == 0:
        return Cell("all", "all", 1.0, arm=arm.name)
    return Cell(how.name, "recipe", 1.0, arm=arm.name, order="recipe")


def _scores(spec: StudySpec, arm: Arm) -> Iterator[tuple[str, int, Score]]:
    for name in spec.scores:
        if name == "km" and arm.km:
            for clusters, score in arm.km.items():
                yield name, clusters, score
        else:
            yield name, 0, arm.scores[name]


def _stages(spec: StudySpec, wish: _Wish, seed: int, notes: dict[str, None]) -> tuple[Stage, ...]:
    """Return the rows that a cell trains on, stage by stage."""
    data, cell, how = wish.arm.data, wish.cell, wish.trained
    pool, n_train = data.pool, len(data.train)
    about = {"budget": spec.budget, "batch": how.recipe.batch, "n_all": len(pool)}
    if spec.stages and cell.order and cell.strategy != "recipe":
        schedule = scaled(spec.stages, how.epochs)
        masks = growing(pool[_order(wish, seed)], [share for _, share in schedule], n_train)
        return stages_by(masks, [epochs for epochs, _ in schedule], **about)  # type: ignore[arg-type]
    mask = np.zeros(n_train, bool)
    mask[pool if cell.keep == 1 else pool[_kept(spec, wish, seed, notes)]] = True
    return stages_by([mask], [how.epochs], **about)  # type: ignore[arg-type]


def _kept(spec: StudySpec, wish: _Wish, seed: int, notes: dict[str, None]) -> Int64[np.ndarray, " kept"]:
    """Choose within the pool; a random set differs by the seed of the training, any other by nothing but its rule."""
    data, cell = wish.arm.data, wish.cell
    labels = data.train.labels
    assert labels is not None
    chosen = select(
        None if wish.score is None else _within(wish.score, data.pool),
        cell.keep,
        strategy=cell.strategy,
        balanced=spec.balanced,
        start=cell.start,
        labels=labels[data.pool],
        ids=data.pool_ids,
        seed=torch_seed(seed, "random") if wish.score is None else spec.seed,
    )
    kept = np.bincount(labels[data.pool][chosen.rows], minlength=data.train.n_classes)
    lost = np.flatnonzero((kept == 0) & (np.bincount(labels[data.pool], minlength=data.train.n_classes) > 0))
    if len(lost):
        names = join_some((repr(data.train.classes[index]) for index in lost), most=3)
        rule = f"{cell.score} {cell.strategy}" if wish.score is not None else "random"
        notes.setdefault(
            f"{rule}, keep {cell.keep:g}: no example is kept of class {names}; --balanced keeps the same share of each"
        )
    return chosen.rows


def _within(score: Score, pool: Int64[np.ndarray, " pool"]) -> Score:
    return Score(score.name, score.values[pool], score.harder)


def _order(wish: _Wish, seed: int) -> Int64[np.ndarray, " pool"]:
    """Order the pool: from easy to hard, from hard to easy, or at random."""
    data = wish.arm.data
    if wish.score is None:
        return np.argsort(data.pool_ids.ties(torch_seed(seed, "random")), kind="stable")
    difficulty = wish.score.difficulty[data.pool]
    sign = 1 if wish.cell.order == "easy-to-hard" else -1
    return np.lexsort((data.pool_ids.ties(seed), sign * difficulty))


def _planned(spec: StudySpec, wish: _Wish, seed: int, stages: tuple[Stage, ...]) -> GridRow:
    data, how = wish.arm.data, wish.trained

    def ids_of(mask: Bool[np.ndarray, " examples"]) -> str:
        return data.pool_ids.sha256(np.flatnonzero(mask[data.pool]))

    trial = TrialSpec(
        train=data.train.fingerprint,
        validation=data.validation_key,
        test=data.test.fingerprint if spec.judge == "test" else None,
        stages=tuple((ids_of(one.trained_on), int(one.trained_on.sum()), one.epochs, one.steps) for one in stages),
        model=how.model,
        recipe=replace(how.recipe, epochs=None),
        epochs=how.epochs,
        seed=seed,
    )
    return GridRow(wish.cell, seed, trial, stages, int(stages[-1].trained_on.sum()))


def named_scores(scores: Scores, names: Sequence[str]) -> dict[str, Score]:
    """Return the scores that are asked for.

    Raises:
        InputError: the run lacks one; it is said which it has.
    """
    found = {}
    for name in names:
        try:
            found[name] = scores[name]
        except DatapruneError as error:
            if name not in scores.absent:
                raise
            raise InputError(f"{error} The run has {', '.join(scores)}.") from None
    return found
