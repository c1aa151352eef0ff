"""Cost against quality of scoring: the tricks of fast CIFAR training, tried on all of CIFAR-10 with the human labels `random1`.

    python benchmarks/frontier.py CIFAR10 --device cuda --out DIR [--seconds 110] [--workers 14] [--only NAME,NAME]
    python benchmarks/frontier.py CIFAR10 --judge DIR            (quality of what was trained, and the record)
    python benchmarks/frontier.py CIFAR10 --device cpu --time    (what each costs on one thread of this CPU)

Each candidate is trained with two seeds on everything, and on rows 10,000-19,999 in five folds. Quality is AUROC and average
precision of el2n for the wrong labels, mirror images heard, of one member (and without them) and of two, the rank correlation with
ten other members of the default, and the average precision of `noise find`. No training starts after `--seconds`.
"""

import argparse
import json
import multiprocessing
import queue
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frontier_tricks import Candidate, Set, Trainer
from record import record
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

import dataprune as dp
from dataprune import noise
from dataprune.training.ensemble import assign_folds

REFERENCE, FOLDS = range(2, 12), 5
FOLD_ROWS = slice(10_000, 20_000)
FOLD_EPOCHS = 1.4  # times those of the whole set, as the defaults have it for 8,000 pictures
BASE = Candidate()
MUON = replace(BASE, muon=0.05, muon_momentum=0.6)
ALL = replace(MUON, whiten=True, smoothing=0.1, alternate=True)
LARGER = {"batches": ((256, 1.0),), "peak": 0.15, "muon": 0.07}  # batches, and rates for them
SHORT = replace(MUON, smoothing=0.1, **LARGER)  # type: ignore[arg-type]


def small(side: int, share: float) -> tuple[tuple[int, float], ...]:
    """Give the sides of a training whose first share is on smaller pictures."""
    return (side, share), (32, 1 - share)


def growing(*epochs: int) -> tuple[tuple[int, float], ...]:
    """Give the sides of a training that spends so many epochs on pictures of 16, 24 and 32 pixels."""
    return tuple((side, n / sum(epochs)) for side, n in zip((16, 24, 32), epochs, strict=True))


CANDIDATES: dict[str, Candidate] = {  # in the order in which they are trained
    "base": BASE,
    "6 epochs": replace(BASE, epochs=6),
    "5 epochs": replace(BASE, epochs=5),
    "10, alternating": replace(BASE, alternate=True),
    "10, smoothing .1": replace(BASE, smoothing=0.1),
    "10, muon": MUON,
    "6, muon": replace(MUON, epochs=6),
    "10, all": ALL,
    "8, all": replace(ALL, epochs=8),
    "6, all": replace(ALL, epochs=6),
    "5, all": replace(ALL, epochs=5),
    "7, all, small": replace(ALL, epochs=7, sides=small(24, 0.5)),
    "8, all, small": replace(ALL, epochs=8, sides=small(24, 0.5)),
    "8, all, small for 6": replace(ALL, epochs=8, sides=small(24, 0.75)),
    "8, all, small, smoothing .2": replace(ALL, epochs=8, sides=small(24, 0.5), smoothing=0.2),
    "8, all, small, shifts x 8": replace(ALL, epochs=8, sides=small(24, 0.5), norm_rate=8.0),
    "8, all, small, freeze": replace(ALL, epochs=8, sides=small(24, 0.5), freeze=0.5),
    "8, all, small, batch 256": replace(ALL, epochs=8, sides=small(24, 0.5), **LARGER),  # type: ignore[arg-type]
    "6, all, small, batch 256": replace(ALL, epochs=6, sides=small(24, 0.5), **LARGER),  # type: ignore[arg-type]
    "8, all, small, batch 512": replace(ALL, epochs=8, sides=small(24, 0.5), batches=((512, 1.0),), peak=0.25, muon=0.1),
    "8, short, small": replace(SHORT, epochs=8, sides=small(24, 0.5)),
    "7, short, small": replace(SHORT, epochs=7, sides=small(24, 0.5)),
    "6, short, small": replace(SHORT, epochs=6, sides=small(24, 0.5)),
    "7, short, small for 3": replace(SHORT, epochs=7, sides=small(24, 0.43)),
    "7, short, small, smoothing .2": replace(SHORT, epochs=7, sides=small(24, 0.5), smoothing=0.2),
    "7, short, small, shifts x 8": replace(SHORT, epochs=7, sides=small(24, 0.5), norm_rate=8.0),
    "8, short, 20 pixels first": replace(SHORT, epochs=8, sides=small(20, 0.5)),
    "8, short, growing": replace(SHORT, epochs=8, sides=growing(2, 2, 4)),
    "8, short, growing later": replace(SHORT, epochs=8, sides=growing(3, 2, 3)),
    "7, short, growing": replace(SHORT, epochs=7, sides=growing(2, 1, 4)),  # as the recipe `progressive`
}
Task = tuple[str, int | str]  # a candidate and a seed, or "folds"


