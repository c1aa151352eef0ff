"""Kills commands at random moments and lets them end: do they end as those that were never killed?

A program of its own, which loads torch once and forks a child for each command, so that a kill and what follows take a second and
not ten. Prints one line of JSON for each kill.

    python tests/kill_kit.py FOLDER SEED score=36 km=8 study=8 report=4 embed=4
    python tests/kill_kit.py FOLDER SEED score=0 events=score every=1    # ckpt-chaos, at every file event
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)  # the hardest one most often
LIMIT_SECONDS = 300
SCORING = (
    "--folds",
    "0",
    "--members",
    "2",
    "--epochs",
    "2",
    "--model",
    "linear",
    "--recipe",
    "fast-plain",
    "--executor",
    "serial",
    "--quiet",
)
TRIALS = ("--model", "linear", "--recipe", "fast-plain", "--epochs", "4", "--seeds", "1", "--executor", "serial", "--quiet")
# What makes two outputs the same; times and dates are in none of these.
COMPARED = {
    "score": ("out/scores.parquet", "out/spec.json", "out/trace/member-000.safetensors", "out/trace/member-001.safetensors"),
    "km": ("km.parquet", "km.parquet.json"),
    "study": ("out/summary.parquet", "out/run/scores.parquet", "out/study-spec.json"),
    "report": ("page.html",),
    "embed": ("x.npy",),
}


def command(kind, sources, folder):
    """Return the command line of one kind that writes into `folder`."""
    return {
        "score": ["score", sources / "digits.npz", "--out", folder / "out", *SCORING],
        "km": ["km", sources / "vectors.npy", "--clusters", "auto", "--out", folder / "km.parquet", "--quiet"],
        "study": ["study", sources / "splits.npz", "--preset", "half", "--scores", "el2n", "--out", folder / "out", *TRIALS],
        "report": ["report", sources / "run", "--out", folder / "page.html"],
        "embed": ["embed", sources / "digits.npz", "--encoder", "pixels", "--out", folder / "x.npy", "--quiet"],
    }[kind]


def make_sources(folder):
    """Write the data that the commands read, and a finished run for those that show one."""
    from fault_kit import some_digits, vectors_file

    digits = some_digits()
    images, labels = np.array(digits.images), np.array(digits.labels)
    np.savez(folder / "digits.npz", x=images, y=labels)
    np.savez(folder / "splits.npz", x=images[:70], y=labels[:70], x_test=images[70:], y_test=labels[70:])
    vectors_file(folder)
    assert run_here(["score", folder / "digits.npz", "--out", folder / "run", *SCORING]) == 0


def run_here(arguments):
    from dataprune.cli import main

    return main([str(argument) for argument in arguments])


def forked(arguments, log, kill=None, first=None):
    """Run a command in a child and give its exit code, negative for a signal.

    `kill` is a delay in seconds and a signal, `first` is called in the child before.
    """
    sys.stdout.flush()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)  # before the fork: a kill may come before the child does anything
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # before the command listens itself
        signal.alarm(LIMIT_SECONDS)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = 99
        try:
            if first is not None:
                first()
            code = run_here(arguments)
        finally:
            os._exit(code)
    os.close(output)
    if kill is not None:
        time.sleep(kill[0])
        os.kill(child, kill[1])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(kind, folder):
    return {name: (folder / name).read_bytes() if (folder / name).is_file() else None for name in COMPARED[kind]}


def faults_after(kind, folder, code, number, whole):
    """Return what is wrong right after the kill."""
    found = []
    asked = {signal.SIGTERM: 143, signal.SIGINT: 130}.get(number)
    if code not in (0, asked, -number):
        found.append(f"exit code {code} after signal {number}")
    said = (folder / "first.log").read_text()
    if "Traceback" in said or "internal:" in said:
        found.append(f"it said {said[-400:]!r}")
    if kind in ("report", "embed", "km"):  # a single file is whole, or not there
        now = contents(kind, folder)
        found += [
            f"{name} is half written"
            for name in now
            if name.endswith((".html", ".npy", ".parquet")) and now[name] not in (None, whole[name])
        ]
    return found


def one_kill(kind, sources, folder, draw, whole, took):
    """Kill a command once or, now and then, twice, and let it end; give what is wrong in the end."""
    folder.mkdir()
    arguments = command(kind, sources, folder)
    found, kills = [], []
    for _ in range(draw.choice((1, 1, 1, 2))):
        number, delay = draw.choice(SIGNALS), draw.uniform(0, 1.1 * took)
        code = forked(arguments, folder / "first.log", (delay, number))
        kills.append({"signal": int(number), "after": round(delay, 3), "code": code})
        found += faults_after(kind, folder, code, number, whole)
    found += ended(kind, arguments, folder, whole)
    return {"kind": kind, "kills": kills, "faults": found}


def ended(kind, arguments, folder, whole):
    """Run the same command to its end; say what is wrong then."""
    code = forked(arguments, folder / "second.log")
    if code != 0:
        return [f"the same command ended with {code}: {(folder / 'second.log').read_text()[-400:]!r}"]
    now = contents(kind, folder)
    found = [f"{name} differs" for name in now if now[name] is None or now[name] != whole[name]]
    return found + [f"{path.name} is left over" for path in folder.rglob("*") if ".tmp" in path.name or path.name == "scratch"]


def armed(arguments, place, log, point):
    """Run a command in a child that ckpt-chaos kills at a file event below `place`; without a point it counts them."""
    number, mode = point or (None, "before")

    def arm():
        from ckpt_chaos import inject

        inject.arm(
            str(place), crash_at=number, mode=mode, log_path=str(log.with_suffix(".events")), lazy_native=True, torn_python=True
        )

    return forked(arguments, log, first=arm)


def judge(kind, sources, folder, whole, every):
    """Have ckpt-chaos kill a command at each of its file events, or at every so many of them, and tell what comes of each.

    It kills before the event, with the file torn, and with nothing on the disk that was not synced.
    """
    counted = folder / f"{kind}-counted"
    counted.mkdir()
    assert armed(command(kind, sources, counted), counted, folder / "counted.log", None) == 0
    events = [line.split("\t") for line in (folder / "counted.events").read_text().splitlines()]
    for first, mode in enumerate(("before", "torn", "unsynced")):
        for number, what, name, _ in [one for one in events if mode != "torn" or one[3] == "1"][first % every :: every]:
            place = folder / f"{kind}-{mode}-{number}"
            place.mkdir()
            arguments = command(kind, sources, place)
            code = armed(arguments, place, folder / "first.log", (int(number), mode))
            done = untouched(place, whole)
            found = [] if code == 137 else [f"exit code {code} where a kill was meant"]
            found += ended(kind, arguments, place, whole)
            found += [f"{name} was made again" for name in done if done[name] != (place / name).stat().st_ino]
            tell({"kind": kind, "event": f"{number} {what} {name}", "mode": mode, "faults": found})


def untouched(folder, whole):
    """Return the members' traces that are there whole: what goes on has no reason to make them again."""
    there = {name: folder / name for name in whole if "/trace/" in name and (folder / name).is_file()}
    return {name: path.stat().st_ino for name, path in there.items() if path.read_bytes() == whole[name]}


