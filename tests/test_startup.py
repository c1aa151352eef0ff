"""What is loaded before a command is known: nothing that takes long."""

import json
import resource
import subprocess
import sys

import pytest

import dataprune

HEAVY = {
    "torch",
    "matplotlib",
    "sklearn",
    "pyarrow",
    "PIL",
    "scipy",
    "numpy",
    "simplejpeg",
    "safetensors",
    "cloudpickle",
    "ray",
}
TINY = """
from cyclopts import App
app = App(version="1")
@app.command
def score(*, seed: int = 0) -> None: ...
app(["score", "--help"])
"""
HELP = "import sys; from dataprune.cli import main; main(['{}', '--help'])"


def loaded(code):
    """Run code in a fresh interpreter and give the top-level modules that it loaded."""
    told = f"{code}\nimport json, sys; sys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr)}


def seconds(code):
    """Return the processor's seconds, which grow less on a busy machine."""
    spent = [resource.getrusage(resource.RUSAGE_CHILDREN)]
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    spent.append(resource.getrusage(resource.RUSAGE_CHILDREN))
    before, after = (one.ru_utime + one.ru_stime for one in spent)
    return after - before


def test_import_loads_nothing_heavy():
    assert loaded("import dataprune") & (HEAVY | {"cyclopts"}) == set()


def test_help_loads_nothing_heavy():
    code = "; ".join([HELP.format("score"), *(f"main(['{name}', '--help'])" for name in ("prune", "demo"))])
    assert loaded(code) & HEAVY == set()


def test_what_the_first_tests_see_can_be_seen():
    assert "numpy" in loaded("import dataprune; dataprune.select")


def test_help_is_about_as_quick_as_that_of_a_tiny_program():
    ours, theirs = [], []
    for _ in range(4):  # in turn, since the machine may be busy with something else for a while
        ours.append(seconds(HELP.format("score")))
        theirs.append(seconds(TINY))
    assert min(ours) < 2 * min(theirs)


def test_selecting_and_opening_a_run_need_no_torch():
    assert (
        loaded("import dataprune as dp; dp.select; dp.open_run; dp.write_kept") & {"torch", "matplotlib", "sklearn", "cyclopts"}
        == set()
    )


def test_every_public_name_is_there():
    for name in dataprune.__all__:
        assert getattr(dataprune, name) is not None
    assert sorted(dataprune.__all__) == dir(dataprune)


def test_names_are_not_shadowed_by_modules():
    code = """
import dataprune as dp
import dataprune.run.score, dataprune.scores.score, dataprune.trace.trace, dataprune.selection.select, dataprune.data.reading
assert callable(dp.score) and callable(dp.select) and callable(dp.read) and callable(dp.verify)
from dataprune import score, select, scores, selection, Score, Scores, Trace
assert callable(score) and callable(select) and scores.SCORES is dp.SCORES
from dataprune.run.score import score as same
assert score is same
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="module 'dataprune' has no attribute 'scroe'"):
        dataprune.scroe  # noqa: B018
