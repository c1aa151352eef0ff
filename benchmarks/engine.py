"""The engine's training against a bare loop of the same network: forward, backward and step on one batch that stays where it is.

    python benchmarks/engine.py [--device cpu] [--precision fp32|bf16] [--rounds 7]

The two alternate within one run, and the medians are compared: machines are noisy. One thread on a CPU, timed by the thread's own
clock, so that other work on the machine counts little. Default precision: the faster one here. The marks: 0.95, at 128 pixels 0.93.
Beside them the share that training reaches of the best rate of products in that precision: the library's matrix product, oneDNN's,
and a 1 × 1 convolution.
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

from dataprune.precision import Precision, autocast, choose
from dataprune.training.fit import Fit, Training, forward_flops, one_thread
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import RECIPES

STEPS = 20
SQUARE = 1024  # side of the matrices whose product is timed on a CPU


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    precision = choose(asked.precision, asked.device).precision
    figures: dict[str, Any] = {"precision": precision}
    with one_thread(asked.device):
        for model, side in (("proxy", 32), ("proxy", 128), ("resnet18", 32)):
            rate = product_rate(asked.device, SQUARE, precision)  # anew each time: on a shared machine it changes
            found = compare(model, side, asked.device, asked.rounds if model == "proxy" else 3, precision)
            found["share_of_product_rate"] = round(found["engine_teraflops"] / rate, 4)
            figures[f"{model} at {side}"] = found | {"product_teraflops": round(rate, 4)}
    record("engine against bare loop", figures)


def compare(model: str, side: int, device: str, rounds: int, precision: Precision) -> dict[str, float]:
    """Return images a second of both, the ratio of the medians, and the engine's rate, 10¹² operations a second."""
    recipe = RECIPES["fast"]
    steps = STEPS if model == "proxy" and side == 32 else 3
    n = steps * recipe.batch
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, n)
    training = Training(model, recipe, 10_000, 0, 10, device, precision)
    fit = Fit(training, Inputs(images, "own", device), labels, np.ones(n, bool))
    x = fit.inputs.batch(torch.arange(recipe.batch, device=fit.device))
    y = fit.labels[: recipe.batch]

    def bare() -> None:
        fit.model.train()
        for _ in range(steps):
            fit.optimiser.zero_grad()
            with autocast(fit.device, precision):
                logits = fit.model(x)
            functional.cross_entropy(logits.float(), y).backward()
            fit.optimiser.step()

    seconds: dict[str, list[float]] = {"bare": [], "engine": []}
    for number in range(rounds + 1):
        for name, work in (("bare", bare), ("engine", fit.train_epoch)):
            begun = clock(device)
            work()
            finish(device)
            if number:  # the first round warms up
                seconds[name].append(clock(device) - begun)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    flops = 3 * forward_flops(model, fit.inputs.shape, 10)
    return {
        "bare_images_per_second": round(n / median["bare"], 1),
        "engine_images_per_second": round(n / median["engine"], 1),
        "ratio": round(median["bare"] / median["engine"], 3),
        "engine_teraflops": round(flops * n / median["engine"] / 1e12, 4),
    }


def product_rate(device: str, side: int, precision: Precision) -> float:
    """Return the best rate of a product of two square matrices of random numbers, 10¹² operations a second: the mean of five."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    pictures = left.view(side // 256, 256, side).mT.reshape(-1, side, 16, 16).to(memory_format=torch.channels_last)
    works: list[Callable[[], Any]] = [lambda: left @ right, lambda: functional.conv2d(pictures, right.view(side, side, 1, 1))]
    if torch.device(device).type == "cpu" and torch.backends.mkldnn.is_available():
        own = left.to_mkldnn()
        works.append(lambda: torch.ops.aten.mkldnn_linear(own, right))
    return max(2 * side**3 / timed(lambda work=work: [work() for _ in range(5)], device) * 5 / 1e12 for work in works)


def timed(work: Callable[[], Any], device: str) -> float:
    """Return the seconds of the second time."""
    seconds = 0.0
    for _ in range(2):
        begun = clock(device)
        work()
        finish(device)
        seconds = clock(device) - begun
    return seconds


def clock(device: str) -> float:
    """Read the clock: on a CPU this thread's own."""
    return time.perf_counter() if torch.device(device).type == "cuda" else time.thread_time()


def finish(device: str) -> None:
    """Wait for what the device has been given to do."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
