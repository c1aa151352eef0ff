"""Memory of computing all scores from a trace, as members and epochs grow, and the time to open a packed set.

    python benchmarks/memory.py [--data DATA]

Traces of 50,000 examples and 10 classes on disk, random logits. The peak is of this process, above what it held before.
"""

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from record import record

import dataprune as dp
from dataprune.trace import MemberTrace, open_member, save_member

N, K = 50_000, 10


def member(epochs: int, seed: int) -> MemberTrace:
    """Make a member's trace of random numbers."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {"predicted": rng.integers(0, K, (epochs, N), dtype=np.int32)}
    for name in ("p_label", "margin", "el2n", "entropy", "kl_previous", "kl_previous_abs", "grand"):
        arrays[name] = rng.random((epochs, N), dtype=np.float32)
    arrays["probabilities"] = rng.dirichlet(np.ones(K), N).astype(np.float16)
    arrays["trained_on"] = np.ones(N, bool)
    return MemberTrace(arrays, {"when": "clean", "seed": seed, "epochs": epochs, "n_classes": K, "status": "ok"})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=None)
    asked = parser.parse_args()
    labels = np.random.default_rng(0).integers(0, K, N)
    peaks, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for n_members, epochs in ((2, 10), (8, 10), (2, 40), (8, 40)):
            paths = [Path(folder) / f"{n_members}-{epochs}-{m}.safetensors" for m in range(n_members)]
            for number, path in enumerate(paths):
                save_member(path, member(epochs, number))
            trace = dp.Trace([open_member(path) for path in paths], labels)
            tracemalloc.start()
            begun = time.perf_counter()
            dp.score_trace(trace)
            seconds[f"{n_members} members, {epochs} epochs"] = round(time.perf_counter() - begun, 2)
            peaks[f"{n_members} members, {epochs} epochs"] = round(tracemalloc.get_traced_memory()[1] / 1e6)
            tracemalloc.stop()
    figures = {"peak_megabytes": peaks, "seconds": seconds}
    if asked.data:
        dp.read(asked.data)
        begun = time.perf_counter()
        data = dp.read(asked.data)
        figures |= {"open_seconds": round(time.perf_counter() - begun, 3), "open_examples": len(data)}
    record("memory of scoring", figures)


if __name__ == "__main__":
    main()
