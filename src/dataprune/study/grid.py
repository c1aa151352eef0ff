"""The trials that answer a study's question: cells, the rows that each trains on, and by which network and recipe."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Int64

from dataprune.data import Dataset
from dataprune.errors import invalid, join_some, percent
from dataprune.scores import Score
from dataprune.selection import STRATEGIES, Dynamic, Views, select
from dataprune.streams import torch_seed
from dataprune.study.results_table import ALL, DYNAMIC, RANDOM, Cell
from dataprune.study.spec import ORDERS, RACED, StudySpec
from dataprune.study.splits import StudyData
from dataprune.study.trial import Trial
from dataprune.training.plan import model_and_recipe, sized
from dataprune.training.recipes import Recipe, batches_of
from dataprune.training.staged import Stage, stage_of_steps, whole_stage

SLACK = 1e-9
NO_SCORE = "no score"
"""The score's name in the cells of strategies that look at other things."""
EPOCHS = 6  # of a trial at REFERENCE_SIZE examples


@dataclass(frozen=True, eq=False)
class Condition:
    """One arm of a study ("" where there is one only): its data, and the scores made of them.

    Attributes:
        scores: by the name they have in tables.
        km: the score `km` by the number of clusters, where it is made for this study.
        views: what strategies look at beside a score, of all of the training data.
    """

    name: str
    data: StudyData
    scores: Mapping[str, Score]
    km: Mapping[int, Score]
    views: Views = field(default_factory=Views)


@dataclass(frozen=True)
class TrainingSetup:
    """By what every cell is trained: the model, the recipe (whole), and the epochs of its schedule."""

    model: str
    recipe: Recipe
    epochs: int


@dataclass(frozen=True, eq=False)
class Grid:
    """All trials, seed after seed, and what one should know of them."""

    trials: tuple[Trial, ...]
    notes: tuple[str, ...]

    @cached_property
    def by_name(self) -> dict[str, Trial]:
        """Each trial once: two cells may come to the same rows."""
        return {trial.name: trial for trial in self.trials}


@dataclass(frozen=True)
class _Request:
    """A cell before its rows are known, and where its score is found."""

    cell: Cell
    condition: Condition
    score: Score | None = None
    dynamic: Dynamic | None = None


def setup_of(spec: StudySpec, dataset: Dataset) -> TrainingSetup:
    """Fill in the model and the recipe of the trials."""
    model, found = model_and_recipe(dataset, spec.model, spec.recipe)
    if spec.trainer:
        return TrainingSetup(spec.trainer, found, spec.epochs)
    fitted = sized(found, len(dataset), EPOCHS, spec.epochs, spec.batch)
    assert fitted.epochs is not None
    return TrainingSetup(model, replace(fitted, epochs=None), fitted.epochs)


