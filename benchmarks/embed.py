"""How good are features learned without labels, and does the difficulty by them agree with the one by labels?

    python benchmarks/embed.py quality DATA [--rows A:B] [--epochs N] [--effort E] [--recipe NAME] [--out FILE]
    python benchmarks/embed.py agreement DATA --run RUN --features FILE [--rows A:B]

`quality` trains SwAV on (a part of) the training split and measures the accuracy of the 20 nearest neighbours against the test
split, beside that of the bare pixels. The mark: on 10,000 pictures of CIFAR-10, within 15 minutes of one thread, 10 points over
pixels. `agreement` clusters features (of the same rows as the run) and correlates `km` with the run's `el2n`; the report has a
Pearson correlation of .53 on CIFAR-10.
"""

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from record import record
from scipy.stats import pearsonr, spearmanr

import dataprune as dp
from dataprune.data import Splits, read_features
from dataprune.run.clusters import ClusterSettings, cluster
from dataprune.run.embed import embed
from dataprune.run.encoders import EmbedProgress, EmbedSettings
from dataprune.scores import km
from dataprune.training.settings import SwavSettings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("quality", "agreement"))
    parser.add_argument("data")
    parser.add_argument("--rows", default=None)
    parser.add_argument("--effort", default="medium")
    parser.add_argument("--epochs", type=int, default=None)
    for name in ("recipe", "out", "run", "features"):
        parser.add_argument(f"--{name}", default=None)
    parser.add_argument("--clusters", default="auto")
    parser.add_argument("--image-size", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.what == "quality":
        quality(asked)
    else:
        agreement(asked)


def splits_of(asked: argparse.Namespace) -> Splits:
    splits = dp.read_splits(asked.data, image_size=asked.image_size)
    if asked.rows is None:
        return splits
    first, last = (int(part) for part in asked.rows.split(":"))
    return Splits(splits.train.take(np.arange(first, last)), None, splits.test)


def quality(asked: argparse.Namespace) -> None:
    splits = splits_of(asked)
    swav = SwavSettings(asked.effort, recipe=asked.recipe, epochs=asked.epochs, seed=asked.seed)
    seconds: list[float] = []

    def heard(progress: EmbedProgress) -> None:
        if progress.epoch is not None:
            seconds.append(progress.epoch.seconds)
            print(f"{progress.done}/{progress.total} loss {progress.epoch.loss:.3f} {progress.epoch.seconds:.1f} s", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        made = embed(splits.train, asked.out or Path(folder) / "x.npy", EmbedSettings(swav=swav), test=splits.test, listener=heard)
        wall = time.perf_counter() - begun
    about, quality = made.manifest.about, made.manifest.quality
    assert quality is not None, "the set has labels"
    record(
        "features without labels",
        {
            "n_examples": len(splits.train),
            "shape": list(splits.train.inputs.shape[1:]),
            "epochs": made.manifest.asked["epochs"],
            "recipe": made.manifest.asked["recipe"],
            "quality": asdict(quality),
            "points_over_pixels": round(100 * (quality.knn_accuracy - (quality.pixels_knn_accuracy or 0.0)), 2),
            "final_loss": about["final_loss"],
            "wall_minutes": round(wall / 60, 2),
            "processor_minutes": round(about["processor_seconds"] / 60, 2),
            "fastest_epoch_seconds": round(min(seconds), 2) if seconds else None,
            "flops": made.manifest.cost[0].flops,
            "seed": asked.seed,
        },
    )


def agreement(asked: argparse.Namespace) -> None:
    run = dp.open_run(asked.run)
    file = read_features(asked.features)
    assert file.rows == len(run.ids), f"{file.rows} features, {len(run.ids)} examples in the run"
    found = cluster(file, ClusterSettings(asked.clusters, len(run.classes), asked.seed))
    difficulty = km(file, found.clusters.centres)
    other = run.scores["el2n"].difficulty
    record(
        "km and el2n",
        {
            "n_examples": file.rows,
            "run": Path(asked.run).name,
            "features": Path(asked.features).name,
            "columns": file.width,
            "clusters": found.k,
            "pearson": round(float(pearsonr(difficulty, other)[0]), 4),
            "spearman": round(float(spearmanr(difficulty, other)[0]), 4),
            "report_pearson": 0.53,
        },
    )


if __name__ == "__main__":
    main()
