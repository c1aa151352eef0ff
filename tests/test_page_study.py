"""The page of a study, from its two tables."""

from dataclasses import asdict

import numpy as np
import pytest

from dataprune import store
from dataprune.report.page import Options
from dataprune.report.page.chart import Chart, Series, chart_scene
from dataprune.report.page.render import html
from dataprune.report.page.scene import Area, Line, Words
from dataprune.report.page.study import study_page, trial_table
from dataprune.report.page.study_curves import label_of, looks
from dataprune.report.page.study_epochs import epoch_scenes
from dataprune.report.page.study_tables import StudyReportData, cells_of, finished, open_tables, price_rows
from dataprune.study.cost import Phase
from dataprune.study.spec import StudySpec, Sweep, to_toml
from dataprune.study.study import DataSizes, StudyIdentity, StudyManifest, StudySettings, TrainingTotals
from dataprune.study.summary import Droppable
from dataprune.tables import write_table
from dataprune.training.recipes import RECIPES
from study_toys import toy_spec, toy_study

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
        "verdict": np.array(
            ["all data", "worse than random", "not distinguishable from random", *["the random control"] * 2], object
        ),
    }


def test_findings_of_a_study_by_hand():
    droppable = (Droppable("", "random", 1.0, np.nan, np.nan), Droppable("", "el2n", 0.7, 0.002, 0.0071))
    page = study_page(StudyReportData("s", trials(), summary(), "preset = 'half'", droppable=droppable), Options())
    drop, chance, price = page.context["findings"]
    assert drop["title"] == "30\u00a0% can be dropped within 1 point"
    assert (
        "Kept 70\u00a0% by el2n: accuracy differs from all data by −0.2 points, and the loss is at most 0.7 points" in drop["text"]
    )
    assert chance["title"] == "Chance beats scores"
    assert (
        "Of 2 comparisons with a random set of the same size 0 are better, 1 worse, and 1 not distinguishable from it."
        in chance["text"]
    )
    assert price["title"] == "Training on 50\u00a0% takes 50\u00a0% of the work"
    assert set(page.scenes) == {"curves"}
    assert page.context["missing"] == {}


def test_what_cannot_be_told_is_said_in_words():
    told = {"no_loss": "nothing was trained on all data", "no_interval": "one seed says nothing about chance (--seeds 3)"}
    one = summary() | {"verdict": np.array(["cannot be told: needs two seeds that differ"] * 5, object)}
    one |= {name: np.full(5, np.nan) for name in one if name.endswith(("low", "high"))}
    page = study_page(StudyReportData("s", trials(), one, "", **told), Options())
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
    study = StudyReportData("s", half, None, "")
    assert [(row["keep"], row["n_seeds"]) for row in cells_of(study)] == [(1.0, 3), (0.5, 3)]
    page = study_page(study, Options())
    assert page.context["missing"]["trials"].startswith("9 of 15 trials have no result (2 failed, 7 waiting)")
    assert page.context["missing"]["summary"].startswith("The study has no summary yet")
    text = html(page)
    assert HOSTILE not in text
    assert "&lt;img src=x" in text
    table = trial_table(half)
    assert len(table["trials"]) == 15
    assert ("arm", False) not in table["trial_columns"]
    assert ("start", True) not in table["trial_columns"], "nothing stands in it"


def write_study(folder, columns, summarised=None, finished=True):
    """Write a study as `dataprune study` does, without the files of its trials."""
    question = to_toml(StudySpec("<b>half", (Sweep("hardest", (0.5, 0.7)),), scores=("el2n",)))
    settings = StudySettings("d" * 64, "v", "e" * 64, "proxy", RECIPES["fast"], 3, "epochs", 0, 1, {"device": "cpu"})
    store.write_sealed(folder / "study-spec.json", asdict(StudyIdentity(settings, question, {})))
    write_table(folder / "trials.parquet", columns)
    if finished:
        write_table(folder / "summary.parquet", summarised)
        scoring = ((Phase("train", 5.0, 100, 10**9),),)
        sizes, totals = DataSizes(100, 10, 20, 0.0, ("a", "b")), TrainingTotals(1.0, 1, 1)
        manifest = StudyManifest(settings, question, sizes, "epochs", 0, (), scoring, totals, {}, {}, "2026")
        store.write_manifest(folder, "study.json", asdict(manifest), ["study-spec.json", "trials.parquet", "summary.parquet"])
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
    assert set(study_page(StudyReportData("s", trials(), one, ""), Options()).scenes) == {"windows"}


def words(scene):
    return [mark.text for mark in scene.marks if isinstance(mark, Words)]