def grid(
    spec: StudySpec,
    conditions: Sequence[Condition],
    setup: TrainingSetup,
    shares: Mapping[tuple[Cell, int], float] = MappingProxyType({}),
    beaten: Collection[Cell] = (),
) -> Grid:
    """Lay out the trials of a study under each condition.

    Args:
        shares: what random at the cost of a dynamic arm keeps, by cell and seed; it is left out where that is not known yet.
        beaten: cells that get no more than `RACED` seeds.

    Raises:
        InputError: a size that leaves fewer than two examples or passes the end with its start.
    """
    requests = list(_requests(spec, conditions))
    trials: list[Trial] = []
    notes: dict[str, None] = {}
    fixed: dict[Cell, tuple[tuple[Stage, ...], tuple[str, ...]]] = {}
    precision = "fp32" if spec.precision == "auto" else spec.precision
    if beaten:
        sizes: dict[str, list[str]] = {}
        for cell in sorted(beaten, key=lambda one: (one.name, -one.keep, one.start)):
            sizes.setdefault(cell.name, []).append(f"{cell.keep:g}" + (f" from {cell.start:g}" if cell.start else ""))
        named = "; ".join(f"{name} at keep {', '.join(own)}" for name, own in sizes.items())
        notes[
            f"after {RACED} seeds surely worse than the control by more than the tolerance, so not trained with more: {named}"
        ] = None
    for number, seed in enumerate(spec.training_seeds):
        for request in requests:
            if number >= RACED and replace(request.cell, keep=round(request.cell.keep, 9)) in beaten:
                continue
            data, keep = request.condition.data, request.cell.keep
            if request.cell.strategy == DYNAMIC and request.dynamic is None:
                if (request.cell, seed) not in shares:
                    continue
                keep = shares[request.cell, seed]
            if request.cell not in fixed or request.score is None:
                stages = _stages(spec, request, setup, seed, notes, keep)
                kept = (np.flatnonzero(stage.trained_on[data.pool]) for stage in stages)
                fixed[request.cell] = stages, tuple(map(data.pool_ids.sha256, kept))
            test = None if data.test is None else data.test.fingerprint
            what = request.cell, data.train.fingerprint, data.validation_key, test, *fixed[request.cell]
            trial = Trial(*what, setup.model, setup.recipe, setup.epochs, seed, request.dynamic, precision=precision)
            if spec.trainer:
                times = len(data.pool) / trial.n_train if spec.budget == "steps" else 1.0
                trial = replace(trial, trainer=spec.own_trainer, budget=spec.epochs * times)
            trials.append(trial)
    return Grid(tuple(trials), tuple(notes))


def _requests(spec: StudySpec, conditions: Sequence[Condition]) -> Iterator[_Request]:
    """Name the cells: controls first, then each sweep, by score, size and start."""
    for condition in conditions:
        arm = condition.name
        yield _Request(Cell(ALL, ALL, 1.0, arm=arm), condition)
        sized = (keep for sweep in spec.parts if sweep.strategy not in ORDERS for keep in sweep.keep if keep < 1)
        for keep in dict.fromkeys(sized):
            yield _Request(Cell(RANDOM, RANDOM, keep, arm=arm), condition)
        if spec.stages:
            yield _Request(Cell(RANDOM, RANDOM, 1.0, arm=arm, order="random order"), condition)
        for name, dynamic in spec.dynamics().items():
            yield _Request(Cell(name, DYNAMIC, 1.0, arm=arm, order=name), condition, dynamic=dynamic)
            yield _Request(Cell(RANDOM, DYNAMIC, 1.0, arm=arm, order=name), condition)
        for sweep in spec.parts:
            if sweep.strategy == RANDOM:  # it is the control
                continue
            order = sweep.strategy if sweep.strategy in ORDERS else ""
            for name in spec.scores if order or "score" in STRATEGIES[sweep.strategy].needs else (NO_SCORE,):
                if sweep.strategy == "beta" and condition.scores[name].difficulty.min() < 0:
                    continue  # its chances follow a score of 0 or more
                score = condition.scores.get(name, Score(NO_SCORE, np.zeros(len(condition.data.train))))
                scores = condition.km if name == "km" and condition.km else {0: score}
                for (clusters, score), keep, start in product(scores.items(), sweep.keep, sweep.start):
                    if start + keep > 1 + SLACK:
                        raise invalid("start", "leave enough to keep (with `keep` at most 1 together)", f"{start:g} + {keep:g}")
                    cell = Cell(name, "curriculum" if order else sweep.strategy, keep, start, arm, order, clusters)
                    yield _Request(cell, condition, score)


def _stages(
    spec: StudySpec, request: _Request, setup: TrainingSetup, seed: int, notes: dict[str, None], keep: float
) -> tuple[Stage, ...]:
    data, cell = request.condition.data, request.cell
    if spec.stages and cell.order and cell.strategy != DYNAMIC:
        schedule = scaled(spec.stages, setup.epochs)
        if lost := [percent(share) for _, share in spec.stages if all(share != one for _, one in schedule)]:
            notes.setdefault(f"curriculum: {setup.epochs} epochs are too few for all stages; without those of {join_some(lost)}")
        masks = growing(data.pool[_order(request, seed)], [share for _, share in schedule], len(data.train))
        epochs = [length for length, _ in schedule]
    else:
        mask = np.zeros(len(data.train), bool)
        mask[data.pool if keep == 1 else data.pool[_kept(spec, request, seed, notes, keep)]] = True
        masks, epochs = (mask,), [setup.epochs]
    return stages_by(masks, epochs, budget=spec.budget, batch=setup.recipe.batch, n_all=len(data.pool))


