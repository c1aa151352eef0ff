"""The page of a study, from its two tables."""

import numpy as np
import pytest

from dataprune import store
from dataprune.report.page import Options
from dataprune.report.page.render import html
from dataprune.report.page.study import study_page, trial_rows
from dataprune.report.page.study_tables import Tables, cells_of, finished, open_tables, price_rows
from dataprune.study.spec import Part, StudySpec, to_toml
from dataprune.study.summary import Droppable
from dataprune.tables import write_table

HOSTILE = "<img src=x onerror=alert(1)>"


def trials(statuses=None):
    """Make three seeds of all data, and of el2n and random at two sizes."""
    rows = [("", "all", 1.0)] + [
        (score, strategy, keep) for score, strategy in (("el2n", "hardest"), ("", "random")) for keep in (0.5, 0.7)
    ]
    rows = [(*row, seed) for row in rows for seed in range(3)]
    n = len(rows)
    keep = np.array([row[2] for row in rows])
    status = np.array(["ok"] * n if statuses is None else statuses, object)
    accuracy = np.where(status == "ok", 0.9 - (1 - keep) / 10, np.nan)
    return {
        "trial": np.array([f"{number:064x}" for number in range(n)], object),
        "score": np.array([row[0] for row in rows], object),
        "strategy": np.array([row[1] for row in rows], object),
        "keep": keep,
        "start": np.zeros(n),
        "n_train": (1000 * keep).astype(np.int64),
        "seed": np.array([row[3] for row in rows]),
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


def summary():
    """Make the summary of these trials: el2n at .7 loses nothing, at .5 it is worse than random."""
    minus_all = np.array([0.0, -0.05, -0.002, -0.02, -0.01])
    minus_random = np.array([np.nan, -0.03, 0.008, np.nan, np.nan])
    n = len(minus_all)
    return {
        "score": np.array(["", "el2n", "el2n", "", ""], object),
        "strategy": np.array(["all", "hardest", "hardest", "random", "random"], object),
        "keep": np.array([1.0, 0.5, 0.7, 0.5, 0.7]),
        "start": np.zeros(n),
        "n_seeds": np.full(n, 3),
        "test_accuracy": 0.9 + minus_all,
        "low": 0.89 + minus_all,
        "high": 0.91 + minus_all,
        "minus_random": minus_random,
        "minus_random_low": minus_random - 0.01,
        "minus_random_high": minus_random + 0.01,
        "minus_all": minus_all,
        "minus_all_low": minus_all - 0.005,
        "minus_all_high": minus_all + 0.005,
        "verdict": np.array(["all data", "worse than random", "not to be told from random", *["the random control"] * 2], object),
    }


def test_findings_of_a_study_by_hand():
    droppable = (Droppable("", "random", 1.0, np.nan, np.nan), Droppable("", "el2n", 0.7, 0.002, 0.0071))
    page = study_page(Tables("s", trials(), summary(), "preset = 'half'", droppable=droppable), Options())
    drop, chance, price = page.context["findings"]
    assert drop["title"] == "30\u00a0% can be dropped within 1 point"
    assert (
        "Kept 70\u00a0% by el2n: accuracy differs from all data by −0.2 points, and the loss is at most 0.7 points" in drop["text"]
    )
    assert chance["title"] == "Chance beats scores"
    assert (
        "Of 2 comparisons with a random set of the same size 0 are better, 1 worse, and 1 not to be told from it." in chance["text"]
    )
    assert price["title"] == "Training on 50\u00a0% takes 50\u00a0% of the time"
    assert set(page.scenes) == {"curves"}
    assert page.context["missing"] == {}


def test_what_cannot_be_told_is_said_in_words():
    told = {"no_loss": "nothing was trained on all data", "no_interval": "one seed says nothing about chance (--seeds 3)"}
    one = summary() | {"verdict": np.array(["cannot be told: needs two seeds that differ"] * 5, object)}
    one |= {name: np.full(5, np.nan) for name in one if name.endswith(("low", "high"))}
    page = study_page(Tables("s", trials(), one, "", **told), Options())
    drop, chance, _ = page.context["findings"]
    assert (drop["title"], drop["text"]) == ("How much can be dropped cannot be told", "Because nothing was trained on all data.")
    assert chance["text"] == "Because one seed says nothing about chance (--seeds 3)."
    assert "nan" not in html(page, is_static=True).split("</style>")[1].lower()


def test_prices_are_means_by_size():
    rows = price_rows(trials())
    assert [(row["keep"], row["count"], row["train_seconds"], row["share"]) for row in rows] == [
        (1.0, 3, 10.0, 1.0),
        (0.7, 6, pytest.approx(7.0), pytest.approx(0.7)),
        (0.5, 6, 5.0, 0.5),
    ]


def test_half_finished_study_says_what_is_there_and_what_is_missing():
    half = trials(["ok"] * 6 + ["failed"] * 2 + ["waiting"] * 7)
    assert finished(half, "test_accuracy").sum() == 6
    study = Tables("s", half, None, "")
    assert [(row["keep"], row["n_seeds"]) for row in cells_of(study)] == [(1.0, 3), (0.5, 3)]
    page = study_page(study, Options())
    assert page.context["missing"]["trials"].startswith("9 of 15 trials have no result (2 failed, 7 waiting)")
    assert page.context["missing"]["summary"].startswith("The study has no summary yet")
    text = html(page)
    assert HOSTILE not in text
    assert "&lt;img src=x" in text
    assert len(trial_rows(half)) == 15


def write_study(folder, columns, summarised=None, finished=True):
    """Write a study as `dataprune study` does, without the files of its trials."""
    question = to_toml(StudySpec("<b>half", (Part("hardest", (0.5, 0.7)),), scores=("el2n",)))
    store.write_json(folder / "study-spec.json", {"format": 1, "settings": {}, "question": question})
    write_table(folder / "trials.parquet", columns)
    if finished:
        write_table(folder / "summary.parquet", summarised)
        phase = {"phase": "train", "wall_seconds": 5.0, "examples_seen": 100, "flops": 10**9}
        files = ["study-spec.json", "trials.parquet", "summary.parquet"]
        store.write_manifest(folder, "study.json", {"scoring": [[phase]], "failed": 0}, files)
    return folder


def test_study_on_disk(tmp_path, cli):
    folder = write_study(tmp_path, trials(), summary())
    code, said, err = cli("report", folder, "--out", tmp_path / "page.html", "--figures", tmp_path / "figures")
    assert (code, err) == (0, "")
    assert "written:" in said
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;half" in text
    assert "Keep 70 %" in text
    assert "scoring paid after trainings" in text
    assert (tmp_path / "figures" / "curves.svg").exists()
    assert open_tables(folder).prices is not None
    code, _, err = cli("report", folder, "--out", tmp_path / "page.html", "--data", "digits")
    assert code == 2
    assert "`--data` and `--features` are for the report of a run" in err


def test_study_that_is_not_finished_on_disk(tmp_path, cli):
    folder = write_study(tmp_path, trials(["ok"] * 6 + ["open"] * 9), finished=False)
    code, _, err = cli("report", folder, "--out", tmp_path / "page.html")
    assert code == 0
    assert "trials have no result" in err


def test_windows_have_a_curve_of_their_own():
    one = summary()
    one["strategy"] = np.array(["all", *["window"] * 4], object)
    one["keep"] = np.array([1.0, 0.4, 0.4, 0.4, 0.4])
    one["start"] = np.array([0.0, 0.0, 0.1, 0.2, 0.3])
    assert set(study_page(Tables("s", trials(), one, ""), Options()).scenes) == {"windows"}
