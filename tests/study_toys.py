"""Vectors of three classes that a linear network learns at once, cut into splits, and a study of them that takes a second."""

from dataclasses import replace

import numpy as np

from dataprune.data import Splits, from_arrays
from dataprune.study.conditions import StudyInputs
from dataprune.study.presets import preset
from dataprune.study.results_table import Cell
from dataprune.study.runner import run_study
from dataprune.study.spec import Sweep
from dataprune.study.trial import Trial
from dataprune.training.recipes import RECIPES
from dataprune.training.settings import Hardware, Settings
from dataprune.training.staged import Stage

SERIAL = Hardware(executor="serial")
SCORING = Settings(folds=0, members=2, epochs=6, model="linear", recipe="fast-plain", batch=16)


def vectors(count, seed=0, name="t", spread=1.0):
    """Make `count` vectors around three centres."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    x = draw.normal(size=(count, 4)) * spread + np.eye(3, 4)[labels] * 2
    return from_arrays(x.astype(np.float32), labels, ids=[f"{name}{row}" for row in range(count)])


def toy_splits(validation=False):
    """Return train and test, and perhaps a validation split of their own."""
    return Splits(vectors(120), vectors(30, 2, "v") if validation else None, vectors(45, 1, "e"))


def toy_spec(name="sweep", **changes):
    """Return a preset whose trials take milliseconds."""
    quick = {"model": "linear", "recipe": "fast-plain", "epochs": 3, "batch": 16, "seeds": 2}
    if name in ("half", "sweep", "window", "easy-vs-hard", "noise-window", "curriculum"):
        quick["scores"] = ("el2n", "forget")
    if name == "half":
        quick["parts"] = (Sweep("hardest", (0.5,)),)
    if name == "noise-window":
        quick["parts"] = (Sweep("window", (0.4,), (0.0, 0.3, 0.6)),)
    return replace(preset(name), **{**quick, **changes})


def toy_study(out, spec=None, splits=None, sources=None, **options):
    """Make a study in this process."""
    spec = toy_spec() if spec is None else spec
    sources = StudyInputs(settings=SCORING) if sources is None else sources
    sources = replace(sources, retry_failed=options.pop("retry_failed", False))
    hardware = options.pop("hardware", SERIAL)
    return run_study(toy_splits() if splits is None else splits, spec, out, sources, hardware, **options)


def toy_trial(**changes):
    """Return a trial that nobody trains."""
    stages = (Stage(np.ones(10, bool), 3, 6),)
    like = Trial(Cell("all", "all", 1.0), "t" * 64, "v", "e" * 64, stages, ("a" * 64,), "linear", RECIPES["fast"], 3, 0)
    return replace(like, **changes)