def _kept(spec: StudySpec, request: _Request, seed: int, notes: dict[str, None], keep: float) -> Int64[np.ndarray, " kept"]:
    """Choose within the pool; a random set differs by the seed of the training, any other by nothing but its rule."""
    data, cell, score = request.condition.data, request.cell, request.score
    assert data.train.labels is not None
    labels = data.train.labels[data.pool]
    chosen = select(
        None if score is None else Score(score.name, score.values[data.pool], score.harder),
        keep,
        strategy=RANDOM if score is None else cell.strategy,
        balanced=spec.balanced and cell.strategy != "metriq",
        start=cell.start,
        labels=labels,
        ids=data.pool_ids,
        views=request.condition.views.take(data.pool),
        seed=torch_seed(seed, "random") if score is None else spec.seed,
    ).rows
    if lost := sorted(set(labels.tolist()) - set(labels[chosen].tolist())):
        names = join_some((repr(data.train.classes[index]) for index in lost), most=3)
        rule = f"{RANDOM if score is None else f'{cell.score} {cell.strategy}'}, keep {cell.keep:g}"
        notes.setdefault(f"{rule}: no example is kept of class {names}; --balanced keeps the same share of each")
    return chosen


def _order(request: _Request, seed: int) -> Int64[np.ndarray, " pool"]:
    """Order the pool: from easy to hard, from hard to easy, or at random."""
    data = request.condition.data
    if request.score is None:
        return np.argsort(data.pool_ids.ties(torch_seed(seed, "random")), kind="stable")
    difficulty = request.score.difficulty[data.pool]
    sign = 1 if request.cell.order == "easy-to-hard" else -1
    return np.lexsort((data.pool_ids.ties(seed), sign * difficulty))


def scaled(schedule: Sequence[tuple[int, float]], epochs: int) -> tuple[tuple[int, float], ...]:
    """Bring a schedule of (epochs, share) to another number of epochs, in proportion; a stage that gets none is left out.

    Example:
        >>> scaled([(10, 0.5), (10, 0.75), (20, 1.0)], 8)
        ((2, 0.5), (2, 0.75), (4, 1.0))
    """
    ends = np.floor(np.cumsum([length for length, _ in schedule]) * epochs / sum(length for length, _ in schedule) + 0.5)
    lengths = np.diff(ends, prepend=0).astype(int).tolist()
    return tuple((length, share) for length, (_, share) in zip(lengths, schedule, strict=True) if length)


def stages_by(
    masks: Sequence[Bool[np.ndarray, " examples"]], epochs: Sequence[int], *, budget: str, batch: int, n_all: int
) -> tuple[Stage, ...]:
    small = min((int(mask.sum()) for mask in masks), default=2)
    if small < 2:
        raise invalid("keep", "leave at least 2 examples to train on", small, "Keep more.")
    if budget == "epochs":
        return tuple(whole_stage(mask, length, batch) for mask, length in zip(masks, epochs, strict=True))
    steps = [length * batches_of(n_all, batch) for length in epochs]
    return tuple(stage_of_steps(mask, length, batch) for mask, length in zip(masks, steps, strict=True))


def growing(
    order: Int64[np.ndarray, " pool"], shares: Sequence[float], n_examples: int
) -> tuple[Bool[np.ndarray, " examples"], ...]:
    """Return the masks, of length `n_examples`, of the first shares of rows in the order in which they come in."""
    ends = (max(1, int(np.floor(share * len(order) + 0.5))) for share in shares)
    return tuple(np.isin(np.arange(n_examples), order[:end]) for end in ends)
