"""The engine's training against a bare loop of the same network: forward, backward and step on one batch that stays where it is.

    python benchmarks/engine.py [--device cpu] [--rounds 7]

The two alternate within one run, and the medians are compared: machines are noisy. One thread on a CPU. The mark is 0.90.
Beside them the share of the device's rate of matrix products that training reaches: float32 on a CPU, bfloat16 on a GPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from record import record
from torch.nn import functional

from dataprune.training.fit import Fit, Training, forward_flops, one_thread
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import RECIPES

STEPS = 20
SQUARE = 2048  # side of the matrices whose product is timed on a CPU


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    with one_thread(asked.device):
        for model, side in (("proxy", 32), ("proxy", 128), ("resnet18", 32)):
            rate = product_rate(asked.device, SQUARE)  # anew each time: on a shared machine it changes
            found = compare(model, side, asked.device, asked.rounds if model == "proxy" else 3)
            found["share_of_product_rate"] = round(found["engine_teraflops"] / rate, 4)
            figures[f"{model} at {side}"] = found | {"product_teraflops": round(rate, 4)}
    record("engine against bare loop", figures)


def compare(model: str, side: int, device: str, rounds: int) -> dict[str, float]:
    """Return images a second of both, the ratio of the medians, and the engine's rate, 10¹² operations a second."""
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
            finish(device)
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - begun)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    flops = 3 * forward_flops(model, fit.inputs.shape, 10)
    return {
        "bare_images_per_second": round(n / median["bare"], 1),
        "engine_images_per_second": round(n / median["engine"], 1),
        "ratio": round(median["bare"] / median["engine"], 3),
        "engine_teraflops": round(flops * n / median["engine"] / 1e12, 4),
    }


def product_rate(device: str, side: int) -> float:
    """Return the rate of a product of two square matrices of random numbers, 10¹² operations a second: the mean of ten."""
    kind = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    seconds = timed(lambda: [left @ right for _ in range(10)], device)
    return 10 * 2 * side**3 / seconds / 1e12


def timed(work: Callable[[], Any], device: str) -> float:
    """Return the seconds of the second time."""
    seconds = 0.0
    for _ in range(2):
        begun = time.perf_counter()
        work()
        finish(device)
        seconds = time.perf_counter() - begun
    return seconds


def finish(device: str) -> None:
    """Wait for what the device has been given to do."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
