"""What a strategy looks at: a score by name (of a run, a file or a function of the trace), features, what networks say."""

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from dataprune import store, tables
from dataprune.data import Dataset, read_features
from dataprune.encoders import encode
from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.run.features import match
from dataprune.run.run import Run, undamaged
from dataprune.scores import ALIASES, FEATURE_SCORES, NETWORK_SCORES, SCORES, Score, canonical, score_trace
from dataprune.selection import STRATEGIES, Views
from dataprune.trace import open_member
from dataprune.training.recipes import TREES
from dataprune.training.settings import ScoreReading

if TYPE_CHECKING:
    from dataprune.training.features import MemberNetwork

logger = logging.getLogger(__name__)

SCORE_FILES = (".csv", ".parquet", ".npy")
Source = str | Path | Dataset | None  # of the data, where they have moved
ALL_VIEWS = ("features", "probabilities", "p_label")


def needs_of(strategies: Iterable[str]) -> frozenset[str]:
    """Return what strategies look at beside the score; one of your own looks at everything that is there."""
    rules = [name for name in strategies if name != "random"]
    return frozenset(need for name in rules for need in (ALL_VIEWS if ":" in name else STRATEGIES[name].needs))


def views_of(run: Run, needs: Collection[str], features: str | Path | None = None, cut_by: np.ndarray | None = None) -> Views:
    """Return what strategies look at: features of a file, else those that the run has; what networks say, of those that did not see
    the example where there are such. What is not in `needs`, or not there, is passed over; `cut_by` is the difficulty by which
    `stratified` cuts."""
    found: dict[str, np.ndarray] = {} if cut_by is None else {"cut_by": cut_by}
    if "features" in needs and (rows := _features(run, features)) is not None:
        found["features"] = rows
    if "probabilities" in needs:
        which: Literal["all", "out"] = "all" if run.trace.trained_on.all(axis=0).any() else "out"
        found["probabilities"] = np.concatenate([chunk.probabilities(which) for chunk in run.trace.chunks()])
    if "p_label" in needs:
        found["p_label"] = np.concatenate([chunk.channel("p_label").mean(axis=0) for chunk in run.trace.chunks()], axis=1)
    return Views(**found)


def _features(run: Run, given: str | Path | None) -> np.ndarray | None:
    """Read the features of a file; without one those that the run was scored with, or learned from, where they still lie there."""
    if given is not None:
        return match(read_features(given), run.ids).by_example()
    with suppress(InputError):
        return match(run.features(), run.ids).by_example()
    with suppress(InputError):
        return encode(run.dataset(), run.eyes).features
    return None


def score_named(
    run: Run,
    by: str,
    data: Source = None,
    *,
    until: int | None = None,
    window: int | None = None,
    evidence: Literal["all", "in", "out"] = "all",
) -> Score:
    """Return a score of a run by name: a column of it, or computed now from its trace, its features or its networks.

    Scores of networks (`prediction_depth`, `vog`) look at the data again.

    Args:
        by: of the run or the tables; `FILE` or `FILE:COLUMN` of a score made elsewhere; or `module:function` of the trace.
        data: those that were scored, where they have moved or were arrays.
        until, evidence, window: the epoch after which training ends, else as of `score_trace`; for scores of the trace alone.

    Raises:
        InputError: there is no such score (the nearest name is offered), or what it needs is not there.
    """
    own, reading = ":" in by.strip(":") and not is_score_file(by), ScoreReading(until, window, evidence)
    if by not in run.scores and is_score_file(by) and reading == ScoreReading():
        return score_of_file(by, run.ids, run.labels)
    if reading == ScoreReading() and not own:
        return known_score(run, by, data, option="by")
    name = canonical(by)
    if name not in SCORES and not own:
        raise invalid("by", "name a score of the trace with --until, --window or --evidence", repr(by))
    trace = run.trace if until is None else run.trace.until(until)
    score = score_trace(trace, [name], evidence=evidence, window=window)[name]
    return replace(score, name=f"{name} ({reading.words})") if reading.words else score


def known_score(run: Run, name: str, data: Source = None, *, option: str = "score") -> Score:
    """Return a score of the run; one of the tables that it has no column of is computed from its trace, networks or features.
    InputError where there is no such score, or it is absent; no name of code or of a file is followed."""
    ours = name if name in run.scores else canonical(name)
    if ours in run.scores:
        return run.scores[ours]
    if ours in NETWORK_SCORES:
        values = np.mean([NETWORK_SCORES[ours].function(one, run.labels) for one in networks_of(run, ours, data)], axis=0)
        return Score(ours, values, NETWORK_SCORES[ours].harder, run.ids, run.labels)
    if ours in SCORES:
        return score_trace(run.trace, [ours])[ours]
    if (spec := FEATURE_SCORES.get(ours)) is not None:
        file = run.features()  # or what to do where there are none
        if spec.function is not None:
            values = spec.function(match(file, run.ids).by_example(), run.labels, run.manifest.spec.seed)
            return Score(ours, values, spec.harder, run.ids, run.labels)
    if ours in run.scores.absent:
        return run.scores[ours]  # raises why
    there = {*run.scores, *SCORES, *NETWORK_SCORES, *(one for one, other in FEATURE_SCORES.items() if other.function)}
    raise unknown_choice(option, name, there, also=ALIASES)


def networks_of(run: Run, name: str, data: Source = None) -> "Iterator[MemberNetwork]":
    """Open a run's networks one by one with its data, which are read again; a stored name of code is not followed."""
    spec, recipe = run.manifest.spec, run.manifest.spec.recipe
    if recipe is None or ":" in spec.model or spec.model == TREES.name or (spec.encoder is not None and run.eyes == "scratch"):
        raise InputError(f"{name} needs networks that can be built again; those of {run.path} are {run.manifest.spec.networks}.")
    if NETWORK_SCORES[name].recorded and name not in spec.record:
        raise InputError(f"{name} needs more than {run.path} holds. Score with --record {name}.")
    from dataprune.training.features import Built, MemberNetwork

    dataset, built = encode(run.dataset(data), run.eyes), Built(spec.model, recipe.normalise, spec.n_classes)
    for one in run.manifest.learned:
        yield MemberNetwork(dataset, open_member(undamaged(run.path / str(one.file), one.sha256)), built)


def is_score_file(name: str) -> bool:
    return any(Path(one).suffix in SCORE_FILES for one in (name, name.rpartition(":")[0])) or Path(name).is_file()


def score_of_file(spec: str, ids: np.ndarray, labels: np.ndarray | None = None) -> Score:
    """Read a score made elsewhere, by the column that names the examples, else by row; which of them is logged. A column of a
    `scores.parquet` keeps its direction; any other is a difficulty, higher is harder. What dataprune wrote must be as it was
    written."""
    store.as_written(Path(spec) if Path(spec).is_file() else Path(spec.rpartition(":")[0] or spec))
    sheet = tables.read_sheet(spec, "score")
    joined = sheet.join(ids.tolist(), "by")
    column = sheet.wanted(joined.key)
    values = sheet.typed(column)[joined.rows]
    for note in joined.notes(spec):
        logger.warning("%s", note)
    if values.dtype.kind in "iu" and len(values) > 2 and np.array_equal(np.sort(values), np.arange(len(values))):
        raise invalid("by", "be a score of each example", f"a ranking, every number from 0 to {len(values) - 1} once, in {spec}")
    file = tables.split_spec(spec)[0]
    said = tables.read_table(file, [column]).metadata.get(column, {}) if file.suffix.lower() == ".parquet" else {}
    return Score(Path(spec).name, values, -1 if said.get("harder") == -1 else 1, ids, labels)
