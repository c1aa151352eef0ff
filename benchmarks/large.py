"""Memory at the size of ImageNet: made-up pictures in a sparse file, scored by one network in one epoch, then `select`,
`noise find` and the page.

    python benchmarks/large.py [--examples 1281167] [--side 64] [--classes 1000] [--model proxy] [--out DIR]

Only the first lines of each picture are written (spots that tell the class), so a file system with holes takes less. Told are the
most memory of driver and worker that no file backs (mapped pictures may be dropped at any time), and what was swapped,
part by part. The marks: when scoring the driver below 2 GB, nothing swapped on 24 GB. At full size it takes an hour of one core
and 16 GB of disk. "both" is a finding from probabilities of networks that saw and that did not see each label, as folds give them.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from record import record

import dataprune as dp
from dataprune import noise
from dataprune.run.evidence import evidence_of

T = TypeVar("T")

LINES = 8  # of a picture, that are written
BLOCK = 10_000


def made_up(path: Path, n: int, side: int, classes: int) -> dp.Dataset:
    """Write a sparse .npy file of pictures with a spot each, whose place and colour tell the class."""
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (n, side, side, 3))
    labels = np.random.default_rng(0).integers(0, classes, n)
    spots = np.random.default_rng(1).integers(0, 256, (classes, LINES // 4, side // 4, 3), dtype=np.uint8)
    for start in range(0, n, BLOCK):
        images[start : start + BLOCK, :LINES] = spots[labels[start : start + BLOCK]].repeat(4, 1).repeat(4, 2)
    images.flush()
    return dp.from_arrays(np.load(path, mmap_mode="r"), labels)


class Watch:
    """Remembers the most memory without a file behind it of this process and of its largest child, and pages swapped out."""

    def __init__(self) -> None:
        self.driver = self.worker = 0.0
        self.before, self.ended = swapped(), threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self) -> None:
        """Look five times a second."""
        while not self.ended.wait(0.2):
            self.driver = max(self.driver, held(os.getpid()))
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            self.worker = max([self.worker, *(held(int(one)) for one in children)])

    def end(self) -> dict[str, float]:
        """Return megabytes."""
        self.ended.set()
        self.thread.join()
        return {
            "driver": round(self.driver),
            "worker": round(self.worker),
            "swapped": round((swapped() - self.before) * 4096 / 1e6),
        }


def held(process: int) -> float:
    """Return the megabytes that a process holds and no file backs."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))) / 1e3


def swapped() -> int:
    """Return how many pages the machine has swapped out."""
    return next(int(line.split()[1]) for line in Path("/proc/vmstat").read_text().splitlines() if line.startswith("pswpout"))


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("examples", 1_281_167), ("side", 64), ("classes", 1_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--model", default="proxy")
    parser.add_argument("--out", type=Path, default=None, help="where the pictures and the run are written")
    asked = parser.parse_args()
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {name: getattr(asked, name) for name in ("examples", "side", "classes", "model")}

    def part(name: str, work: Callable[[], T]) -> T:
        begun, watch = time.perf_counter(), Watch()
        made = work()
        figures[name] = {"seconds": round(time.perf_counter() - begun, 1), "megabytes": watch.end()}
        print(name, figures[name], flush=True)
        return made

    with tempfile.TemporaryDirectory(dir=asked.out) as folder:
        place = Path(folder)
        dataset = part("pictures", lambda: made_up(place / "pictures.npy", asked.examples, asked.side, asked.classes))
        figures["file_gigabytes"] = round((place / "pictures.npy").stat().st_size / 1e9, 2)
        settings = dp.Settings(members=1, epochs=1, folds=0, model=asked.model)
        run = part("score", lambda: dp.score(dataset, place / "run", settings, dp.Hardware("cpu", "processes", 1)))
        figures["examples_per_second"] = round(asked.examples / run.manifest.members[0].seconds, 1)
        part("select", lambda: dp.select(run.scores["el2n"], 0.5))
        part("find", lambda: run_suspects(run))
        part("both", lambda: both(run))
        part("page", lambda: run.report(place / "page.html", data=dataset))
    record("memory at the size of ImageNet", figures)


def run_suspects(run: dp.Run) -> str:
    """Judge the labels of a run all of whose networks saw them."""
    return dp.find_suspects(run).count_in_words


def both(run: dp.Run) -> str:
    """Judge them as if there were folds: what one network says is taken for both views."""
    found = evidence_of(run)
    assert found.in_sample is not None
    assert found.votes is not None
    unseen = np.sqrt(found.in_sample)  # less sure, an array of its own
    unseen /= unseen.sum(axis=1, keepdims=True)
    every = dp.Evidence(
        found.labels, unseen, found.in_sample, found.margin, found.votes, found.votes.copy(), found.ids, found.classes
    )
    return noise.find(every).count_in_words


if __name__ == "__main__":
    main()
