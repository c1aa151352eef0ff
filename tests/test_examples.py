"""The examples run as a reader would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_from_any_folder(path: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error", "DATAPRUNE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if path.stem == "plain_pytorch_loop":
        assert "kept 1006 of 1437 examples" in done.stdout  # floor(0.7 · 1437 + 0.5)
        assert "el2n: hardest is id " in done.stdout
    else:
        seen = [int(line.split()[1].replace(",", "")) for line in done.stdout.splitlines()]
        assert seen[0] > seen[1] > seen[2] == 6900  # half of 1,149 twelve times, rounded up


def test_there_is_an_example() -> None:
    assert [path.stem for path in EXAMPLES] == ["dynamic_pruning", "plain_pytorch_loop"]
