"""Finding wrong labels beside cleanlab, from the same probabilities: seconds of the processor, and how good the flags are.

    python benchmarks/finding.py [--examples 50000] [--classes 10] [--rounds 3]

Made-up answers of a network that did not see the labels, a fifth of which are wrong at random. The two alternate within one run and
the least seconds are compared. What the flags are worth on real labels is measured by noise.py.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from cleanlab.filter import find_label_issues
from record import record

from dataprune import noise

WRONG = 0.2
SURENESS = 3.0  # by how much the logit of the true class is above the others', in their standard deviations


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("examples", 50_000), ("classes", 10), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    draw = np.random.default_rng(0)
    true = draw.integers(0, asked.classes, asked.examples)
    is_wrong = draw.random(asked.examples) < WRONG
    labels = np.where(is_wrong, (true + draw.integers(1, asked.classes, asked.examples)) % asked.classes, true)
    logits = draw.normal(size=(asked.examples, asked.classes))
    logits[np.arange(asked.examples), true] += SURENESS
    p = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    works: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: noise.find(noise.Evidence(labels, out_of_sample=p)).is_suspect,
        "cleanlab": lambda: np.asarray(find_label_issues(labels, p, n_jobs=1)),
    }
    seconds = dict.fromkeys(works, np.inf)
    flags: dict[str, np.ndarray] = {}
    for _ in range(asked.rounds):
        for name, work in works.items():
            begun = time.process_time()
            flags[name] = work()
            seconds[name] = min(seconds[name], time.process_time() - begun)
    both = {name: int((flagged & is_wrong).sum()) for name, flagged in flags.items()}
    record(
        "finding wrong labels against cleanlab",
        {
            "processor_seconds": {name: round(value, 3) for name, value in seconds.items()},
            "f1": {name: round(2 * both[name] / (int(flags[name].sum()) + int(is_wrong.sum())), 4) for name in works},
        },
    )


if __name__ == "__main__":
    main()
