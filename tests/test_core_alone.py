"""The core does its work where no extra and no tool of development is installed: each of them fails to import here."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    "ckpt-chaos": "ckpt_chaos",
    "axe-playwright-python": "axe_playwright_python",
    "pytest-xdist": "xdist",
    "pip-audit": "pip_audit",
}
BLOCK = """
import sys

class Without:
    #A finder that does not see what is not there: `find_spec` gives None, as in an environment without it.

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {absent} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from dataprune.cli import main
for line in {lines}:
    if code := main(line):
        sys.exit(code)
"""


def outside_the_core():
    """Name the modules of every extra and dependency group that the core does not ask for."""
    said = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [*said["project"]["optional-dependencies"].values(), *said["dependency-groups"].values()]
    names = {re.match(r"[\w.-]+", one)[0] for group in extras for one in group}
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("core")


def alone(folder, *lines, code=0):
    """Run commands, one after the other in one process, until one does not end with 0."""
    script = folder / "alone.py"
    script.write_text(BLOCK.format(absent=outside_the_core(), lines=[list(line) for line in lines]))
    wanted = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, script], cwd=folder, env=wanted, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_extras_are_known():
    assert {"datasets", "ray", "tensorboard", "hypothesis", "cleanlab", "mypy", "xdist"} <= outside_the_core()


@pytest.mark.long
def test_score_prune_find_and_report(folder):
    quick = ("--folds", "0", "--members", "2", "--epochs", "2", "--model", "linear", "--executor", "serial", "--quiet")
    alone(
        folder,
        ("score", "digits", "--out", "run", *quick),
        ("prune", "run", "--by", "el2n", "--keep", "0.7", "--out", "kept.csv"),
        ("noise", "find", "run", "--out", "suspects.csv"),
        ("report", "run", "--out", "page.html"),
    )
    assert (folder / "page.html").stat().st_size > 50_000
    assert len((folder / "kept.csv").read_text().splitlines()) == 1 + 1006


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("score", "hf:some/set", "--out", "x"), "huggingface"),
        pytest.param(("score", "digits", "--out", "y", "--executor", "ray", "--quiet"), "ray", marks=pytest.mark.long),
    ],
)
def test_what_needs_an_extra_names_it(folder, command, extra):
    done = alone(folder, command, code=4)
    assert f"pip install 'dataprune[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1