def tasks(names: list[str]) -> list[Task]:
    """List what is trained: two seeds of each candidate, the reference, then the folds."""
    seeds: list[Task] = [(name, seed) for name in names for seed in (0, 1)]
    reference: list[Task] = [("base", seed) for seed in REFERENCE] if "base" in names else []
    half = len(seeds) // 2
    return seeds[:half] + reference + seeds[half:] + [(name, "folds") for name in names]


def probabilities(trainer: Trainer, *, mirrored: bool = False) -> np.ndarray:
    """Return (N, K) what the network says of clean pictures, or of their mirror images."""
    return torch.cat([logits.float().softmax(1) for logits in trainer.look(mirrored=mirrored)]).cpu().numpy()


def train(task: Task, data: Set, labels: np.ndarray, precision: str) -> dict[str, np.ndarray]:
    """Train what a task says, and return what is kept of it."""
    name, seed = task
    one, n_classes = CANDIDATES[name], int(labels.max()) + 1
    begun = time.perf_counter()
    if isinstance(seed, int):
        trainer = Trainer(one, data, seed, n_classes, precision)
        trainer.train(np.ones(len(labels), bool))
        looks = [probabilities(trainer, mirrored=mirrored) for mirrored in (False, True)]
        each = [np.linalg.norm(p - np.eye(n_classes)[labels], axis=1).astype(np.float32) for p in looks]
        found = {"alone": each[0], "el2n": (each[0] + each[1]) / 2}
    else:
        rows = slice(*FOLD_ROWS.indices(len(labels))) if len(labels) > FOLD_ROWS.start else slice(None)
        some = Set(data.pixels[rows], data.labels[rows], data.shift, data.scale)
        fold, found = assign_folds(labels[rows], FOLDS, 0, 0), {"p": np.zeros((len(labels[rows]), n_classes), np.float32)}
        for held_out in range(FOLDS):
            trainer = Trainer(replace(one, epochs=round(FOLD_EPOCHS * one.epochs)), some, held_out, n_classes, precision)
            trainer.train(fold != held_out)
            found["p"][fold == held_out] = probabilities(trainer)[fold == held_out]
    return found | {"seconds": np.array(time.perf_counter() - begun)}


def path_of(task: Task, out: Path) -> Path:
    return out / f"{task[0]} {task[1]}.npz".replace(" ", "_").replace(",", "")


def worker(todo: Any, folder: str, asked: argparse.Namespace, deadline: float) -> None:
    """Train one task after the other until none is left or the time is over."""
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    labels = np.load(f"{folder}/labels.npy")
    data = Set.on(np.load(f"{folder}/pixels.npy"), labels, asked.device)
    while time.time() < deadline:
        try:
            task: Task = todo.get_nowait()
        except queue.Empty:
            return
        found = train(task, data, labels, asked.precision)
        np.savez(path_of(task, asked.out), allow_pickle=False, **found)
        print(f"{task[0]} {task[1]}: {found['seconds']:.1f} s", flush=True)


