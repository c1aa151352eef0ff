"""How do time and memory of scoring, selection, noise find and the report grow with the number of examples?

    python benchmarks/growth.py [--examples 10000,100000,1000000] [--parts score,select,find,report] [--plot FILE.svg]

Random answers (4 members, 10 epochs, 10 classes), pictures of smooth noise for the report. Each size is measured in a fresh
process. Seconds are of the processor; megabytes are the peak of the process during the part beyond what it held before, of which
small parts find some free already; allocated is the most that was allocated at once, in a second run. The slope is that of a line
through the logarithms: 1 is linear, 2 would be a table of everything against everything. Mark: none above 1.05.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from record import record
from report import MEMBERS, K, made_suspects, manifest, member, pictures

import dataprune as dp
from dataprune import noise
from dataprune.report.page import Options
from dataprune.report.page.build import run_page
from dataprune.report.page.data import ReportData
from dataprune.report.page.render import html
from dataprune.report.predictions import predictions_of
from dataprune.trace import open_member, save_member

PARTS = ("score", "select", "find", "report")
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", default="10000,100000,1000000")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--plot", type=Path, help="draw the seconds, both axes as logarithms")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # of the fresh process that is measured
    asked = parser.parse_args()
    if asked.one is not None:
        print(json.dumps(measured(asked.one, asked.parts.split(","))))
        return
    found: dict[int, dict[str, dict[str, float]]] = {}
    for n in (int(one) for one in asked.examples.split(",")):
        command = [sys.executable, __file__, "--one", str(n), "--parts", asked.parts]
        found[n] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        print(n, found[n], flush=True)
    record("growth with examples", {"by_examples": found, "slopes": slopes(found)})
    if asked.plot is not None:
        asked.plot.write_text(drawn({n: {part: one["seconds"] for part, one in parts.items()} for n, parts in found.items()}))


def slopes(found: dict[int, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the slope of each figure against the number of examples, both as logarithms, by least squares."""
    sizes = np.log(list(found))
    result: dict[str, dict[str, float]] = {}
    if len(found) < 2:
        return result
    for part, figures in next(iter(found.values())).items():
        of = {what: np.log([max(one[part][what], 1e-3) for one in found.values()]) for what in figures}
        result[part] = {what: round(float(np.polyfit(sizes, values, 1)[0]), 2) for what, values in of.items()}
    return result


def drawn(seconds: dict[int, dict[str, float]]) -> str:
    """Draw seconds against examples, both as logarithms, with a line of slope 1, as SVG."""
    width, height, edge = 560, 320, 46
    sizes, values = list(seconds), [max(value, 1e-3) for one in seconds.values() for value in one.values()]
    left, right = math.log10(sizes[0]), math.log10(sizes[-1])
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def x(n: float) -> float:
        return round(edge + (math.log10(n) - left) / (right - left) * (width - edge - 110), 1)

    def y(value: float) -> float:
        return round(height - edge + 10 - (math.log10(max(value, 1e-3)) - low) / (high - low) * (height - edge - 10), 1)

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">']
    lines.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for n in sizes:
        lines.append(f'<text x="{x(n)}" y="{height - 14}" text-anchor="middle">{n:,}</text>')
    for power in range(low, high + 1):
        at = y(10**power)
        lines.append(f'<path d="M{edge} {at}H{width - 110}" stroke="#ddd"/><text x="4" y="{at + 4}">{10**power:g} s</text>')
    steady = f"M{x(sizes[0])} {y(10**low)}L{x(sizes[-1])} {y(10**low * sizes[-1] / sizes[0])}"
    lines.append(f'<path d="{steady}" stroke="#999" stroke-dasharray="4"/>')
    below = 0.0  # where the next name may stand, from the top
    for part, color in sorted(zip(PARTS, COLORS, strict=True), key=lambda one: y(seconds[sizes[-1]].get(one[0], 0.0))):
        if part not in seconds[sizes[0]]:
            continue
        path = "L".join(f"{x(n)} {y(one[part])}" for n, one in seconds.items())
        lines.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        at = max(below, y(seconds[sizes[-1]][part]) + 4)
        lines.append(f'<text x="{width - 104}" y="{at}" fill="{color}">{part}</text>')
        below = at + 14
    return "\n".join([*lines, "</svg>", ""])


def measured(n: int, parts: list[str]) -> dict[str, dict[str, float]]:
    """Measure each part at one size, in this process."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, n)
    ids = np.array([f"train/class {label}/{row:07d}.png" for row, label in enumerate(labels.tolist())], np.dtypes.StringDType())
    with tempfile.TemporaryDirectory() as folder:
        for m in range(MEMBERS):
            save_member(Path(folder) / f"{m}.safetensors", member(labels, m))
        trace = dp.Trace([open_member(Path(folder) / f"{m}.safetensors") for m in range(MEMBERS)], labels, ids)
        scores = dp.score_trace(trace, ["el2n"])
        p = np.random.default_rng(1).dirichlet(np.ones(K) / 3, n).astype(np.float32)
        images = pictures(n) if "report" in parts else np.empty(0)

        def report() -> None:
            every, told = dp.score_trace(trace), predictions_of(trace)
            one = ReportData("benchmark", manifest(n), ids, labels, every, told, images)
            html(run_page(replace(one, suspects=made_suspects(one, rng), missing={"duplicates": "not looked for"}), Options()))

        works: dict[str, Callable[[], object]] = {
            "score": lambda: dp.score_trace(trace),
            "select": lambda: [dp.select(scores["el2n"], 0.5, strategy=how, balanced=True) for how in ("hardest", "stratified")],
            "find": lambda: noise.find(noise.Evidence(labels, out_of_sample=p)),
            "report": report,
        }
        return {part: cost(works[part]) for part in parts}


def cost(work: Callable[[], object]) -> dict[str, float]:
    """Return the processor's seconds and the megabytes that a piece of work takes."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, begun = held("VmRSS"), time.process_time()
    work()
    seconds, most = time.process_time() - begun, held("VmHWM")
    tracemalloc.start()
    work()
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    megabytes = {"megabytes": (most - before) / 1024, "allocated": allocated / 2**20}
    return {"seconds": round(seconds, 4)} | {what: round(value, 1) for what, value in megabytes.items()}


def held(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


if __name__ == "__main__":
    main()
