"""Is the harder or the easier part of a set worth more than a random one, as the set grows? A figure of it.

    python benchmarks/sizes.py CIFAR10 --encoder efficientnet-lite0 --out DIR [--seeds 5] [--sizes 1000,5000,10000,25000,50000]
        [--scores el2n,std,forget --earlier DIR]
    python benchmarks/sizes.py --plot docs/sizes.svg --out DIR

The first so many rows of train are scored anew and studied: the hardest at 70, 50 and 30 % kept, and windows of 40 % from
the easiest to the hardest, each against random sets of its size. It goes on where it was interrupted.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from record import record

from dataprune.data import Splits, read_splits
from dataprune.encoders import encode_splits
from dataprune.study.conditions import StudyInputs
from dataprune.study.runner import run_study
from dataprune.study.spec import StudySpec, Sweep
from dataprune.study.study import Study, open_study
from dataprune.training.settings import Hardware

STARTS = (0.0, 0.2, 0.4, 0.6)
ASKED = StudySpec("window", (Sweep("hardest", (0.7, 0.5, 0.3)), Sweep("window", (0.4,), STARTS)), ("el2n",))
SHOWN = {  # label, strategy, keep, start
    "hardest 70 %": ("hardest", 0.7, 0.0),
    "hardest 50 %": ("hardest", 0.5, 0.0),
    "hardest 40 %": ("window", 0.4, 0.6),
    "hardest 30 %": ("hardest", 0.3, 0.0),
    "easiest 40 %": ("window", 0.4, 0.0),
}
MIDDLE = {"40 % from 20 % on": ("window", 0.4, 0.2), "40 % from 40 % on": ("window", 0.4, 0.4)}  # not in the figure


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="?")
    parser.add_argument("--encoder", default="scratch")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sizes", default="1000,5000,10000,25000,50000")
    parser.add_argument("--executor", choices=("serial", "processes"), default="serial")
    parser.add_argument("--scores", default="el2n")
    parser.add_argument("--earlier", type=Path, help="the DIR of an earlier call, whose runs and trials are taken")
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    if asked.data is not None:
        splits, hardware = encode_splits(read_splits(asked.data), asked.encoder), Hardware(executor=asked.executor)
        for size in map(int, asked.sizes.split(",")):
            cut = Splits(splits.train.take(np.arange(size)), None, splits.test)
            spec = replace(ASKED, seeds=asked.seeds, scores=tuple(asked.scores.split(",")))
            before = asked.earlier and asked.earlier / str(size)
            inputs = StudyInputs(run=before / "run", reuse=(before,)) if before else StudyInputs()
            run_study(cut, spec, asked.out / str(size), inputs, hardware)
    studies = {size: open_study(asked.out / str(size)) for size in map(int, asked.sizes.split(","))}
    for score in asked.scores.split(","):
        found = {size: figures(study, score) for size, study in studies.items()}
        record("harder or easier by size", {"encoder": asked.encoder, "score": score, "by_examples": found})
    if asked.plot is not None:
        draw(studies, asked.plot)


def figures(study: Study, score: str = "el2n") -> dict[str, Any]:
    """Return what each set gains over random of its size, and what all data reach."""
    table = study.summary.table
    found: dict[str, Any] = {"all data": round(float(table["test_accuracy"][list(table["strategy"]).index("all")]), 4)}
    cells = [(one.score, one.strategy, one.keep, one.start) for one in study.summary.cells]
    for label, cell in (SHOWN | MIDDLE).items():
        row = cells.index((score, *cell))
        found[label] = [round(float(table[f"minus_random{end}"][row]), 4) for end in ("", "_low", "_high")]
    return found


def draw(studies: dict[int, Study], path: Path) -> None:
    """Draw gains over random against the size of the set, with their intervals over trainings."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.5", linewidth=1)
    found = {size: figures(study) for size, study in studies.items()}
    for place, label in enumerate(SHOWN):
        value, low, high = (100 * np.array([found[size][label][end] for size in found]) for end in range(3))
        at = np.array(list(found)) * 1.03 ** (place - len(SHOWN) / 2)  # apart, so that intervals can be told from each other
        style = "--" if label.startswith("easiest") else "-"
        axes.errorbar(at, value, [value - low, high - value], label=label, linestyle=style, marker="o", markersize=3, capsize=2)
    axes.set_xscale("log")
    axes.set_xticks(list(found), [f"{size:,}" for size in found])
    axes.minorticks_off()
    axes.set_xlabel("training examples before pruning")
    axes.set_ylabel("points against random of the same size")
    figure.legend(title="kept, by el2n", fontsize="small", loc="outside right center")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "sizes"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