def trained(asked: argparse.Namespace, pixels: np.ndarray, labels: np.ndarray, begun: float) -> None:
    """Train all tasks in processes that share the device."""
    asked.out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    todo = context.Queue()
    for task in tasks(asked.only):
        if not path_of(task, asked.out).exists():
            todo.put(task)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/pixels.npy", pixels)
        np.save(f"{folder}/labels.npy", labels)
        processes = [
            context.Process(target=worker, args=(todo, folder, asked, begun + asked.seconds)) for _ in range(asked.workers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()


def judged(asked: argparse.Namespace, labels: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Judge what was trained."""
    is_wrong, found = labels != truth, {}
    seen = [
        np.load(path_of(("base", seed), asked.judge))["el2n"] for seed in REFERENCE if path_of(("base", seed), asked.judge).exists()
    ]
    reference = np.mean(seen, axis=0) if seen else None
    measures: tuple[Callable[[np.ndarray, np.ndarray], Any], ...] = (roc_auc_score, average_precision_score)
    for name in asked.only:
        paths = [path_of((name, seed), asked.judge) for seed in (0, 1)]
        singles = [np.load(path)["el2n"] for path in paths if path.exists()]
        if not singles:
            continue
        one: dict[str, Any] = {
            "seeds": len(singles),
            "options": {k: v for k, v in asdict(CANDIDATES[name]).items() if v != asdict(BASE)[k]},
        }
        one["single"] = [round(float(np.mean([measure(is_wrong, el2n) for el2n in singles])), 4) for measure in measures]
        alone = [np.load(path)["alone"] for path in paths if path.exists()]
        one["without mirror images"] = [
            round(float(np.mean([measure(is_wrong, el2n) for el2n in alone])), 4) for measure in measures
        ]
        one["together"] = [round(float(measure(is_wrong, np.mean(singles, axis=0))), 4) for measure in measures]
        if reference is not None:
            one["agreement"] = round(float(spearmanr(np.mean(singles, axis=0), reference).statistic), 4)
        folds = path_of((name, "folds"), asked.judge)
        if folds.exists():
            rows = FOLD_ROWS if len(labels) > FOLD_ROWS.start else slice(None)
            finding = noise.find(noise.Evidence(labels[rows], out_of_sample=np.load(folds)["p"]))
            one["find_ap"] = round(float(average_precision_score(is_wrong[rows], finding.score)), 4)
        one["seconds"] = [round(float(np.load(path)["seconds"]), 1) for path in paths if path.exists()]
        found[name] = one
    return found


def timed(asked: argparse.Namespace, pixels: np.ndarray, labels: np.ndarray, n: int = 2_048) -> dict[str, float]:
    """Return the processor's seconds for each candidate over those for the default, which is measured anew beside each."""
    some = Set.on(pixels[:n], labels[:n], asked.device)
    found = {}
    for name in asked.only:
        seconds = [cost(Trainer(one, some, 0, int(labels.max()) + 1, asked.precision)) for one in (BASE, CANDIDATES[name], BASE)]
        found[name] = round(seconds[1] / (seconds[0] + seconds[2]) * 2, 3)
        print(name, found[name], flush=True)
    return found


def cost(trainer: Trainer) -> float:
    """Return the processor's seconds of a training and its looks: every kind of epoch is run twice, and the second counts."""
    one, total = trainer.candidate, 0.0
    kinds: dict[tuple[int, int, bool], float] = {}
    for epoch in range(one.epochs):
        kind = (one.at(one.sides, epoch), one.at(one.batches, epoch), epoch >= one.freeze * one.epochs)
        if kind not in kinds:
            kinds[kind] = seconds_of(partial(trainer.epoch, epoch, np.ones(len(trainer.data.labels), bool)))
        total += kinds[kind]
    return total + one.epochs * seconds_of(lambda: list(trainer.look()))


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor's seconds of the second time."""
    work()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--seconds", type=float, default=110.0)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--rows", type=int, default=None, help="only the first so many")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--only", default=None)
    asked = parser.parse_args()
    begun = time.time()
    asked.only = list(CANDIDATES) if asked.only is None else [name.strip() for name in asked.only.split(";")]
    data = dp.read(asked.data, labels=f"{asked.data}/human_labels.parquet:random1")
    assert data.images is not None
    assert data.labels is not None
    pixels, labels = np.asarray(data.images[: asked.rows]), data.labels[: asked.rows]
    if asked.time:
        torch.set_num_threads(1)
        record("frontier: cost", timed(asked, pixels, labels))
    elif asked.judge:
        truth = dp.read(asked.data, labels=f"{asked.data}/human_labels.parquet:clean").labels
        assert truth is not None
        figures = judged(asked, labels, truth[: asked.rows])
        print(json.dumps(figures, indent=1))
        record("frontier: quality", figures, asked.device)
    else:
        trained(asked, pixels, labels, begun)


if __name__ == "__main__":
    main()
