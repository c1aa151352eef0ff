"""The command that needs a GPU: without one it says so, and its whole path runs on a CPU with tiny sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PARTS = ("right", "share", "scoring", "sweep")


def gpu(*arguments, **environment):
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), *map(str, arguments)]
    wanted = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, capture_output=True, text=True, env=wanted, check=False, timeout=600)


@pytest.mark.long
def test_every_part_runs_on_a_cpu_and_agrees_with_itself(tmp_path):
    done = gpu("--device", "cpu", "--small", "--results", tmp_path / "results.jsonl", PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    found = {line["benchmark"].removeprefix("gpu: "): line["figures"] for line in lines}
    assert tuple(found) == PARTS
    checks = [value for value in found["right"].values() if isinstance(value, dict)]
    assert len(checks) >= 10
    assert all(check["ok"] for check in checks)
    assert found["share"]["product_teraflops"] > 0
    assert "one at a time" in found["scoring"]
    assert found["sweep"]["trials"] == 10  # all, random and el2n at two sizes, two seeds
    assert found["sweep"]["failed"] == 0
    assert all(str(tmp_path) not in line["command"] for line in lines)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.long
def test_without_a_gpu_it_says_so_in_one_line():
    done = gpu()
    assert (done.returncode, done.stdout) == (4, "")
    assert (
        done.stderr
        == "error: no CUDA GPU here. Run it where there is one, or try its path: benchmarks/gpu.sh --device cpu --small\n"
    )


def test_a_number_that_is_none_is_no_agreement():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from gpu_checks import at_least, at_most
    finally:
        sys.path.pop(0)
    assert [at_most(0.1, 0.1)["ok"], at_most(0.2, 0.1)["ok"], at_most(float("nan"), 1)["ok"]] == [True, False, False]
    assert [at_least(0.1, 0.1)["ok"], at_least(0.0, 0.1)["ok"], at_least(float("nan"), 0)["ok"]] == [True, False, False]
