"""What wants a GPU, in one run: is it right, what share of the device does training reach, how long do scoring and a study take?

    benchmarks/gpu.sh [DATA] [--only right,share,scoring,sweep]
    benchmarks/gpu.sh --device cpu --small         (the same path in half a minute, to see that all of it runs)

DATA is CIFAR-10; without it pictures of the same number and size are made up, which take the same time. The marks: every check of
`right` within its tolerance; 10 members of 10 epochs on 50,000 pictures, reading included, in under 60 seconds on one H200.
A line is recorded after each part, so a time limit loses only what comes after it.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import engine
import numpy as np
import record as records
from gpu_checks import checks

import dataprune as dp
from dataprune.data import Splits, from_arrays, read_splits
from dataprune.errors import DatapruneError
from dataprune.precision import choose
from dataprune.study.conditions import StudyInputs
from dataprune.study.presets import preset
from dataprune.study.runner import run_study
from dataprune.study.spec import Sweep
from dataprune.training.fit import Fit, Training, forward_flops, one_thread
from dataprune.training.inputs import Inputs, open_device
from dataprune.training.recipes import RECIPES

MARK_SECONDS = 60.0


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    examples: int = 50_000
    members: int = 10
    epochs: int = 10
    square: int = 8192  # side of the matrices whose product is timed
    steps: int = 50
    trained: tuple[tuple[str, int], ...] = (
        ("proxy", 128),
        ("proxy", 1024),
        ("proxy-wide", 128),
        ("resnet18", 128),
        ("resnet18", 1024),
    )
    against_bare: tuple[str, ...] = ("proxy", "resnet18")
    sweep: int = 5_000
    sweep_epochs: int = 0  # follows from the number of examples
    digits: int = 1_437


SMALL = Scale(
    examples=120,
    members=2,
    epochs=8,
    square=256,
    steps=2,
    trained=(("proxy", 32),),
    against_bare=(),
    sweep=90,
    sweep_epochs=8,
    digits=300,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="?")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes: does every part run?")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--results", type=Path, default=None, help="append here, not to results.jsonl")
    asked = parser.parse_args()
    if unknown_choice := sorted(set(asked.only.split(",")) - set(PARTS)):
        parser.error(f"--only must be of {', '.join(PARTS)}, got {', '.join(unknown_choice)}")
    records.RESULTS = asked.results or records.RESULTS
    try:
        open_device(asked.device)
        bad = work(asked, SMALL if asked.small else Scale())
    except DatapruneError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if bad:
        print(f"error: {asked.device} does not agree with the CPU: {', '.join(bad)}.", file=sys.stderr)
        sys.exit(1)


def work(asked: argparse.Namespace, scale: Scale) -> list[str]:
    """Do the parts that are asked for, and name the checks that failed."""
    splits, origin = data_of(asked.data, scale)
    bad = []
    for name in asked.only.split(","):
        begun = time.perf_counter()
        figures = PARTS[name](splits, asked.device, scale)
        if name == "right":
            bad = [check for check, found in figures.items() if not found["ok"]]
        took = round(time.perf_counter() - begun, 2)
        records.record(f"gpu: {name}", origin | figures | {"seconds_of_this_part": took}, asked.device)
    return bad


def data_of(path: str | None, scale: Scale) -> tuple[Splits, dict[str, Any]]:
    """Read the set, or make one up; say which, and how long reading took."""
    begun = time.perf_counter()
    if path is None:
        splits = Splits(made_up(scale.examples, 0), None, made_up(max(100, scale.examples // 5), 1))
        return splits, {"data": "made up"}
    splits = read_splits(path)
    rows = np.arange(min(len(splits.train), scale.examples))
    splits = Splits(splits.train.take(rows), splits.validation, splits.test)
    return splits, {"data": Path(path).name, "read_seconds": round(time.perf_counter() - begun, 2)}


def made_up(examples: int, seed: int) -> dp.Dataset:
    """Return pictures of ten classes, each a coarse pattern under noise: a network learns some of it."""
    patterns = np.random.default_rng(10).integers(64, 192, (10, 4, 4, 3))
    draw = np.random.default_rng(seed)
    labels = np.arange(examples) % 10
    images = np.empty((examples, 32, 32, 3), np.uint8)
    for start in range(0, examples, 5_000):
        block = patterns[labels[start : start + 5_000]].repeat(8, 1).repeat(8, 2)
        images[start : start + 5_000] = np.clip(block + draw.normal(0, 40, block.shape), 0, 255)
    return from_arrays(images, labels, ids=[f"{seed}-{row}" for row in range(examples)])


def right(splits: Splits, device: str, scale: Scale) -> dict[str, Any]:
    """Compare everything that computes on a device with the CPU."""
    return checks(device, scale.digits)


def share(splits: Splits, device: str, scale: Scale) -> dict[str, Any]:
    """Measure the device's rate of matrix products, and what share of it training and looking reach."""
    with one_thread(device):
        rate = engine.product_rate(device, scale.square, choose("auto", device).precision)
        trained = {f"{model}, batch {batch}": rates(splits.train, model, batch, device, scale) for model, batch in scale.trained}
        bare = {model: engine.compare(model, 32, device, 3, choose("auto", device).precision) for model in scale.against_bare}
    for one in trained.values():
        one["share"] = round(one["train_teraflops"] / rate, 4)
    return {"product_teraflops": float(f"{rate:.4g}"), "training": trained, "against_bare_loop": bare}


