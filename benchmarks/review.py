"""Is a review quick enough for 50,000 pictures, and for a million vectors? And how long does marking planted errors by keys take?

    python benchmarks/review.py [--examples 50000] [--kind pictures|vectors] [--chromium PATH]
    python benchmarks/review.py --keys [--chromium PATH]

Runs of made-up answers (2 members, 4 epochs, 10 classes; 5 % of the labels are contradicted) are reviewed in Chromium, driven by
Playwright. Milliseconds are medians over ten, from a key or a request to its answer; frames (median and 95 %) are timed while the
grid scrolls; memory is the tab's own. With --keys, 600 pictures with 30 wrong labels are marked by keys alone, by somebody who
looks at each for a second.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from record import record
from report import SIDE, pictures

import dataprune as dp
from dataprune.data.decode import write_png

K, MEMBERS, EPOCHS, TIMES = 10, 2, 4, 10
LOOK_SECONDS = 1.0  # at a picture, before a key is pressed
FRAMES = """() => new Promise((done) => {
  const grid = document.getElementById('grid'), times = []; let last = performance.now();
  const step = (now) => {
    times.push(now - last); last = now; grid.scrollTop += 40;
    if (times.length < 300) requestAnimationFrame(step); else done(times);
  };
  requestAnimationFrame(step);
})"""


def made_run(data: dp.Dataset, out: Path, wrong: np.ndarray) -> None:
    """Write a run whose networks, half of which did not see an example, contradict the labels of some rows."""
    rng, n, labels = np.random.default_rng(0), len(data), data.labels
    assert labels is not None
    truth = labels.copy()
    truth[wrong] = (truth[wrong] + 1) % K
    found = []
    for member in range(MEMBERS):
        recorder = dp.Recorder(labels, data.classes, EPOCHS, trained_on=np.arange(n) % MEMBERS != member)
        for epoch in range(EPOCHS):
            logits = rng.normal(size=(n, K)).astype(np.float32) + np.float32(1 + epoch) * np.eye(K, dtype=np.float32)[truth]
            recorder.update(np.arange(n), logits, epoch)
        found.append(recorder.finish())
    dp.write_run(dp.Trace(found, labels, data.ids), data, out)


@contextmanager
def reviewed(run: Path, source: Path | None) -> Iterator[tuple[str, float]]:
    """Start the command; yield its address and how many seconds it took to begin."""
    command = [sys.executable, "-m", "dataprune", "review", str(run), "--no-browser", *(["--data", str(source)] if source else [])]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
    try:
        yield address, time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait()


@contextmanager
def opened(chromium: str) -> Iterator[Any]:
    """Yield an empty tab."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()


def milliseconds(work: Callable[[int], object]) -> int:
    """Return the median of ten times."""
    times = []
    for number in range(TIMES):
        begun = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - begun)
    return round(1000 * statistics.median(times))


