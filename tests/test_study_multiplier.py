"""How many times fewer examples a rule needs than random, and the guard that keeps only what a study showed."""

from dataclasses import replace

import numpy as np
import pytest

from dataprune.cli import main
from dataprune.cli.study import say_summary
from dataprune.data import read_features
from dataprune.errors import InputError
from dataprune.run.run import open_run
from dataprune.study.conditions import StudyInputs
from dataprune.study.cost import UNKNOWN, study_costs
from dataprune.study.proven import proven
from dataprune.study.spec import Sweep
from dataprune.study.summary import summarise
from dataprune.training.settings import Cost
from study_toys import toy_spec, toy_splits, toy_study, vectors

SIZES = (0.9, 0.7, 0.5, 0.3)


def curve(keep):
    return 0.9 + 0.05 * np.log(keep)


def trials(times, seeds=4, noise=0.001, seed=0):
    """Make a study whose rule does as well as random with `times` as many examples."""
    draw, rows = np.random.default_rng(seed), []
    for number in range(seeds):
        cells = [("all", "all", 1.0, curve(1.0))]
        cells += [("random", "random", keep, curve(keep)) for keep in SIZES]
        cells += [("el2n", "hardest", keep, curve(keep * times)) for keep in SIZES]
        rows += [(*cell[:3], number, cell[3] + draw.normal(0, noise)) for cell in cells]
    score, strategy, keep, number, accuracy = zip(*rows, strict=True)
    table = {"score": np.array(score, object), "strategy": np.array(strategy, object), "keep": np.array(keep)}
    work = {"train_seconds": np.array(keep) * 10, "examples_seen": np.array(keep) * 100, "flops": np.array(keep) * 1000}
    return table | {"seed": np.array(number), "test_accuracy": np.array(accuracy)} | work


def test_what_random_needs_for_the_same_is_read_from_its_curve():
    found = {one.keep: one for one in summarise(trials(1.5)).multipliers}
    assert list(found) == list(SIZES)
    for keep in (0.5, 0.3):
        assert found[keep].low < 1.5 < found[keep].high
        assert found[keep].times == pytest.approx(1.5, rel=0.06)
        assert found[keep].high / found[keep].low < 1.3
    for keep in (0.9, 0.7):  # better than all data
        assert found[keep].times == found[keep].high == np.inf
        assert found[keep].low == pytest.approx(1 / keep, rel=0.05)
    worse = {one.keep: one for one in summarise(trials(0.5)).multipliers}
    assert worse[0.7].times == pytest.approx(0.5, rel=0.06)
    assert (worse[0.3].times, worse[0.3].low) == (0, 0), "random's sizes end before"
    assert worse[0.3].high < 1.1
    assert summarise(trials(1.5, noise=0.0)).multipliers == ()


@pytest.mark.parametrize("times", [0.8, 1.0, 1.5])
def test_intervals_hold_the_truth(times):
    held = [
        one.low <= times <= one.high
        for seed in range(40)
        for one in summarise(trials(times, 3, 0.004, seed)).multipliers
        if 0.3 < one.keep * times < 1
    ]
    assert np.mean(held) > 0.9


def test_work_is_counted_with_scoring_and_paid_by_savings():
    table = trials(1.5)
    one = next(found for found in summarise(table).multipliers if found.keep == 0.5)
    times, paid = one.net(study_costs(table, Cost(1.0, 1.0, 2000.0)))
    assert times == pytest.approx(1000 * 0.5 * one.times / (500 + 2000))
    assert paid == 2000 // (1000 * 0.5 * one.times - 500) + 1
    words = one.words(study_costs(table, Cost(1.0, 1.0, 2000.0)))
    assert words[:3] == ("el2n", "0.5", f"{one.times:.2f}")
    assert words[4] == f"{1 / times:.2f}", "times the work, not how many times less"
    assert words[5] == f"after {paid:.0f} trainings"
    assert [replace(one, times=times, low=0.0, high=np.inf).words(study_costs(table, UNKNOWN))[2] for times in (0.0, np.inf)] == [
        "-",
        "-",
    ]
    assert replace(one, times=np.inf, low=1.5, high=np.inf).words(study_costs(table, UNKNOWN))[2] == "over 1.50"
    worse = next(found for found in summarise(trials(0.7)).multipliers if found.keep == 0.7)
    assert worse.net(study_costs(table, Cost(1.0, 1.0, 2000.0)))[1] is None


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    parts = (Sweep("hardest", (0.9, 0.5)),)
    spec = toy_spec("half", parts=parts, scores=("el2n",), seeds=3, tolerance=0.5)
    return toy_study(tmp_path_factory.mktemp("proven") / "study", spec)


