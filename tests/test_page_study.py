"""The page of a study, from its two tables."""

import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from dataprune import store
from dataprune.report.page import Options
from dataprune.report.page.render import html
from dataprune.report.page.study import study_page, trial_table
from dataprune.study.cost import Phase
from dataprune.study.spec import StudySpec, Sweep, to_toml
from dataprune.study.study import DataSizes, Study, StudyIdentity, StudyManifest, StudySettings, TrainingTotals, open_study
from dataprune.study.summary import summarise
from dataprune.study.trial import TrialResult
from dataprune.tables import write_table
from dataprune.training.recipes import RECIPES
from study_toys import toy_spec, toy_study

HOSTILE = "<img src=x onerror=alert(1)>"
SPEC = StudySpec("<b>half", (Sweep("hardest", (0.5, 0.7)),), scores=("el2n",))
LOST = {("all", 1.0): 0.0, ("el2n", 0.7): 0.002, ("el2n", 0.5): 0.05, ("random", 0.7): 0.002, ("random", 0.5): 0.01}


def trials(statuses=None, seeds=3):
    """Make seeds of all data, and of el2n and random at two sizes: el2n at .7 loses nothing, at .5 it is worse than random."""
    rows = [(*cell, seed) for cell in LOST for seed in range(seeds)]
    n = len(rows)
    keep = np.array([row[1] for row in rows])
    status = np.array(["ok"] * n if statuses is None else statuses, object)
    chance = np.random.default_rng(0).normal(size=n) / 5000
    accuracy = np.where(status == "ok", [0.9 - LOST[row[:2]] for row in rows] + chance, np.nan)
    strategy = {"all": "all", "random": "random", "el2n": "hardest"}
    return {
        "trial": np.array([f"{number:064x}" for number in range(n)], object),
        "score": np.array([row[0] for row in rows], object),
        "strategy": np.array([strategy[row[0]] for row in rows], object),
        "keep": keep,
        "start": np.zeros(n),
        "n_train": (1000 * keep).astype(np.int64),
        "seed": np.array([row[2] for row in rows]),
        "epochs": np.full(n, 10),
        "steps": np.full(n, 80),
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy,
        "train_seconds": 10 * keep,
        "examples_seen": (10_000 * keep).astype(np.int64),
        "flops": 1e9 * keep,
        "device": np.array(["cpu"] * n, object),
        "status": status,
        "error": np.array(["" if one == "ok" else HOSTILE for one in status], object),
    }


SETTINGS = StudySettings("d" * 64, "v", "e" * 64, "proxy", RECIPES["fast"], 3, "epochs", 0, 1, {"device": "cpu"})


def manifest(scoring=()):
    sizes, totals = DataSizes(100, 10, 20, 0.0, ("a", "b")), TrainingTotals(1.0, 1, 1)
    return StudyManifest(SETTINGS, to_toml(SPEC), sizes, "epochs", 0, (), scoring, totals, {}, {}, "2026")


def study_data(is_finished=True, **options):
    """Make a study as its page needs it, each training that has ended with a curve of five epochs."""
    study = Study(Path("s"), SPEC, SETTINGS, trials(**options), manifest() if is_finished else None)
    curve = TrialResult("t", "ok", validation=tuple(np.linspace(0.2, 0.8, 5)))
    vars(study)["results"] = tuple(curve if status == "ok" else None for status in study.trials["status"])
    return study


def test_findings_of_a_study_by_hand():
    page = study_page(study_data(), Options())
    drop, chance, cost = page.context["findings"]
    assert drop["title"] == "30 % can be dropped within 1 point"
    assert "Kept 70 % by el2n: accuracy differs from all data by −0.2 points, and at most 0." in drop["text"]
    assert chance["title"] == "Chance beats scores at 50 %", "of two comparisons one is no more than half"
    assert "Of 2 comparisons with a random set of the same size 0 are better, 1 worse, and 1 not disting" in chance["text"]
    assert cost["title"] == "Training on 70 % takes 70 % of the work", "of the size that can be dropped to"
    assert "no choice" not in page.context["summary"]
    assert "of 1,000 training examples" in page.context["summary"]
    paid = {(row["what"], row["keep"]): row["paid"] for row in page.context["costs"]}
    assert paid["random", 0.5] == "–", "it needs no scores"
    assert not any(re.search(r"[ (]-\d", note) for one in page.context["advice"] for note in one["why"])
    assert any("−" in note for one in page.context["advice"] for note in one["why"])
    assert set(page.plots) == {"accuracy", "against-random", "by-epoch-1", "by-epoch-2"}
    assert page.context["missing"] == {}
    assert page.context["title"] == "Study: s, <b>half"


