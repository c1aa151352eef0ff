"""The six sets of CIFAR-10 in docs/findings.md: train on all of them at once, keep what the networks say, find wrong labels in it.

    python benchmarks/noise_six.py CIFAR10 OUT [--device cuda] [--only random1,clean] [--rounds 1] [--rows N --epochs E]
    python benchmarks/noise_six.py --refit OUT        finds only

CIFAR10 holds train.parquet and human_labels.parquet. OUT gets a file `SET.npz` for each set: the labels, the truth and all that a
finding reads, in half precision; and its run below `runs`, with which the same command goes on. A line is recorded for each
set. `PROGRAM=noise_six.py benchmarks/gpu.sh ...` runs it on a machine with a GPU. --rows and --epochs show that all of it runs;
their figures say nothing. --precision fp32 trains in it where auto would take bfloat16.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from record import record

import dataprune as dp
from dataprune import noise
from dataprune.run.evidence import evidence_of

EVIDENCE = ("out_of_sample", "in_sample", "margin")


@dataclass(frozen=True)
class Labels:
    """Labels of a column, of all pictures, or made wrong in pictures 10,000 to 19,999; and how it is trained."""

    column: str = ""
    kind: str = ""
    rate: float = 0.0
    rounds: int = 2
    repeats: int = 1


SETS = {
    "random1": Labels(column="random1"),
    "aggregate": Labels(column="aggregate", rounds=1),
    "uniform-10": Labels(kind="uniform", rate=0.1),
    "pairwise-20": Labels(kind="pairwise", rate=0.2),
    "uniform-20": Labels(kind="uniform", rate=0.2),
    "clean": Labels(rounds=1, repeats=2),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--refit", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default=",".join(SETS))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rounds", type=int, default=2, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    asked = parser.parse_args()
    names = asked.only.split(",")
    if asked.refit is not None:
        for name in names:
            record("noise_six", {"set": name} | found_in(asked.refit / f"{name}.npz"))
    elif len(names) == 1:
        asked.out.mkdir(parents=True, exist_ok=True)
        record("noise_six", trained(names[0], asked), asked.device)
    else:  # each set in a process of its own, so that one that fails costs no other
        rest = sys.argv[1:]
        dp.read(str(asked.data / "train.parquet"))  # decoded once for all
        parts = [subprocess.Popen([sys.executable, __file__, *rest, "--only", name]) for name in names]
        sys.exit(max(part.wait() for part in parts))


def trained(name: str, asked: argparse.Namespace) -> dict[str, object]:
    """Train the networks of a set as docs/findings.md does, and keep what they say."""
    begun, labels = time.perf_counter(), SETS[name]
    pictures, people_said = str(asked.data / "train.parquet"), asked.data / "human_labels.parquet"
    people = dp.read(pictures, labels=f"{people_said}:{labels.column or 'clean'}")
    truth = dp.read(pictures, labels=f"{people_said}:clean").labels
    assert truth is not None
    rows = np.arange(len(people)) if labels.column else np.arange(10_000, 20_000)
    rows = rows[: asked.rows]
    data, truth = people.take(rows), truth[rows]
    if labels.kind:
        given = noise.inject_noise(truth, labels.rate, labels.kind, n_classes=data.n_classes, ids=data.ids.tolist())
        data = data.with_labels(given)
    at_once = dp.Hardware(asked.device, "processes", 5) if labels.column else dp.Hardware(asked.device, "serial")
    settings = dp.Settings(
        folds=5,
        rounds=min(labels.rounds, asked.rounds),
        repeats=labels.repeats,
        epochs=asked.epochs,
        precision=asked.precision,
        seed=asked.seed,
    )
    run = dp.score(data, asked.out / "runs" / name, settings, at_once)  # kept, so that one interrupted goes on
    save(asked.out / f"{name}.npz", evidence_of(run), truth)
    about = {"members": run.trace.n_members, "epochs": run.trace.n_epochs, "precision": asked.precision, "seed": asked.seed}
    seconds = {"seconds": round(time.perf_counter() - begun, 1)}
    return {"set": name} | about | seconds | found_in(asked.out / f"{name}.npz")


def save(path: Path, evidence: noise.Evidence, truth: np.ndarray) -> None:
    """Write the evidence, that of the count apart where there is one, in half precision."""
    arrays: dict[str, Any] = {"labels": evidence.labels.astype(np.uint8), "truth": truth.astype(np.uint8)}
    arrays["retrained"] = np.array(evidence.retrained)
    for prefix, one in (("", evidence), ("count_", evidence.count_from)):
        for name in EVIDENCE:
            values = None if one is None else getattr(one, name)
            if values is not None:
                arrays[prefix + name] = values.astype(np.float16)
    np.savez_compressed(path, **arrays)


def read(path: Path) -> tuple[noise.Evidence, np.ndarray]:
    """Read evidence and truth as `save` wrote them."""
    stored = np.load(path)
    labels = stored["labels"].astype(np.int64)

    def part(prefix: str, counts: noise.Evidence | None) -> noise.Evidence:
        views = [stored[prefix + name].astype(np.float64) if prefix + name in stored.files else None for name in EVIDENCE]
        return noise.Evidence(labels, views[0], views[1], views[2], count_from=counts, retrained=bool(stored["retrained"]))

    has_counts = any(name.startswith("count_") for name in stored.files)
    return part("", part("count_", None) if has_counts else None), stored["truth"].astype(np.int64)


def found_in(path: Path) -> dict[str, object]:
    """Find wrong labels in what was kept; return the columns of the table."""
    evidence, truth = read(path)
    found = noise.find(evidence)
    checked = noise.evaluate_suspects(found, truth)
    columns = ("auroc", "average_precision", "precision_at_count", "f1", "best_f1", "calibration_error")
    assert evidence.out_of_sample is not None
    return {
        "wrong": checked.n_wrong,
        "count": found.count_in_words,
        "accuracy": round(float((evidence.out_of_sample.argmax(1) == evidence.labels).mean()), 4),
        **{name: None if np.isnan(getattr(checked, name)) else round(getattr(checked, name), 4) for name in columns},
        "flagged": checked.n_flagged,
        "covers": checked.covers,
        "labels_put_right": checked.n_better,
    }


if __name__ == "__main__":
    main()
