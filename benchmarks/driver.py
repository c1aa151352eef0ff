"""What does the driver of a study take for itself, and how soon is a finished study open? With trainings that only sleep.

    python benchmarks/studies.py --overhead [--trial-seconds 0.5] [--workers 2]
    python benchmarks/studies.py --open

50,000 made-up vectors and 10,000 for test; scores are random numbers. The marks: a study of 100 trials of 5 seconds takes under 2 %
beyond its trainings; a finished study of 1,000 trials is open, with its results and its summary, in under 2 seconds.
"""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data import Splits, from_arrays
from dataprune.scores import Score
from dataprune.study import run_trials
from dataprune.study.conditions import StudyInputs
from dataprune.study.runner import run_study
from dataprune.study.spec import StudySpec, Sweep
from dataprune.study.study import Study, open_study
from dataprune.training.checkpoint import training_environment
from dataprune.training.settings import Hardware
from dataprune.training.staged import StagedDone, StagedEpoch, StagedJob
from dataprune.workers import Outcome, Report

N_TRAIN, N_TEST, EPOCHS = 50_000, 10_000, 9
REAL_SECONDS = 5.0  # of a trial, by which the share is told


def pretend(seconds: float, n_test: int, jobs: Sequence[StagedJob], report: Report) -> list[Outcome]:
    """Sleep in place of each training, and report as one does."""
    return [Outcome(job.name, slept(seconds, n_test, job, report)) for job in jobs]


def slept(seconds: float, n_test: int, job: StagedJob, report: Report) -> StagedDone:
    rng = np.random.default_rng(abs(hash(job.name)) % 2**32)
    for epoch in range(1, EPOCHS + 1):
        time.sleep(seconds / EPOCHS)
        report((job.name, StagedEpoch(epoch, EPOCHS, 1 / epoch, 0.5, epoch)))
    right = rng.random(n_test) < rng.uniform(0.5, 0.9)
    return StagedDone((1.0,) * EPOCHS, (0.5,) * EPOCHS, right, 1, 1, seconds, training_environment("cpu"))


def studied(
    out: Path, *, sizes: int, scores: int, seeds: int, seconds: float, hardware: Hardware, heard: list[Any]
) -> tuple[Study, float, float]:
    """Make a study of trainings that sleep; give it, its time on the clock and the driver's own on the processor."""
    rng = np.random.default_rng(0)
    train, test = (
        from_arrays(rng.random((n, 8), np.float32), rng.integers(0, 10, n), ids=[f"{name}/{row:06d}.png" for row in range(n)])
        for name, n in (("train", N_TRAIN), ("test", N_TEST))
    )
    names = tuple(f"score{number}" for number in range(scores))
    own = tuple(Score(name, rng.random(N_TRAIN), 1, train.ids) for name in names)
    keep = tuple(round((place + 1) / (sizes + 1), 3) for place in range(sizes))
    spec = StudySpec("sweep", (Sweep("hardest", keep),), names, seeds=seeds, model="linear", recipe="fast-vectors", epochs=EPOCHS)
    run_trials.staged.train_staged = partial(pretend, seconds, N_TEST)
    begun, cpu = time.perf_counter(), time.process_time()
    done = run_study(Splits(train, None, test), spec, out, StudyInputs(scores=own), hardware, listener=heard.append)
    return done, time.perf_counter() - begun, time.process_time() - cpu


def overhead(seconds: float, workers: int) -> dict[str, Any]:
    """Measure what 100 trials take beyond themselves."""
    with tempfile.TemporaryDirectory() as folder:
        heard: list[Any] = []
        hardware = Hardware(executor="processes", workers=workers)
        done, wall, cpu = studied(Path(folder) / "s", sizes=8, scores=2, seeds=4, seconds=seconds, hardware=hardware, heard=heard)
    n_trials = len(done.trials["trial"])
    beyond = wall - n_trials * seconds / workers
    return {
        "trials": n_trials,
        "trial_seconds": seconds,
        "workers": workers,
        "wall_seconds": round(wall, 2),
        "beyond_seconds": round(beyond, 2),
        "share_of_5_second_trials": round(beyond / (n_trials * REAL_SECONDS / workers), 4),
        "driver_processor_seconds": round(cpu, 2),
        "driver_share_of_5_second_trials": round(cpu / (n_trials * REAL_SECONDS / workers), 4),
        "driver_seconds_a_trial": round(cpu / n_trials, 4),
    }


def opening() -> dict[str, Any]:
    """Measure how soon a study of a thousand trials is open."""
    with tempfile.TemporaryDirectory() as folder:
        hardware = Hardware(executor="serial")
        done, wall, cpu = studied(Path(folder) / "s", sizes=9, scores=36, seeds=3, seconds=0.0, hardware=hardware, heard=[])
        figures: dict[str, Any] = {"trials": len(done.trials["trial"]), "made_seconds": round(wall, 2)}
        parts = {
            "open": lambda one: one.trials,
            "results": lambda one: one.results,
            "summary": lambda one: one.summary,
        }
        begun, cpu = time.perf_counter(), time.process_time()
        study = open_study(done.path)
        for name, part in parts.items():
            part(study)
            figures[f"{name}_seconds"] = round(time.perf_counter() - begun, 3)
            figures[f"{name}_processor_seconds"] = round(time.process_time() - cpu, 3)
    return figures