def test_what_is_not_known_is_said_in_words():
    page = study_page(study_data(seeds=1), Options())
    drop, chance, _ = page.context["findings"]
    assert drop["title"] == "How much can be dropped is not known"
    assert "--seeds" in drop["text"]
    assert "--seeds" in chance["text"]
    assert "nan" not in html(page, is_static=True).split("</style>")[1].lower()


def test_half_finished_study_says_what_is_there_and_what_is_missing():
    study = study_data(statuses=["ok"] * 6 + ["failed"] * 2 + ["waiting"] * 7)
    page = study_page(study, Options())
    assert [(row["keep"], row["n_seeds"]) for row in page.context["cells"]] == [(1.0, 3), (0.7, 3)]
    assert page.context["missing"]["trials"].startswith("9 of 15 trials have no result (2 failed, 7 waiting)")
    text = html(page)
    assert HOSTILE not in text
    assert "&lt;img src=x" in text
    table = trial_table(study)
    assert len(table["trials"]) == 15
    assert ("arm", False) not in table["trial_columns"]
    assert ("start", True) not in table["trial_columns"], "nothing stands in it"


def test_nothing_has_ended():
    page = study_page(study_data(statuses=["waiting"] * 15, is_finished=False), Options())
    assert {"trials", "summary"} <= set(page.context["missing"])
    assert "no training has ended yet" in html(page, is_static=True)


def write_study(folder, columns, summarised=None, finished=True):
    """Write a study as `dataprune study` does, without the files of its trials."""
    store.write_sealed(folder / "study-spec.json", asdict(StudyIdentity(SETTINGS, to_toml(SPEC), {})))
    write_table(folder / "trials.parquet", columns)
    if finished:
        write_table(folder / "summary.parquet", summarised)
        scoring = ((Phase("train", 5.0, 100, 10**9),),)
        files = ["study-spec.json", "trials.parquet", "summary.parquet"]
        store.write_manifest(folder, "study.json", asdict(manifest(scoring)), files)
    return folder


@pytest.mark.usefixtures("undrawn")
def test_study_on_disk(tmp_path, cli):
    folder = write_study(tmp_path, trials(), summarise(trials()).table)
    code, said, err = cli("report", folder, "--out", tmp_path / "page.html", "--figures", tmp_path / "figures")
    assert (code, err) == (0, "")
    assert "written:" in said
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;half" in text
    assert "Keep 70\u00a0%" in text
    assert "scoring paid against all data" in text
    assert "scoring paid against random" in text
    assert (tmp_path / "figures" / "accuracy.svg").exists()
    assert study_page(open_study(folder), Options()).context["costs"]
    code, _, err = cli("report", folder, "--out", tmp_path / "page.html", "--data", "digits")
    assert code == 2
    assert "are for the report of a run" in err


def test_study_that_is_not_finished_on_disk(tmp_path, cli):
    folder = write_study(tmp_path, trials(["ok"] * 6 + ["open"] * 9), finished=False)
    code, _, err = cli("report", folder, "--out", tmp_path / "page.html")
    assert code == 0
    assert "trials have no result" in err


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["noise-window", "clusters", "curriculum"])
def test_every_preset_has_a_page(name, tmp_path):
    sizes, starts = (Sweep("hardest", (0.7, 0.5)),), (Sweep("window", (0.4,), (0.0, 0.3)),)
    changes = {"clusters": {"clusters": ("3", "5"), "parts": sizes}, "noise-window": {"parts": starts, "scores": ("el2n",)}}
    study = toy_study(tmp_path / "s", toy_spec(name, **changes.get(name, {})))
    page = study_page(study, Options())
    assert page.context["curves"]
    assert page.context["by_epoch"]
    assert (page.context["arms"] != []) == (name == "noise-window")
    text = html(page, is_static=True)
    assert "nan" not in text.split("</style>")[1].lower().replace("finance", "")
    assert f"{study.settings.model}</dd>" in text
    assert "seeds</dt><dd>0, 1" in text


def test_damaged_trials_cost_the_curves_by_epoch_only(tmp_path):
    study = toy_study(tmp_path / "s", toy_spec("half"))
    next((study.path / "trials").iterdir()).write_text("{}")
    page = study_page(study, Options())
    assert page.context["by_epoch"] == []
    assert "No curve by epoch" in html(page)
