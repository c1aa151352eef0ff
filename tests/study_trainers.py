"""Trainers that are not ours: a script without imports that cost, which does right, or by its seed something wrong."""

import shlex
import sys

import numpy as np

from dataprune.scores import Score
from dataprune.study.conditions import StudyInputs
from dataprune.study.spec import StudySpec, Sweep
from study_toys import toy_splits, toy_study

GOOD = """
import json, os, sys
ids, rows, test, seed, out = sys.argv[1:6]
read = lambda path: open(path, encoding="utf-8").read().split("\\n")[:-1]
kept, test = read(ids), read(test)
print("seed", seed, os.environ["DATAPRUNE_SEED"], os.environ["OMP_NUM_THREADS"])
right = [(37 * n + 11 * (int(seed) + 1) ** 3 * len(kept)) % 97 < 0.6 * len(kept) for n in range(len(test))]
json.dump({"accuracy": sum(right) / len(right), "correct": right, "ids_seen": kept, "loss": 500 / len(kept) + 0.1 * int(seed),
           "wrong": 1 - sum(right) / len(right), "rows": read(rows)}, open(out, "w"))
"""
BAD = """
import json, os, sys, time
ids, seed, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
write = lambda text: open(out, "w").write(text)
if seed == 1: raise ValueError("boom")
if seed == 2: sys.exit(3)
if seed == 3: write('{"accuracy": NaN}')
if seed == 4: write('{"accuracy": 93.1}')
if seed == 5: write(json.dumps({"accuracy": 1.0, "correct": [True] * 44}))
if seed == 6: write(json.dumps({"accuracy": 0.5, "ids_seen": ["t0", "x"]}))
if seed == 7: print("thinking", flush=True); os.fork(); time.sleep(60)
if seed == 9: write("accuracy: 0.5")
if seed == 10: write('{"acc": 0.5}')
if seed == 11: write("[0.5]")
if seed == 12: os.symlink(__file__, out)
if seed == 13: os.kill(os.getpid(), 9)
if seed == 14: write(json.dumps({"accuracy": 0.9, "correct": [True, False, True] * 15}))
if seed == 15: write('{"accuracy": 0.5, "seconds": -1}')
if seed in (0, 16): write('{"accuracy": 0.5}')
"""
FAULTS = {
    1: "exit code 1: ValueError: boom",
    2: "exit code 3 and printed nothing",
    3: "finite number, got nan",
    4: "0 ... 1, got 93.1",
    5: "45 test examples, got 44",
    6: "other ids than it was given",
    7: "longer than 1.5 seconds (--time-limit): thinking",
    8: "no result file of its own",
    9: "not JSON",
    10: 'holds "accuracy", got an object with acc',
    11: "got list",
    12: "no result file of its own",
    13: "signal 9, perhaps out of memory",
    14: 'share of "correct", 0.6667, got 0.9000',
    15: '"seconds" must be a number of 0 or more',
}


def scripts(folder):
    """Write both scripts into a folder of a hard name; return it."""
    place = folder / 'it\'s "a" {folder'
    place.mkdir()
    (place / "good.py").write_text(GOOD)
    (place / "bad.py").write_text(BAD)
    return place


def command(script, places):
    """Return a command that runs a script by this Python, quoted as a user would."""
    return f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(script))} {places}"


def trainer_study(out, trainer, splits=None, **options):
    """Make a study of one score that is given, by a trainer."""
    splits = toy_splits() if splits is None else splits
    changes = {name: options.pop(name) for name in list(options) if name in StudySpec.__dataclass_fields__}
    parts = (Sweep("hardest", (0.5,)),)
    asked = StudySpec("half", **{"parts": parts, "scores": ("mine",), "seeds": 2, "trainer": trainer, **changes})
    sources = StudyInputs(scores=(Score("mine", np.arange(float(len(splits.train)))),))
    return toy_study(out, asked, splits, sources, **options)