def speed(run: Path, source: Path | None, chromium: str) -> dict[str, Any]:
    """Measure the first view, scrolling, filters and orders, and a decision."""
    with reviewed(run, source) as (address, start), opened(chromium) as tab:
        begun = time.perf_counter()
        tab.goto(address)
        tab.wait_for_selector(".tile[aria-posinset='1'] .what bdi")
        tab.wait_for_function("() => document.querySelector('.tile .what').textContent !== ''")
        found: dict[str, Any] = {"start_seconds": round(start, 1), "first_view_seconds": round(time.perf_counter() - begun, 2)}
        tab.click("[data-view=all]")
        tab.wait_for_timeout(1500)
        sorts = tab.evaluate("[...document.getElementById('f-sort').options].map((one) => one.value).filter(Boolean)")

        def asks(change: str) -> Callable[[int], object]:
            return lambda number: tab.evaluate(
                "async (change) => { const key = performance.now(); const r = await fetch('/query', {method: 'POST', headers: "
                "{'content-type': 'application/json'}, body: change}); await r.json(); return performance.now() - key; }",
                change % {"number": number, "sort": sorts[number % len(sorts)]},
            )

        found["sort_ms"] = milliseconds(asks('{"sort": "%(sort)s"}'))
        found["filter_ms"] = milliseconds(asks('{"label": %(number)d, "ranges": {"el2n": [0.1, 0.9]}, "sort": "el2n"}'))
        found["search_ms"] = milliseconds(asks('{"text": "%(number)d7", "sort": "el2n"}'))
        frames = tab.evaluate(FRAMES)
        found["frame_ms"] = [round(float(np.quantile(frames, share)), 1) for share in (0.5, 0.95)]
        pids = tab.context.browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        renderers = [Path(f"/proc/{one['id']}/statm").read_text().split() for one in pids if one["type"] == "renderer"]
        found["renderer_megabytes"] = round(max(int(one[1]) - int(one[2]) for one in renderers) * os.sysconf("SC_PAGE_SIZE") / 1e6)
        found["tiles"] = tab.locator(".tile").count()
        tab.focus("#grid")

        def decide(_: int) -> None:
            with tab.expect_response("**/decide"):
                tab.keyboard.press("d")

        found["decision_ms"] = milliseconds(decide)
    return found


def keys(run: Path, wrong: set[str], source: Path, chromium: str) -> dict[str, Any]:
    """Mark wrong labels: the likeliest first, each looked at; stop after five in a row that are right."""
    pressed = right_in_row = 0
    with reviewed(run, source) as (address, _), opened(chromium) as tab:
        begun = time.perf_counter()
        tab.goto(address)
        tab.wait_for_selector(".tile img")
        tab.focus("#grid")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#viewer[open]")
        marked = set()
        while right_in_row < 5:
            name = tab.text_content("#viewer-name")
            tab.wait_for_timeout(1000 * LOOK_SECONDS)
            is_wrong = name in wrong
            right_in_row = 0 if is_wrong else right_in_row + 1
            marked |= {name} if is_wrong else set()
            with tab.expect_response("**/decide"):
                tab.keyboard.press("r" if is_wrong else "k")
            pressed += 1
            if tab.locator("#viewer .next").is_disabled():
                break
            tab.wait_for_function("(name) => document.getElementById('viewer-name').textContent !== name", arg=name)
        seconds = time.perf_counter() - begun
    return {"marked": len(marked), "planted": len(wrong), "keys": pressed + 1, "seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--kind", choices=("pictures", "vectors"), default="pictures")
    parser.add_argument("--keys", action="store_true")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    asked = parser.parse_args()
    n = 600 if asked.keys else asked.examples
    rng = np.random.default_rng(0)
    labels, classes = rng.integers(0, K, n), [f"class {c}" for c in range(K)]
    wrong = rng.choice(n, 30 if asked.keys else n // 20, replace=False)
    with tempfile.TemporaryDirectory() as folder:
        run, source = Path(folder) / "run", Path(folder) / "data"
        if asked.keys:
            for row, pixels in enumerate(pictures(n)):
                (source / classes[labels[row]]).mkdir(parents=True, exist_ok=True)
                write_png(source / classes[labels[row]] / f"{row:03}.png", pixels)
            data = dp.read(source)
            wrong = rng.choice(n, 30, replace=False)
        else:
            source = source.with_suffix(".npz")
            x = pictures(n) if asked.kind == "pictures" else rng.random((n, 8), np.float32)
            np.savez(source, x=x, y=labels)
            data = dp.read(source)
        made_run(data, run, wrong)
        if asked.keys:
            figures = keys(run, {str(one) for one in data.ids[wrong]}, source, asked.chromium)
        else:
            figures = {"kind": asked.kind, "side": SIDE} | speed(run, source, asked.chromium)
    record("review", {"examples": n, "load_after": round(os.getloadavg()[0], 1), **figures})


if __name__ == "__main__":
    main()
