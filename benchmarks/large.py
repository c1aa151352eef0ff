"""Memory of scoring a set of the size of ImageNet: made-up pictures in a sparse file, one network, one epoch.

    python benchmarks/large.py [--examples 1281167] [--side 64] [--classes 1000] [--model proxy] [--out DIR]

Only the first lines of each picture are written (spots that tell the class), so a file system with holes takes less. Told are the
most memory of driver and worker that no file backs (mapped pictures may be dropped at any time), and what was swapped.
The marks: the driver below 2 GB, nothing swapped on 24 GB. At full size it takes twenty minutes of one core and 16 GB of disk.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from record import record

import dataprune as dp

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
    with tempfile.TemporaryDirectory(dir=asked.out) as folder:
        begun = time.perf_counter()
        watch = Watch()
        dataset = made_up(Path(folder) / "pictures.npy", asked.examples, asked.side, asked.classes)
        made = time.perf_counter()
        settings = dp.Settings(members=1, epochs=1, folds=0, model=asked.model)
        run = dp.score(dataset, Path(folder) / "run", settings, dp.Hardware("cpu", "processes", 1))
        scored = time.perf_counter()
        dp.select(run.scores["el2n"], 0.5)
        (member,) = run.manifest.members
        figures = {
            "examples": asked.examples,
            "side": asked.side,
            "classes": asked.classes,
            "model": asked.model,
            "file_gigabytes": round((Path(folder) / "pictures.npy").stat().st_size / 1e9, 2),
            "megabytes": watch.end(),
            "made_seconds": round(made - begun, 1),
            "score_seconds": round(scored - made, 1),
            "examples_per_second": round(asked.examples / member.seconds, 1),
            "select_seconds": round(time.perf_counter() - scored, 2),
        }
    record("memory at the size of ImageNet", figures)


if __name__ == "__main__":
    main()
