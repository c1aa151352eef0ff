"""How long does the page of a large run take, how large is it, and how soon can it be used?

    python benchmarks/report.py [--examples 50000] [--chromium PATH]

A run of random answers (4 members, 10 epochs, 10 classes) of pictures of smooth noise, made and then shown. Seconds are beside the
import of torch. With --chromium (Playwright is needed) the page is opened, and the time until a gallery shows a picture is taken.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from record import record

import dataprune as dp
from dataprune.noise import Suspects
from dataprune.report.page import Options
from dataprune.report.page.build import run_page
from dataprune.report.page.data import ReportData
from dataprune.report.page.render import html
from dataprune.report.predictions import predictions_of
from dataprune.run.manifest import MachineRecord, MemberRecord, Phase, RunData, RunManifest, RunSpec
from dataprune.trace import MemberTrace, open_member, save_member
from dataprune.training.recipes import Recipe

K, MEMBERS, EPOCHS, SIDE = 10, 4, 10, 32


def member(labels: np.ndarray, seed: int) -> MemberTrace:
    """Make a member that is right on about 80 % at the end."""
    rng = np.random.default_rng(seed)
    n = len(labels)
    right = rng.random((EPOCHS, n)) < np.linspace(0.4, 0.8, EPOCHS)[:, None]
    arrays: dict[str, np.ndarray] = {"predicted": np.where(right, labels, rng.integers(0, K, (EPOCHS, n))).astype(np.int32)}
    for name in ("p_label", "margin", "el2n", "entropy", "kl_previous", "kl_previous_abs", "grand"):
        arrays[name] = rng.random((EPOCHS, n), dtype=np.float32)
    arrays["probabilities"] = rng.dirichlet(np.ones(K) / 3, n).astype(np.float16)
    arrays["trained_on"] = rng.random(n) < 0.5 if seed else np.zeros(n, bool)
    return MemberTrace(arrays, {"when": "clean", "seed": seed, "epochs": EPOCHS, "n_classes": K, "status": "ok"})


def pictures(n: int) -> np.ndarray:
    """Make pictures with edges and colours, about as hard to compress as photographs of that size."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, SIDE // 4, SIDE // 4, 3), dtype=np.uint8)
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return fine // 2 + fine[:, ::-1] // 4 + rng.integers(0, 32, fine.shape, dtype=np.uint8)


def manifest(n: int) -> RunManifest:
    """Make what a manifest says."""
    return RunManifest(
        spec=RunSpec("0" * 64, n, "proxy", Recipe("fast"), MEMBERS, EPOCHS, K, "clean", 0, folds=2),
        data=RunData(n, tuple(f"class {c}" for c in range(K)), (), (SIDE, SIDE, 3), "images"),
        members=tuple(MemberRecord(member, "ok", "", accuracy=0.8) for member in range(MEMBERS)),
        scores={},
        absent_scores={},
        read={},
        skipped=(),
        notes=(),
        cost=(Phase("train", 60.0, flops=10**12),),
        machine=MachineRecord("x86_64"),
        versions={},
        finished="",
    )


def opened(text: str, chromium: str) -> dict[str, float]:
    """Open a page and wait until a gallery shows a picture: on the clock, and of the page's own thread."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        path = Path(folder) / "page.html"
        path.write_text(text, encoding="utf-8")
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto("about:blank")
        inside = tab.context.new_cdp_session(tab)
        inside.send("Performance.enable", {"timeDomain": "threadTicks"})
        begun = time.perf_counter()
        tab.goto(path.as_uri(), wait_until="commit")
        tab.wait_for_selector("#review-cards img", state="attached")
        tab.select_option("#gallery-score", "std")
        seconds = time.perf_counter() - begun
        told = {one["name"]: one["value"] for one in inside.send("Performance.getMetrics")["metrics"]}
        browser.close()
    return {"usable_seconds": round(seconds, 2), "usable_thread_seconds": round(told["TaskDuration"], 2)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--chromium", default=None)
    asked = parser.parse_args()
    n = asked.examples
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, n)
    ids = np.array([f"train/class {label}/{row:06d}.png" for row, label in enumerate(labels.tolist())], np.dtypes.StringDType())
    images = pictures(n)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{m}.safetensors" for m in range(MEMBERS)]
        for m, path in enumerate(paths):
            save_member(path, member(labels, m))
        trace = dp.Trace([open_member(path) for path in paths], labels, ids)
        scores = dp.score_trace(trace)
        begun, cpu = time.perf_counter(), time.process_time()
        told = predictions_of(trace)
        one = ReportData("benchmark", manifest(n), ids, labels, scores, told, images)
        one = replace(one, suspects=made_suspects(one, rng), missing={"duplicates": "not looked for"})
        text = html(run_page(one, Options()))
        figures = {"seconds": round(time.perf_counter() - begun, 2), "processor_seconds": round(time.process_time() - cpu, 2)}
    figures |= {"examples": n, "megabytes": round(len(text.encode()) / 1e6, 2)}
    if asked.chromium:
        figures |= opened(text, asked.chromium)
    record("page of a large run", figures)


def made_suspects(one: ReportData, rng: np.random.Generator) -> Suspects:
    """Make up a finding that flags a sixth of the examples."""
    flagged = rng.random(len(one)) < 0.17
    return Suspects(
        ids=one.ids,
        labels=one.labels,
        suggested_label=(one.labels + 1) % K,
        probability=flagged * 0.9,
        score=flagged * 1.0,
        is_suspect=flagged,
        reason=np.full(len(one), "the networks that did not see it answer another class", object),
        n_wrong=float(flagged.sum()),
        n_wrong_low=0.0,
        n_wrong_high=float(len(one)),
        classes=one.classes,
        sampling="out",
        method="made up",
    )


if __name__ == "__main__":
    main()
