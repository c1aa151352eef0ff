"""With `python -W error`, where every warning of ours or of a library ends the program: each command's help, and a small story."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fault_kit import some_digits, vectors_file

HELP = """
import dataprune
for name in dataprune.__all__:
    getattr(dataprune, name)
from dataprune.cli import main
from dataprune.cli.app import app
names = [name for name in app if not name.startswith("-")]
assert len(names) > 10, names
for name in [*names, "noise find", "noise apply", "noise check", "noise inject"]:
    assert main([*name.split(), "--help"]) == 0, name
"""
STORY = """
from dataprune.cli import main
quick = ["--folds", "0", "--members", "2", "--epochs", "2", "--model", "linear", "--executor", "serial", "--quiet"]
for line in (
    ["score", "digits.npz", "--out", "run", *quick],
    ["prune", "run", "--keep", "0.5", "--balanced", "--out", "kept.csv"],
    ["prune", "run", "--keep", "0.5", "--copy-to", "kept", "--data", "digits.npz"],
    ["show", "digits.npz", "--out", "sheet.png"],
    ["report", "run", "--out", "page.html", "--figures", "figures", "--data", "digits.npz"],
    ["noise", "find", "run", "--out", "suspects.csv"],
    ["km", "vectors.npy", "--clusters", "30", "--out", "km.parquet"],
    ["map", "vectors.npy", "--out", "map.png"],
    ["embed", "digits.npz", "--encoder", "pixels", "--out", "x.npy", "--quiet"],
    ["duplicates", "digits.npz", "--out", "doubles.csv"],
    ["verify", "run"],
):
    assert main(line) == 0, line
"""


def strictly(code, folder):
    """Run code in an interpreter where every warning is an error; give what it said on stderr."""
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False, timeout=600)
    return done.returncode, done.stderr


@pytest.mark.long
def test_help_of_each_command(tmp_path):
    assert strictly(HELP, tmp_path) == (0, "")


@pytest.mark.long
def test_a_small_story(tmp_path):
    digits = some_digits()
    np.savez(tmp_path / "digits.npz", x=np.array(digits.images), y=np.array(digits.labels))
    vectors_file(tmp_path)
    code, said = strictly(STORY, tmp_path)
    assert code == 0, said
    assert "Warning" not in said


def test_a_warning_would_be_seen(tmp_path):
    code, said = strictly("import warnings; warnings.warn('x')", tmp_path)
    assert code == 1
    assert "UserWarning: x" in said