def test_columns_that_hold_nothing_are_left_out(studied, capsys):
    say_summary(studied)
    said = capsys.readouterr().out
    assert "area %" in said
    assert "10-70 % dropped" not in said
    assert "start" not in said.split("verdict")[0]
    assert f"sizes are of {studied.manifest.data.n_train} examples" in said


def test_what_was_shown_is_kept(studied, tmp_path, capsys):
    run = open_run(studied.path / "run")
    assert proven(studied, run, None, "el2n", None)[0].keep == 0.5
    cell, said = proven(studied, run, 0.9, None, "hardest")
    assert cell.name == "el2n"
    assert "down to" not in said
    assert f"of {studied.manifest.data.n_train} examples there" in said
    assert f"here of {len(run.ids)}" in said
    assert proven(studied, run, 0.9, None, "random")[0].is_random
    out = tmp_path / "kept.csv"
    assert main(["prune", str(run.path), "--proven", str(studied.path), "--by", "el2n", "--out", str(out)]) == 0
    assert "proven: el2n loses at most" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 61


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((0.7, None, None), ("did not try that, but el2n at keep 0.5", "at keep 0.9")),
        ((None, "forget", None), ("forget", "did not try that", "Random against all data")),
        ((0.5, None, "easiest"), ("easiest at keep 0.5", "Random against all data")),
    ],
)
def test_what_was_not_shown_is_refused_and_random_is_named(studied, asked, words):
    with pytest.raises(InputError) as caught:
        proven(studied, open_run(studied.path / "run"), *asked)
    assert all(word in str(caught.value) for word in words)


def test_what_loses_more_other_scores_and_other_options_are_refused(studied, tmp_path, capsys):
    strict = replace(studied, spec=replace(studied.spec, tolerance=0.0))
    with pytest.raises(
        InputError, match=r"at any size below 1 to lose at most 0 points.*did not show that.*Random against all data"
    ):
        proven(strict, open_run(studied.path / "run"), None, None, None)
    one_seed = toy_study(tmp_path / "one", replace(studied.spec, seeds=1), sources=StudyInputs(run=studied.path / "run"))
    with pytest.raises(InputError, match="one seed"):
        proven(one_seed, open_run(studied.path / "run"), 0.9, None, None)
    other = toy_study(tmp_path / "other", studied.spec, replace(toy_splits(), train=vectors(120, 5)))
    with pytest.raises(InputError, match="other scores"):
        proven(other, open_run(studied.path / "run"), 0.9, None, None)
    call = ["prune", str(studied.path / "run"), "--proven", str(studied.path)]
    with pytest.raises(InputError, match="has ended"):
        proven(replace(studied, manifest=None), open_run(studied.path / "run"), 0.9, None, None)
    for option in (["--count", "50"], ["--cut", "0.1"], ["--until", "3"], ["--balanced"]):
        assert main([*call, *option]) == 2
        assert option[0] in capsys.readouterr().err


def test_sets_chosen_by_features_are_proven_with_the_same_features_alone(tmp_path):
    digests = []
    for name in ("own", "other"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(len(name)).normal(size=(120, 6)).astype(np.float32))
        digests.append(read_features(tmp_path / f"{name}.npy").digest)
    parts = (Sweep("hardest", (0.9,)), Sweep("k-center", (0.8,)))
    spec = toy_spec("half", parts=parts, scores=("el2n", "km"), clusters=("3",), seeds=2, tolerance=0.9)
    sources = StudyInputs(features=read_features(tmp_path / "own.npy"))
    study = toy_study(tmp_path / "study", spec, sources=sources)
    run = open_run(study.path / "run")
    assert proven(study, run, 0.8, None, "k-center", digests[0])[0].strategy == "k-center"
    for features in (None, digests[1]):
        with pytest.raises(InputError, match=r"`features` must be those by which k-center was proven.*--features"):
            proven(study, run, 0.8, None, "k-center", features)
    with pytest.raises(InputError, match="clusters that the study made"):
        proven(study, run, None, "km", None)


def test_without_a_rule_it_is_said_where_another_is_advised(studied, capsys):
    run = str(studied.path / "run")
    assert main(["prune", run, "--keep", "0.5"]) == 0
    assert f"dataprune advise {run}" in capsys.readouterr().err
    assert main(["prune", run, "--keep", "0.5", "--by", "el2n"]) == 0
    assert main(["prune", run, "--keep", "0.5", "--strategy", "hardest"]) == 0
    assert main(["prune", run, "--keep", "1"]) == 0
    assert "dataprune advise" not in capsys.readouterr().err
    assert main(["prune", run, "--keep", "0.5", "--by", "foo"]) == 2
    assert "`--by` must be one of" in capsys.readouterr().err
