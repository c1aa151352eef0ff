"""What studies show and what they take: the seven presets on digits; `sweep` and `window` on photographs and on CIFAR-10.

    python benchmarks/studies.py digits [--out DIR]
    python benchmarks/studies.py FLOWERS [--encoder NAME] [--out DIR]
    python benchmarks/studies.py CIFAR10 --rows 0:5000 [--only PRESET] [--run RUN] [--out DIR]
    python benchmarks/studies.py --overhead | --open            (see driver.py)

Three seeds, default models and recipes, `km` from the pixels' main directions (without an encoder). The marks: on digits all
presets together in 15 minutes on two idle cores; at most 30 seconds a trial on 5,000 pictures of CIFAR-10.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import driver
import numpy as np
from record import record

from dataprune.data import Splits, read_splits
from dataprune.encoders import encode_splits
from dataprune.study.conditions import PIXELS, RUN, StudyInputs
from dataprune.study.presets import preset
from dataprune.study.runner import run_study
from dataprune.study.spec import StudySpec, Sweep
from dataprune.study.study import Study

SCORES = ("el2n", "std", "forget")
SEVEN = ("half", "sweep", "window", "easy-vs-hard", "noise-window", "clusters", "curriculum")


def asked_of(data: str, seeds: int) -> list[StudySpec]:
    """Return the studies of a set."""
    if data == "digits":
        return [replace(preset(name), seeds=seeds) for name in SEVEN]
    sweep = replace(preset("sweep"), parts=(Sweep("hardest", (0.9, 0.7, 0.5, 0.3)),), scores=(*SCORES, "km"), seeds=seeds)
    window = replace(
        preset("window"), parts=(Sweep("window", (0.4,), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),), scores=SCORES, seeds=seeds
    )
    return [sweep, window]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="?")
    parser.add_argument("--rows", default=None, help="of train, FIRST:LAST")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default=None)
    parser.add_argument("--only", default=None, help="one of the presets")
    parser.add_argument("--run", default=None, help="a finished run of the training part, that need not be made then")
    parser.add_argument("--overhead", action="store_true", help="of 100 trials that sleep")
    parser.add_argument("--trial-seconds", type=float, default=0.5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--encoder", default="scratch", help="train probes on its vectors")
    parser.add_argument("--open", action="store_true", help="a finished study of 1,000 trials")
    asked = parser.parse_args()
    if asked.overhead:
        record("driver of a study", driver.overhead(asked.trial_seconds, asked.workers))
    if asked.open:
        record("opening a study", driver.opening())
    if asked.data is None:
        return
    splits = read_splits(asked.data)
    if asked.rows:
        first, last = (int(part) for part in asked.rows.split(":"))
        splits = Splits(splits.train.take(np.arange(first, last)), splits.validation, splits.test)
    splits = encode_splits(splits, asked.encoder)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(asked.out or temporary)
        done: list[str] = []
        for spec in asked_of(asked.data, asked.seeds):
            if splits.train.encoder is not None:
                spec = replace(spec, scores=SCORES)
            if asked.only not in (None, spec.preset):
                continue
            begun = time.perf_counter()
            sources = StudyInputs(
                run=out / done[0] / RUN if done else None if asked.run is None else Path(asked.run),
                features=PIXELS if "km" in spec.scores else None,
                reuse=tuple(out / name for name in done),
            )
            made = run_study(splits, spec, out / spec.preset, sources)
            done.append(spec.preset)
            figures = {
                "data": Path(asked.data).name,
                "encoder": asked.encoder,
                "preset": spec.preset,
                "n_train": int(made.trials["n_train"].max()),
            }
            record("study", figures | figures_of(made, time.perf_counter() - begun))


def figures_of(made: Study, seconds: float) -> dict[str, Any]:
    """Return a study's times and what it shows."""
    trials, summary = made.trials, made.summary
    names: tuple[str, ...] = ("score", "strategy", "keep", "start", "arm", "order", "clusters")
    names += ("test_accuracy", "low", "high", "minus_random", "minus_random_low", "minus_random_high", "verdict")
    rows = range(len(summary.table["keep"]))
    return {
        "trials": len(set(trials["trial"].tolist())),
        "failed": len(made.failed),
        "seeds": made.spec.seeds,
        "epochs": int(trials["epochs"][0]),
        "wall_minutes": round(seconds / 60, 2),
        "train_seconds": {
            "median": round(float(np.nanmedian(trials["train_seconds"])), 2),
            "longest": round(float(np.nanmax(trials["train_seconds"])), 2),
        },
        "table": [{n: _plain(summary.table[n][row]) for n in names if n in summary.table} for row in rows],
        "areas": [{k: _plain(v) for k, v in vars(area).items() if k != "absent"} for area in summary.areas],
        "droppable": [{k: _plain(v) for k, v in vars(one).items()} for one in summary.droppable],
        "notes": list(map(str, summary.notes)),
    }


def _plain(value: Any) -> Any:
    """Return what JSON can say, figures with five digits."""
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else round(float(value), 5)
    return value.item() if isinstance(value, np.generic) else value


if __name__ == "__main__":
    main()
