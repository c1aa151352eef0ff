"""Commands killed at random moments, and run again: the same bytes as those of commands that were never killed."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

KIT = Path(__file__).parents[1] / "kill_kit.py"
SIXTY = {"score": 34, "study": 8, "km": 8, "report": 5, "embed": 5}
TWENTY = {"score": 10, "study": 3, "km": 3, "report": 2, "embed": 2}


def kills(folder, seed, counts, *more):
    """Kill so many commands of each kind; give what came of each."""
    asked = [*(f"{kind}={count}" for kind, count in counts.items()), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DATAPRUNE_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, str(KIT), str(folder), str(seed), *asked], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"kind"')]


def check(found, counts):
    assert Counter(one["kind"] for one in found) == counts
    assert [one for one in found if one["faults"]] == []
    hit = [kill for one in found for kill in one["kills"] if kill["code"] != 0]
    assert len(hit) > len(found) / 2, "most were killed before they ended"


@pytest.mark.faults
@pytest.mark.parametrize("seed", [7, 8])
def test_twenty_kills(tmp_path, seed):
    check(kills(tmp_path, seed, TWENTY), TWENTY)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_hundreds_of_kills(tmp_path, seed):
    check(kills(tmp_path, 1000 + seed, SIXTY), SIXTY)


@pytest.mark.skipif(find_spec("ckpt_chaos") is None, reason="ckpt-chaos is not installed")
@pytest.mark.parametrize("every", [pytest.param(5, marks=pytest.mark.faults), pytest.param(1, marks=pytest.mark.slow)])
def test_ckpt_chaos_at_the_file_events_of_score(tmp_path, every):
    """An independent judge kills at file events, tears files, takes back what was not synced; nothing is lost or differs."""
    found = kills(tmp_path, 0, {"score": 0}, "events=score", f"every={every}")
    assert Counter(one["mode"] for one in found).keys() == {"before", "torn", "unsynced"}
    assert len(found) > 100 // every
    assert [one for one in found if one["faults"]] == []
