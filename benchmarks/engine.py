"""The engine's training against a bare loop of the same network: forward, backward and step on one batch that stays where it is.

    python benchmarks/engine.py [--device cpu] [--rounds 7]

The two alternate within one run, and the medians are compared: machines are noisy. One thread on a CPU. The mark is 0.90.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from record import record
from torch.nn import functional

from dataprune.training.fit import Fit, Inputs, Training, one_thread
from dataprune.training.recipes import RECIPES

STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    figures = {}
    with one_thread(asked.device):
        for model, side in (("proxy", 32), ("proxy", 128), ("resnet18", 32)):
            figures[f"{model} at {side}"] = compare(model, side, asked.device, asked.rounds if model == "proxy" else 3)
    record("engine against bare loop", figures)


def compare(model: str, side: int, device: str, rounds: int) -> dict[str, float]:
    """Give images a second of both, and the ratio of the medians."""
    recipe = RECIPES["fast"]
    steps = STEPS if model == "proxy" and side == 32 else 3
    n = steps * recipe.batch
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, n)
    fit = Fit(Training(model, recipe, 10_000, 0, 10, device), Inputs(images, "own", device), labels, np.ones(n, bool))
    x = fit.inputs.batch(torch.arange(recipe.batch, device=fit.device))
    y = fit.labels[: recipe.batch]

    def bare() -> None:
        fit.model.train()
        for _ in range(steps):
            fit.optimiser.zero_grad()
            with torch.autocast(fit.device.type, torch.bfloat16, enabled=fit.device.type == "cuda"):
                logits = fit.model(x)
            functional.cross_entropy(logits.float(), y).backward()
            fit.optimiser.step()

    seconds: dict[str, list[float]] = {"bare": [], "engine": []}
    for number in range(rounds + 1):
        for name, work in (("bare", bare), ("engine", fit.train_epoch)):
            begun = time.perf_counter()
            work()
            if fit.device.type == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - begun)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "bare_images_per_second": round(n / median["bare"], 1),
        "engine_images_per_second": round(n / median["engine"], 1),
        "ratio": round(median["bare"] / median["engine"], 3),
    }


if __name__ == "__main__":
    main()