def cell(score, strategy="hardest", keep=0.5, **more):
    return {"score": score, "strategy": strategy, "keep": keep, "start": 0.0} | more


def test_curves_by_epoch_compare_what_is_of_one_size():
    rows = [
        cell("all", "all", 1.0),
        cell("random", "random", 0.5),
        cell("random", "random", 0.7),
        cell("el2n"),
        cell("el2n", keep=0.7),
    ]
    curves = [np.linspace((0.1, 0.2), (0.8, 0.9), 8, axis=1) - place / 100 for place in range(5)]
    curves[2] = None  # its seeds have curves of different lengths
    scenes = epoch_scenes(rows, curves)
    assert {title: scene.name for title, scene in scenes.items()} == {"keep 70 %": "by-epoch-1", "keep 50 %": "by-epoch-2"}
    assert [word for word in words(scenes["keep 50 %"]) if not word[0].isdigit()] == [
        *("all data", "random", "el2n", "epoch", "accuracy on validation")
    ]
    assert "random" not in words(scenes["keep 70 %"])
    assert [word for word in words(scenes["keep 50 %"]) if word.isdigit()] == list("12345678")


def test_curves_by_epoch_of_windows_orders_and_arms():
    window = [cell("el2n", "window", 0.4, start=start, arm=arm) for arm in ("given", "noise 0.1") for start in (0.0, 0.3)]
    window += [cell("random", "random", 0.4, arm=arm) for arm in ("given", "noise 0.1")]
    scenes = epoch_scenes(window, [np.full((3, 4), 0.5)] * 6)
    assert list(scenes) == [f"window of 40 % from {at} %, {arm}" for arm in ("given", "noise 0.1") for at in (0, 30)]
    assert all("random" in words(scene) for scene in scenes.values())
    orders = [cell("all", "all", 1.0), cell("random", "random", 1.0, order="random order")]
    orders += [cell("el2n", "curriculum", 1.0, order=order) for order in ("easy-to-hard", "hard-to-easy")]
    (scene,) = epoch_scenes(orders, [np.full((3, 4), 0.5)] * 4).values()
    assert words(scene)[:4] == ["all data", "random order", "el2n easy-to-hard", "el2n hard-to-easy"]


def test_what_lies_below_a_chart_is_cut_where_it_crosses():
    x, y = np.arange(1.0, 5.0), np.array([0.0, 0.4, 0.6, 0.8])
    line = Series("el2n", "c0", x, y, y - 0.1, y + 0.1)
    scene = chart_scene(Chart("c", "t", "d", "epoch", "accuracy", (line,), (), False, True, 0.5))
    (drawn,) = [mark for mark in scene.marks if isinstance(mark, Line) and mark.role == "c0" and len(mark.points) > 2]
    (band,) = [mark for mark in scene.marks if isinstance(mark, Area)]
    floor = max(mark.points[0, 1] for mark in scene.marks if isinstance(mark, Line) and mark.role == "muted")
    assert drawn.points[0, 1] == pytest.approx(floor)
    middle = [mark.x for mark in scene.marks if isinstance(mark, Words) and mark.text in "23"]
    assert drawn.points[0, 0] == pytest.approx(np.mean(middle)), "0.5 lies halfway between 0.4 and 0.6"
    assert band.points[:, 1].max() <= floor + 1e-6


def test_lines_of_one_chart_are_told_apart():
    rows = [cell("km", clusters=number) for number in (5, 20, 50)]
    rows += [cell("el2n"), cell("el2n", "easiest"), cell("random", "random")]
    assert len(set(looks(rows))) == 6
    named = ["km (5 clusters)", "km (20 clusters)", "km (50 clusters)", "el2n", "el2n easiest", "random"]
    assert [label_of(row) for row in rows] == named
    assert looks([cell("el2n")]) == looks([cell("el2n", keep=0.7)]), "a score has its colour everywhere"


@pytest.mark.parametrize("name", ["noise-window", "clusters", "curriculum", "recipes"])
def test_every_preset_has_a_page(name, tmp_path):
    sizes, starts = (Sweep("hardest", (0.7, 0.5)),), (Sweep("window", (0.4,), (0.0, 0.3)),)
    changes = {"clusters": {"clusters": ("3", "5"), "parts": sizes}, "noise-window": {"parts": starts, "scores": ("el2n",)}}
    study = toy_study(tmp_path / "s", toy_spec(name, **changes.get(name, {})))
    page = study_page(open_tables(study.path), Options())
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
    page = study_page(open_tables(study.path), Options())
    assert page.context["by_epoch"] == []
    assert "No curve by epoch" in html(page)
