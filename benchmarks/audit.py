"""Does the interval of `noise audit` hold the truth, and how wide is it beside that of as many labels at random?

    python benchmarks/audit.py --data DATA_FOLDER [--size 100] [--persons 200] [--limit N]

CIFAR-10 with the labels of one person (`random1`, the truth is known) is ranked by a ridge classifier on random convolutions, in
five folds; the test sets of MNIST and IMDB by published probabilities, with the errors that five people verified (of IMDB where
label_errors/imdb_test_set_index_to_filename.json is there). Each simulated person looks at another sample, and never errs.
"""

import argparse
from pathlib import Path
from typing import Any

import label_errors
import numpy as np
import pyarrow.parquet as pq
from record import record

import dataprune as dp
from dataprune.noise.audit import CERTAIN, audit

FILTERS, SIDE, FOLDS = 200, 6, 5
RIDGE = 30.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, nargs="*", default=[100])
    parser.add_argument("--persons", type=int, default=200)
    parser.add_argument("--limit", type=int, default=20_000)
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    sets = {name.upper(): verified(asked.data / "label_errors", name) for name in ("imdb", "mnist")}
    sets["random1"] = human(asked.data, asked.limit)
    for name, found, wrong in ((name, *one) for name, one in sets.items() if one is not None):
        for size in asked.size:
            figures[f"{name}, {size} looks"] = measured(found, wrong, size, asked.persons)
    record("audit", figures)


def measured(found: dp.Suspects, wrong: np.ndarray, size: int, persons: int) -> dict[str, float]:
    """Let simulated persons look; return coverage and width, as shares of all labels, beside those of plain random samples."""
    n, truth = len(wrong), int(wrong.sum())
    of_flags, left = float(wrong[found.is_suspect].mean()), int(wrong[~found.is_suspect].sum())
    rows = []
    for person in range(persons):
        sample = audit(found, size, seed=person)
        said = sample.estimate(wrong[sample.rows])
        hits = int(wrong[np.random.default_rng(person).permutation(n)[:size]].sum())
        low, high = wilson(hits, size)
        rows.append(
            (
                said.n_wrong.low <= truth <= said.n_wrong.high,
                (said.n_wrong.high - said.n_wrong.low) / n,
                said.n_wrong.value - truth,
                low * n <= truth <= high * n,
                high - low,
                said.n_found,
                said.precision is not None and said.precision.low <= of_flags <= said.precision.high,
                said.n_unfound.low <= left <= said.n_unfound.high,
                said.fits,
                said.n_together is not None and said.n_together.low <= truth <= said.n_together.high,
                np.nan if said.n_together is None else (said.n_together.high - said.n_together.low) / n,
            )
        )
    means = np.nanmean(np.array(rows, float), axis=0)
    names = ["covered", "width", "bias", "plain_covered", "plain_width", "found", "precision_covered", "unfound_covered"]
    names += ["fits", "together_covered", "together_width"]
    about = {"labels": n, "wrong": truth, "rate": truth / n, "flagged": int(found.is_suspect.sum()), "of_flags": of_flags}
    about |= {"model": -1 if found.n_wrong is None else found.n_wrong}
    return {name: round(float(value), 4) for name, value in (about | dict(zip(names, means, strict=True))).items()}


def wilson(hits: int, size: int) -> tuple[float, float]:
    """Return Wilson's interval of a share."""
    middle, half = (hits + CERTAIN**2 / 2), CERTAIN * np.sqrt(hits * (size - hits) / size + CERTAIN**2 / 4)
    return (middle - half) / (size + CERTAIN**2), (middle + half) / (size + CERTAIN**2)


def human(folder: Path, limit: int) -> tuple[dp.Suspects, np.ndarray]:
    """Judge the labels of one person on CIFAR-10."""
    table = pq.read_table(folder / "cifar10" / "human_labels.parquet")
    given, clean = (np.asarray(table[name], np.int64)[:limit] for name in ("random1", "clean"))
    content = dp.read(str(folder / "cifar10" / "train.parquet")).content
    x = convolved(np.asarray(content[:limit], np.float32))
    fold = np.random.default_rng(0).permutation(limit) % FOLDS
    p = np.empty((limit, 10), np.float32)
    for held_out in range(FOLDS):
        p[fold == held_out] = ridge(x[fold != held_out], given[fold != held_out], x[fold == held_out])
    return dp.find_suspects(dp.Evidence(given, out_of_sample=p)), given != clean


def verified(folder: Path, name: str) -> tuple[dp.Suspects, np.ndarray] | None:
    """Judge published labels by published probabilities; what people did not look at counts as right."""
    by = label_errors.read(folder, name)
    if by is None:
        return None
    wrong = np.zeros(len(by.labels), bool)
    wrong[by.rows] = by.is_error
    return dp.find_suspects(dp.Evidence(by.labels, out_of_sample=by.p)), wrong


def convolved(images: np.ndarray) -> np.ndarray:
    """Return the answers of random patches of the pictures as filters, the largest of each quarter."""
    import torch
    from torch.nn import functional

    rng = np.random.default_rng(0)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
    patches = []
    for row, top, left in rng.integers(0, (len(x), 32 - SIDE, 32 - SIDE), (FILTERS, 3)):
        patch = x[row, :, top : top + SIDE, left : left + SIDE]
        patches.append((patch - patch.mean()) / (patch.norm() + 1e-3))
    weights = torch.stack(patches)
    parts = [
        functional.adaptive_avg_pool2d(functional.relu(functional.conv2d(part, weights, stride=2) - 1.0), 3).flatten(1).numpy()
        for part in torch.split(x, 500)
    ]
    return np.concatenate(parts)


def ridge(known: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return class probabilities by ridge regression on the classes; its softmax is as sharp as fits held-out labels best."""
    from scipy.special import log_softmax

    middle, spread = known.mean(0), known.std(0) + 1e-6
    x, part = (known - middle) / spread, len(known) // 5
    target = np.eye(10)[labels] - 0.1
    gram = x[part:].T @ x[part:] + RIDGE * len(x) / 1000 * np.eye(x.shape[1], dtype=x.dtype)
    weights = np.linalg.solve(gram, x[part:].T @ target[part:]).astype(np.float32)
    own = x[:part] @ weights
    sharp = max(
        (1, 2, 4, 6, 8, 10, 14, 20), key=lambda one: float(log_softmax(one * own, 1)[np.arange(part), labels[:part]].mean())
    )
    return np.asarray(np.exp(log_softmax(sharp * ((new - middle) / spread @ weights), axis=1)), np.float32)


if __name__ == "__main__":
    main()
