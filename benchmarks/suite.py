"""The quick forms of the benchmarks, in a few minutes, beside the last run on the same kind of machine.

    python benchmarks/suite.py [--only NAME,NAME]        (make bench)
    python benchmarks/suite.py --gpu [CIFAR10]           (make bench BENCH=--gpu): benchmarks/gpu.sh in their place

Each is a command of its own; what it records in results.jsonl is read back and printed against the line before it with the same
benchmark, command, processor and cores. Figures of a shared machine vary: those that matter are ratios within one run.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import RESULTS, record

HERE = Path(__file__).parent
COMMANDS = {
    "start-up": f"{Path(__file__).name} --start-up",
    "pack": f"{Path(__file__).name} --pack",
    "engine": "engine.py --rounds 3",
    "parallel": "parallel.py",
    "k-means": "kmeans.py --rows 20000 --columns 128 --clusters 50 --iterations 10",
    "finding": "finding.py --examples 20000",
    "growth": "growth.py --examples 10000,50000",
    "memory": "memory.py",
    "report": "report.py --examples 10000",
}
PICTURES, SIDE = 2_000, 160


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(COMMANDS))
    parser.add_argument(
        "--gpu", nargs="?", const="", default=None, metavar="CIFAR10", help="what wants a GPU, on this data or made-up pictures"
    )
    parser.add_argument("--start-up", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--pack", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.start_up:
        record("start-up", start_up())
    elif asked.pack:
        record("pack and decode", pack())
    elif asked.gpu is not None:
        measure("gpu", [str(HERE / "gpu.sh"), *filter(None, [asked.gpu])])
    else:
        for name in asked.only.split(","):
            measure(name, [sys.executable, *shlex.split(str(HERE / COMMANDS[name]))])


def measure(name: str, command: list[str]) -> None:
    """Run one benchmark, and print what it recorded beside the last time; end as it does if it fails."""
    before = lines()
    begun = time.perf_counter()
    failed = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
    print(f"\n{name}: {time.perf_counter() - begun:.0f} s", flush=True)
    for line in lines()[len(before) :]:
        print_beside(line, last_like(line, before))
    if failed:
        sys.exit(failed)


def lines() -> list[dict[str, Any]]:
    """Return what results.jsonl holds."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines() if line.strip()] if RESULTS.exists() else []


def last_like(line: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the last line of the same benchmark, command, processor, cores and accelerator."""
    same = ("benchmark", "command", "processor", "cores", "accelerator")
    return next((one for one in reversed(before) if all(one.get(key) == line.get(key) for key in same)), None)


def print_beside(line: dict[str, Any], last: dict[str, Any] | None) -> None:
    """Print each figure, the last one, and the ratio."""
    before = {} if last is None else dict(told(last))
    since = "first on this kind of machine" if last is None else f"against {last['commit']} of {last['date'][:10]}"
    print(f"  {line['benchmark']}, {since}")
    for name, value in told(line):
        old = before.get(name)
        beside = "" if old is None else f"{old:>12g}  {'×' + format(value / old, '.2f') if old else ''}"
        print(f"    {name:<56}{value:>12g}{beside}")


def told(line: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the figures of a line and the memory that it took."""
    return [*figures(line["figures"]), *figures(line.get("peak_megabytes", {}), "peak megabytes")]


def figures(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested figures, by their path."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from figures(one, f"{name} / {key}" if name else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def start_up() -> dict[str, float]:
    """Time what a user waits for before anything happens: the median of seven."""
    found = {}
    for name, command in (("help", ["-m", "dataprune", "--help"]), ("import", ["-c", "import dataprune"]), ("nothing", ["-c", ""])):
        seconds = []
        for _ in range(7):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - begun)
        found[f"{name}_seconds"] = round(statistics.median(seconds), 3)
    return found


def pack() -> dict[str, float]:
    """Decode JPEG files of a folder into a cache, by one process, and open it again."""
    import os

    import dataprune as dp

    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATAPRUNE_CACHE"] = str(Path(folder) / "cache")
        for number in range(PICTURES):
            place = Path(folder) / "set" / f"class {number % 10}" / f"{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            coarse = draw.integers(0, 256, (SIDE // 16, SIDE // 16, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(place, quality=90)
        begun = time.perf_counter()
        dp.read(Path(folder) / "set", workers=1)
        packed = time.perf_counter()
        dp.read(Path(folder) / "set", workers=1)
        opened = time.perf_counter()
    return {"pictures_per_second": round(PICTURES / (packed - begun), 1), "open_seconds": round(opened - packed, 3)}


if __name__ == "__main__":
    main()
