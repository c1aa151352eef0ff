"""In what numbers networks compute: float32, or bfloat16 where the machine is faster with them."""

import functools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]
Asked = Literal["auto", "fp32", "bf16"]
FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # of processors that multiply in bfloat16
WORTH = 1.15  # times as fast: for less bfloat16 is not taken
ROUNDS = 10
LITTLE_FLOPS = 5e11  # about ten seconds of one core: less is not worth measuring first


@dataclass(frozen=True)
class Choice:
    """A precision, and why it was taken; "" where there was too little work for a choice."""

    precision: Precision
    reason: str


def choose(asked: Asked, device: str, flops: float = math.inf, begun: Precision | None = None) -> Choice:
    """Return the precision for so much work: what is asked for; for `auto` that in which it was begun, bfloat16 on CUDA, and on a
    CPU the faster one by measurement, where the processor has units for bfloat16 and the work is long."""
    if asked != "auto":
        return Choice(asked, "asked for")
    if begun is not None:
        return Choice(begun, "begun in it")
    kind = device.partition(":")[0]
    if kind == "cuda":
        return Choice("bf16", "a GPU")
    if flops < LITTLE_FLOPS:
        return Choice("fp32", "")
    if kind != "cpu" or not has_bfloat16():
        return Choice("fp32", "no units for bf16 here")
    times = speed_of_bfloat16()
    if times < WORTH:
        return Choice("fp32", f"bf16 is {times:.2f} times as fast here")
    return Choice("bf16", f"{times:.1f} times as fast here")


def autocast(device: "torch.device", precision: str) -> "torch.autocast":
    """Return the context in which layers compute in a precision; weights, gradients and optimisers stay in float32."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def has_bfloat16() -> bool:
    """Return whether the processor multiplies in bfloat16 itself, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    return info.is_file() and bool(FLAGS & set(info.read_text().partition("flags")[2].partition("\n")[0].split()))


@functools.cache
def speed_of_bfloat16() -> float:
    """Measure how many times as fast as in float32 one thread trains a layer, the best of some rounds: a tenth of a second."""
    import torch

    threads, cpu, side = torch.get_num_threads(), torch.device("cpu"), (16, 16)
    x, weight = (torch.linspace(-1, 1, n * 32 * h * w).view(n, 32, h, w) for n, h, w in ((16, *side), (64, 3, 3)))
    x, weight = (one.to(memory_format=torch.channels_last).requires_grad_() for one in (x, weight))
    best = dict.fromkeys(("fp32", "bf16"), math.inf)
    torch.set_num_threads(1)
    try:
        for _ in range(ROUNDS):
            for precision in best:
                begun = time.thread_time()
                with autocast(cpu, precision):
                    y = torch.nn.functional.conv2d(x, weight, padding=1)
                y.float().mean().backward()  # type: ignore[no-untyped-call]
                best[precision] = min(best[precision], time.thread_time() - begun)
    finally:
        torch.set_num_threads(threads)
    return best["fp32"] / best["bf16"]
