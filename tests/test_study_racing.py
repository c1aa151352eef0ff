"""A race: cells that are surely worse than random after two seeds get no more, and nothing else changes."""

import pytest

from dataprune.errors import InputError
from dataprune.study.metric import Metric
from dataprune.study.results_table import Cell
from dataprune.study.spec import Sweep
from dataprune.study.study import verify_study
from dataprune.study.summary import summarise
from study_tables import sweep_rows, trials_of
from study_trainers import command, trainer_study

# The hardest half of the rows trains badly, whatever the seed.
SCRIPT = """
import json, sys
rows, seed = [int(row) for row in open(sys.argv[1])], int(sys.argv[2])
share = 0.9 - 0.3 * (min(rows) >= 60) + 0.001 * ((sum(rows) + 1) * (3 * seed + 1) % 7)
json.dump({"accuracy": share}, open(sys.argv[3], "w"))
"""
PARTS = (Sweep("hardest", (0.75, 0.5)), Sweep("easiest", (0.5,)))


class Stop(Exception):
    """Raised by a listener in the middle of a study."""


def test_what_is_beaten_after_two_seeds_gets_no_more(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    trainer = command(tmp_path / "train.py", "{rows} {seed} {result}")
    asked = {"parts": PARTS, "seeds": 4, "racing": True}

    def stop(progress):
        if progress.done == 14:  # of the second part of the race
            raise Stop

    with pytest.raises(Stop):
        trainer_study(tmp_path / "race", trainer, listener=stop, **asked)
    study = trainer_study(tmp_path / "race", trainer, **asked)
    whole = trainer_study(tmp_path / "whole", trainer, **{**asked, "racing": False})
    seeds = dict(zip(study.summary.cells, study.summary.table["n_seeds"].tolist(), strict=True))
    assert {cell for cell, n in seeds.items() if n == 2} == {Cell("mine", "hardest", 0.5)}
    assert set(seeds.values()) == {2, 4}
    assert len(study.trials["trial"]) == len(whole.trials["trial"]) - 2
    assert set(study.trials["trial"]) < set(whole.trials["trial"]), "the same trainings, so each study finds the other's"
    assert any("mine at keep 0.5" in note for note in study.manifest.notes)
    assert verify_study(study.path) == []
    heard = []
    again = trainer_study(tmp_path / "race", trainer, listener=heard.append, **asked)
    assert heard == []
    assert again.manifest == study.manifest


def test_beaten_is_by_more_than_the_tolerance_against_the_control_of_its_kind():
    rows = sweep_rows(scores=("el2n",), sizes=(0.9, 0.3), noise=0.0005)  # less than random by .04 at .3, more by .002 at .9
    worst = {Cell("el2n", "hardest", 0.3)}
    trials = trials_of(rows)
    assert summarise(trials).beaten == worst
    assert summarise(trials, tolerance=0.06).beaten == set()
    assert summarise(trials_of([row for row in rows if row[0] != "random"])).beaten == worst, "all data, where there is no random"
    loss = {**trials, "loss": 1 - trials["test_accuracy"]}
    assert summarise(loss, 0.01, Metric.of("loss:lower:0:1")).beaten == worst
    single = {name: values[trials["seed"] == 0] for name, values in trials.items()}
    assert summarise(single).beaten == set(), "one seed says nothing"


def test_a_race_needs_a_third_seed(tmp_path):
    with pytest.raises(InputError, match=r"seeds.*3 for a race"):
        trainer_study(tmp_path, "x {ids} {result}", seeds=2, racing=True)