def rates(data: dp.Dataset, model: str, batch: int, device: str, scale: Scale) -> dict[str, float]:
    """Train and look at some pictures with the engine."""
    assert data.images is not None
    assert data.labels is not None
    n = min(len(data), scale.steps * batch)
    recipe, precision = dataclasses.replace(RECIPES["fast"], batch=batch), choose("auto", device).precision
    training = Training(model, recipe, 3, 0, data.n_classes, device, precision)
    fit = Fit(training, Inputs(data.images[:n], "own", device), data.labels[:n], np.ones(n, bool))
    recorder = dp.Recorder(data.labels[:n], data.n_classes, 2)
    epochs = iter(range(2))

    def look() -> None:
        epoch = next(epochs)
        for rows, logits, features in fit.predict():
            recorder.update(rows, logits, epoch, features)

    train, look_seconds = engine.timed(fit.train_epoch, device), engine.timed(look, device)
    flops = 3 * forward_flops(model, fit.inputs.shape, data.n_classes)
    return {
        "train_images_per_second": round(n / train, 1),
        "look_images_per_second": round(n / look_seconds, 1),
        "train_teraflops": round(flops * n / train / 1e12, 4),
    }


def scoring(splits: Splits, device: str, scale: Scale) -> dict[str, Any]:
    """Score the whole set by the full ensemble, members one after the other and several at once."""
    settings = dp.Settings(members=scale.members, epochs=scale.epochs, folds=0)
    found: dict[str, Any] = {"n_examples": len(splits.train), "members": scale.members, "epochs": scale.epochs}
    several = dp.Hardware(device, "processes")
    machines = {"one at a time": dp.Hardware(device, "serial"), f"{several.executor_config(device).workers} at once": several}
    for name, hardware in machines.items():
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            run = dp.score(splits.train, Path(folder) / "run", settings, hardware)
            wall = time.perf_counter() - begun
        members = run.manifest.members
        found[name] = {
            "wall_seconds": round(wall, 2),
            "member_seconds": [round(one.seconds, 2) for one in members],
            "after_training_seconds": run.manifest.cost[1].wall_seconds,
            "status": sorted({one.status for one in members}),
            "accuracy": round(float(np.mean([one.accuracy for one in members])), 4),
        }
    found["mark_seconds"] = MARK_SECONDS
    return found


def sweep(splits: Splits, device: str, scale: Scale) -> dict[str, Any]:
    """Run a small study: two sizes by el2n against random and all data, two seeds."""
    train = splits.train.take(np.arange(min(scale.sweep, len(splits.train))))
    parts = (Sweep("hardest", (0.8, 0.4)),)
    spec = dataclasses.replace(preset("sweep"), parts=parts, scores=("el2n",), seeds=2, epochs=scale.sweep_epochs)
    sources = StudyInputs(settings=dp.Settings(members=2, epochs=scale.sweep_epochs or None, folds=0))
    with tempfile.TemporaryDirectory() as folder:
        made = run_study(Splits(train, None, splits.test), spec, Path(folder) / "study", sources, dp.Hardware(device, "serial"))
        table, trials = made.summary.table, made.trials
        return {
            "n_train": int(trials["n_train"].max()),
            "trials": len(set(trials["trial"].tolist())),
            "failed": len(made.failed),
            "train_seconds_median": round(float(np.nanmedian(trials["train_seconds"])), 3),
            "cells": [
                {"score": str(table["score"][row]), "keep": float(table["keep"][row]), "accuracy": round(float(one), 4)}
                for row, one in enumerate(table["test_accuracy"])
            ],
        }


PARTS: dict[str, Callable[[Splits, str, Scale], dict[str, Any]]] = {
    "right": right,
    "share": share,
    "scoring": scoring,
    "sweep": sweep,
}

if __name__ == "__main__":
    main()
