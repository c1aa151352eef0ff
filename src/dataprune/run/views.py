"""What a run and a feature file show a strategy beside the score."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from dataprune.data import read_features
from dataprune.errors import InputError
from dataprune.run.features import match
from dataprune.run.run import Run
from dataprune.selection import STRATEGIES, Views

ALL = ("features", "probabilities", "p_label")


def needs_of(strategies: Iterable[str]) -> frozenset[str]:
    """Return what strategies look at; one of your own looks at everything that is there."""
    return frozenset(need for name in strategies if name != "random" for need in (ALL if ":" in name else STRATEGIES[name].needs))


def views_of(run: Run, needs: Collection[str], features: str | Path | None = None, cut_by: np.ndarray | None = None) -> Views:
    """Return what strategies look at: features of a file, else those that the run has; what networks say.

    Probabilities are those of networks that did not see the example where there are such, else of all.

    Args:
        needs: of "features", "probabilities" and "p_label"; others are passed over, and so is what is not there.
        cut_by: difficulty by which `stratified` cuts.
    """
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
    try:
        file = run.features() if given is None else read_features(given)
    except InputError:
        if given is not None:
            raise
        try:
            return run.dataset().features
        except InputError:
            return None
    matched = match(file, run.ids)
    return np.asarray(np.concatenate(list(matched))[matched.place])