def tell(what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(folder, seed, counts, events_of, every):
    """Kill as many commands of each kind as asked, then one kind at each of its file events."""
    from dataprune.training import ensemble, plan

    ensemble.CHECKPOINT_SECONDS = 0.0  # after every epoch, however short
    plan.LEAST_STEPS = 1  # a study's own run takes 15 epochs, not 200
    sources = folder / "sources"
    sources.mkdir()
    make_sources(sources)
    draw = random.Random(seed)
    for kind, count in counts.items():
        never = folder / f"{kind}-never"
        never.mkdir()
        run_here(command(kind, sources, never))  # whatever is loaded late is loaded now
        whole, again = contents(kind, never), folder / f"{kind}-again"
        again.mkdir()
        begun = time.perf_counter()
        code = forked(command(kind, sources, again), again / "log")
        took = time.perf_counter() - begun
        assert code == 0, (again / "log").read_text()
        assert contents(kind, again) == whole, f"{kind} is not the same twice"
        for number in range(count):
            tell(one_kill(kind, sources, folder / f"{kind}-{number}", draw, whole, took))
        if kind == events_of:
            judge(kind, sources, folder, whole, every)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    asked = dict(one.split("=") for one in sys.argv[3:])
    at_events, every = asked.pop("events", ""), int(asked.pop("every", "1"))
    main(Path(sys.argv[1]), int(sys.argv[2]), {kind: int(count) for kind, count in asked.items()}, at_events, every)
