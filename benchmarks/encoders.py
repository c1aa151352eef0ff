"""What pretrained encoders bring: wrong labels found with them, beside and without networks from scratch; their speed.

    python benchmarks/encoders.py labels FLOWERS --inject uniform:0.1
    python benchmarks/encoders.py labels CIFAR10 --labels FILE:random1 FILE:aggregate --truth FILE:clean [--rows A:B]
        --encoder efficientnet-lite0 [--pixels SIDE] [--scratch] [--device cuda] [--out DIR]
    python benchmarks/encoders.py labels FLOWERS --inject uniform:0.1 --model encoder-tuned
    python benchmarks/encoders.py labels banking77/train.csv --inject uniform:0.1 [--encoder all-minilm-l6-v2]

`labels` scores with defaults (five folds) and finds, by an encoder's vectors or a model trained on the pictures; with --scratch
also by the default networks, alone and joined (the mean of their logarithms). A line is recorded after each part, so that a time
limit loses only what comes after it; with --out runs are kept there, and the same command goes on.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import noise as finding
import numpy as np
from record import record

import dataprune as dp
from dataprune import noise
from dataprune.data import Dataset
from dataprune.encoders import Encoding, pictures
from dataprune.noise import Evidence
from dataprune.run.evidence import evidence_of
from dataprune.training import models
from dataprune.training.settings import Hardware


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("labels",))
    parser.add_argument("data")
    parser.add_argument("--labels", nargs="+", default=[])
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--pixels", type=int, help="enlarge small pictures to so many, in one process")
    parser.add_argument("--encoder", default="auto")
    parser.add_argument("--model", help="to train on the pictures in place of an encoder's vectors")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cpu")
    for name in ("truth", "inject", "rows"):
        parser.add_argument(f"--{name}")
    asked = parser.parse_args()
    labels(asked)


def labels(asked: argparse.Namespace) -> None:
    begun = time.perf_counter()
    data = dp.read(asked.data, labels=asked.truth, on_error="skip")
    rows = np.arange(len(data)) if asked.rows is None else np.arange(*map(int, asked.rows.split(":")))
    data, given = data.take(rows), {}
    truth = np.asarray(data.labels)
    for name in asked.labels:
        given[name.rpartition(":")[2]] = np.asarray(dp.read(asked.data, labels=name).labels)[rows]
    if asked.inject:
        kind, rate = asked.inject.split(":")
        given[asked.inject] = noise.inject_noise(truth, float(rate), kind, n_classes=data.n_classes, ids=data.ids.tolist())
    if asked.pixels:
        assert data.images is not None
        pictures.ENLARGED, models.TUNED_SIDE = asked.pixels // data.images.shape[1], asked.pixels
    seconds = {"read": time.perf_counter() - begun}
    begun = time.perf_counter()
    how = Encoding(asked.device, workers=1 if asked.pixels else None)  # here, where the side was set
    eyes = data if asked.model else dp.encode(data, asked.encoder, how)
    seconds["encode"] = time.perf_counter() - begun
    seen = {name: judged(eyes.with_labels(one), truth, asked, name, seconds, asked.model) for name, one in given.items()}
    for name, one in given.items() if asked.scratch else ():
        alone = judged(data.with_labels(one), truth, asked, name, {})
        say(name, noise.find(joined(alone, seen[name])), truth, asked.device, {"by": "both"})


def judged(
    data: Dataset, truth: np.ndarray, asked: argparse.Namespace, name: str, seconds: dict[str, float], model: str | None = None
) -> Evidence:
    """Score, find, record."""
    begun = time.perf_counter()
    by = model or ("scratch" if data.encoder is None else f"{data.encoder.name}, {data.encoder.preprocessing}")
    with tempfile.TemporaryDirectory() as folder:
        out = (asked.out or Path(folder)) / f"{name} {by}".replace(" ", "-").replace("/", "").replace(":", "-")
        eyes = "scratch" if data.encoder is None else "auto"
        hardware = Hardware(asked.device, "serial" if asked.pixels else None)
        run = dp.score(data, out, dp.Settings(folds=5, model=model), hardware, encoder=eyes)
        evidence = evidence_of(run)
    scored = time.perf_counter()
    found = noise.find(evidence)
    took = {"score": scored - begun, "find": time.perf_counter() - scored}
    say(name, found, truth, asked.device, {"by": by, "seconds": {part: round(one, 1) for part, one in (seconds | took).items()}})
    return evidence


def joined(scratch: Evidence, eyes: Evidence) -> Evidence:
    """Take the geometric mean of what both say who did not see the label; of those who did, networks from scratch speak."""
    assert scratch.out_of_sample is not None
    assert eyes.out_of_sample is not None
    both = np.sqrt(np.maximum(scratch.out_of_sample, 1e-4) * np.maximum(eyes.out_of_sample, 1e-4))
    alone = Evidence(scratch.labels, out_of_sample=both / both.sum(axis=1, keepdims=True))
    return replace(scratch, out_of_sample=alone.out_of_sample, count_from=alone)


def say(name: str, found: noise.Suspects, truth: np.ndarray, device: str, about: dict[str, object]) -> None:
    numbers = (found.n_wrong, found.n_wrong_low, found.n_wrong_high)
    estimated = [None if one is None else round(one) for one in numbers]
    checked = finding.summary(noise.evaluate_suspects(found, truth))
    wrong = int((found.labels != truth).sum())
    figures = {"what": name, "wrong": wrong, "estimated": estimated, "accuracy": found.accuracy, **checked, **about}
    record("encoders", {name: round(one, 4) if isinstance(one, float) else one for name, one in figures.items()}, device)


if __name__ == "__main__":
    main()
