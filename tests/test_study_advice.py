"""What is advised, and on what ground."""

from dataclasses import replace

import numpy as np
import pytest

import dataprune as dp
from dataprune.errors import InputError
from dataprune.study.advice import Situation, advise, grouped, overall, situation_from, situation_of
from dataprune.study.cost import NO_ENCODER
from dataprune.study.spec import Sweep
from dataprune.study.summary import Verdict, summarise
from dataprune.training.settings import Cost
from study_tables import sweep_rows, trials_of, window_rows
from study_toys import toy_spec, toy_study, vectors

LARGE = Situation(50_000, 10, 5_000, ("el2n", "std", "flip", "forget", "aum"), wrong=200)


def at(keep, situation=LARGE, summary=None):
    (found,) = advise(situation, [keep], summary)
    return found


def grounds(advice):
    return {reason.ground for reason in advice.reasons}


def test_large_classes_keep_the_hardest_down_to_seventy_percent():
    found = at(0.7)
    assert (found.strategy, found.by) == ("hardest", "std")
    assert found.options == ("--keep", "0.7", "--strategy", "hardest", "--by", "std")
    assert "arXiv:2502.06905" in str(found.reasons[0])
    assert [at(0.7, replace(LARGE, encoded=one)).reasons[1].code for one in (True, False)] == ["many: vectors", "many: scratch"]


def test_below_they_keep_some_of_every_difficulty():
    assert (at(0.5).strategy, at(0.5).by, at(0.5).cut) == ("stratified", "aum", 0.0)
    assert any("--cut 0.1" in reason.text for reason in at(0.2).reasons)


def test_five_hundred_a_class_keep_the_hardest_only_down_to_eighty_percent():
    middling = Situation(50_000, 100, 500, LARGE.scores)
    assert at(0.8, middling).strategy == "hardest"
    assert at(0.7, middling).strategy == "stratified"
    assert "CIFAR-100" in at(0.7, middling).reasons[0].text
    assert at(0.7, replace(middling, encoded=True)).reasons[1].code == "some: vectors"
    assert at(0.7, replace(middling, encoded=True, wrong=5_000)).strategy == "stratified", "not measured with wrong labels"


def test_weak_eyes_from_scratch_are_told_of_better_ones():
    weak = replace(LARGE, accuracy=0.7)
    for accuracy in (0.7, 0.0):
        assert "eyes: tuned" in [reason.code for reason in overall(replace(weak, accuracy=accuracy))]
    for other in ({"accuracy": 0.9}, {"accuracy": None}, {"encoded": True}, {"pretrained": True}, {"kind": "texts"}):
        assert "eyes: tuned" not in [reason.code for reason in overall(replace(weak, **other))]


def test_few_examples_are_better_not_pruned():
    small = Situation(1_437, 10, 140, LARGE.scores)
    assert (at(0.9, small).strategy, at(0.9, small).balanced, at(0.9, small).by) == ("random", True, "")
    assert any("pruning hardly pays" in reason.text for reason in overall(small))


def test_a_small_set_of_large_classes_is_better_not_pruned_either():
    few = Situation(5_000, 10, 450, LARGE.scores)
    assert (at(0.7, few).strategy, at(0.7, few).by) == ("random", "")
    assert [reason.code for reason in at(0.7, few).reasons] == ["few: random"], "that easy ones are worth more is none for random"
    assert any("docs/findings.md" in str(reason) for reason in overall(few))
    assert at(0.7, Situation(5_000, scores=LARGE.scores)).strategy == "random", "the trials of a study alone tell no classes"


def test_at_small_sizes_of_few_what_was_measured_speaks():
    clean, noisy = (Situation(1_437, 10, 140, ("el2n", "dual"), wrong=wrong) for wrong in (0, 150))
    assert (at(0.1, clean).strategy, at(0.2, noisy).strategy, at(0.4, noisy).strategy) == ("random", "random", "random")
    assert (at(0.1, noisy).strategy, at(0.1, noisy).by, at(0.1, noisy).balanced) == ("beta", "dual", True)
    for one in (clean, noisy):
        encoded = replace(one, encoded=True)
        assert [at(keep, encoded).strategy for keep in (0.1, 0.2, 0.4)] == ["herding", "herding", "random"]
    seventy = at(0.7, replace(clean, encoded=True))
    assert (seventy.strategy, seventy.by, seventy.reasons[0].code) == ("hardest", "el2n", "few: seventy")
    for keep, code in ((0.7, "texts: half"), (0.5, "texts: half"), (0.9, "few: random")):
        assert at(keep, replace(clean, kind="texts")).reasons[0].code == code
    for other in (clean, replace(noisy, encoded=True), replace(clean, encoded=True, n_examples=900)):
        assert at(0.7, other).strategy == "random"
    assert at(0.1, replace(noisy, scores=("el2n",))).strategy == "random", "a run without dual"
    assert all("docs/findings.md" in str(at(0.1, one).reasons[0]) for one in (clean, noisy))
    assert "1,437 examples" not in str(at(0.1, noisy).reasons[0])


def test_wrong_labels_are_left_out_first():
    noisy = Situation(50_000, 10, 5_000, LARGE.scores, wrong=4_600, counts="wrong labels, estimated: 4,600 of 50,000")
    window = at(0.7, noisy)
    assert (window.strategy, window.by, window.start) == ("window", "el2n", 0.2)
    easiest = at(0.95, noisy)
    assert (easiest.strategy, easiest.start) == ("easiest", 0.0)
    assert (at(0.5, noisy).cut, at(0.5, noisy).by) == (0.1, "el2n")
    assert any("4,600 of 50,000. Look at those" in reason.text for reason in overall(noisy))


def test_scores_of_the_last_epoch_are_not_taken_where_labels_are_memorised():
    knows = Situation(50_000, 10, 5_000, LARGE.scores, memorised=True)
    assert at(0.7, knows).by == "flip"
    assert at(0.5, knows).by == "aum"
    assert any("memorised" in reason.text for reason in at(0.7, knows).reasons)


def test_small_classes_are_balanced():
    uneven = Situation(50_000, 10, 12, LARGE.scores)
    assert at(0.3, uneven).options[-1] == "--balanced"


def test_a_score_is_taken_that_the_run_has():
    assert at(0.7, Situation(50_000, 10, 5_000, ("forget", "el2n"))).by == "forget"
    assert at(0.7, Situation(50_000, 10, 5_000, ("mine",))).by == "mine"


def test_everything_kept_is_no_pruning():
    assert (at(1.0).strategy, at(1.0).options) == ("all", ())


def test_what_was_measured_overrules_the_rules():
    summary = summarise(trials_of(sweep_rows(gain=0.02)))
    found = at(0.5, summary=summary)
    assert found.strategy == "hardest"
    assert grounds(found) == {"measured here"}
    assert "points against random of the same size" in found.reasons[0].text
    assert "points against all data" in found.reasons[1].text
    assert any("as the best of several its lead is likely smaller" in reason.text for reason in found.reasons)
    collapsed = at(0.3, summary=summary)
    assert (collapsed.strategy, collapsed.by) == ("random", "")
    assert "none of 3 ways to keep 30 % was better than random beyond chance" in collapsed.reasons[0].text
    unmeasured = at(0.2, summary=summary)
    assert grounds(unmeasured) == {"measured elsewhere"}


def test_overall_says_whether_it_pays():
    summary = summarise(trials_of(sweep_rows(gain=0.02)))
    (first, *_) = overall(LARGE, summary)
    assert (first.code, dict(first.data)["keep"]) == ("droppable", 0.6)
    rows = [row if row[1] == "all" else (*row[:5], row[5] - 0.2) for row in sweep_rows()]
    assert overall(LARGE, summarise(trials_of(rows)))[0].code == "droppable: none"
    text = " ".join(map(str, overall(Situation(50_000, scoring=Cost(1.0, 1.0, 3e12)))))
    assert (
        "scoring cost 3 TFLOP; at 30 % dropped it has paid off once trainings on all data would have taken 10 TFLOP together"
        in text
    )
    assert "nothing was trained on kept sets of these data" in text
    (cost,) = (
        one.text for one in overall(replace(LARGE, scoring=Cost(1.0, 1.0, 3e12), uncounted=NO_ENCODER)) if "TFLOP" in one.text
    )
    assert "3 TFLOP without the encoder" in cost


def test_of_a_larger_set_it_is_said_that_a_smaller_one_did_better():
    loss = {0.75: 0.05, 0.5: 0.01}
    rows = [(*row[:5], row[5] - loss.get(row[2], 0) * (row[0] != "all")) for row in sweep_rows(("el2n",), (0.75, 0.5), gain=0.05)]
    summary = summarise(trials_of(rows))
    large, small = advise(LARGE, [0.75, 0.5], summary)
    said = {one.code: dict(one.data) for one in large.reasons}
    assert said["best: smaller"]["keep"] == 0.5
    assert said["best: smaller"]["by"].value == pytest.approx(small.value - large.value)
    assert "best: smaller" not in [one.code for one in small.reasons]


def test_each_reason_is_given_once_and_equal_advice_is_one_line():
    small = Situation(1_437, 10, 140, LARGE.scores)
    ((sizes, reasons),) = grouped(advise(small, [0.9, 0.7, 0.5]))
    assert [one.keep for one in sizes] == [0.9, 0.7, 0.5]
    assert len(reasons) == 1
    said = [reason for _, reasons in grouped(advise(LARGE, [0.9, 0.5, 0.2])) for reason in reasons]
    assert len(said) == len(set(said))


def test_what_can_be_dropped_and_what_is_advised_agree():
    # At one point above random and all data, el2n is shown to lose nothing, which random is not;
    # but it is not shown to beat random.
    draw, rows = np.random.default_rng(4), []
    for seed in range(3):
        rows += [("all", "all", 1.0, 0.0, seed, 0.93)]
        for keep in (0.9, 0.8, 0.7):
            rows += [("random", "random", keep, 0.0, seed, 0.93), ("el2n", "hardest", keep, 0.0, seed, 0.94)]
    summary = summarise(trials_of([(*row[:5], row[5] + 0.006 * draw.normal()) for row in rows]))
    kept = {one.name: one.keep for one in summary.droppable}
    assert kept["el2n"] < kept["random"]
    assert set(summary.table["verdict"]) & {Verdict.BETTER, Verdict.WORSE} == set()
    assert at(kept["el2n"], summary=summary).by == "el2n"
    assert dict(overall(LARGE, summary)[0].data)["names"] == "el2n"


def test_a_difference_would_have_been_seen_only_where_it_would_have_been_in_each():
    summary = summarise(trials_of(sweep_rows(scores=("el2n", "std"), gain=0.0, noise=0.02, seed=1)))
    tried = [place for place, cell in enumerate(summary.cells) if cell.keep == 0.8 and cell.is_scored]
    least = summary.smallest_differences.copy()
    least[tried] = 0.02, 0.07
    told = {one.code: dict(one.data) for one in at(0.8, summary=replace(summary, smallest_differences=least)).reasons}
    assert told["random: would have been seen"]["by"].value == 0.07
    least[tried[0]] = np.nan
    codes = [one.code for one in at(0.8, summary=replace(summary, smallest_differences=least)).reasons]
    assert "random: none better" in codes
    assert "random: would have been seen" not in codes


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (sweep_rows(seeds=1), "one seed says nothing about chance (--seeds 3)"),
        (
            sweep_rows(noise=0.0),
            "the 3 seeds gave the same values, or differ by the same in every cell, so nothing says how much is chance",
        ),
    ],
)
def test_without_a_spread_nothing_is_told_and_it_is_said_why(rows, why):
    summary = summarise(trials_of(rows))
    first, *_ = overall(LARGE, summary)
    assert (first.code, str(dict(first.data)["why"])) == ("droppable: unknown", str(summary.no_interval))
    found = at(0.5, summary=summary)
    assert (found.strategy, found.by) == ("random", "")
    assert found.reasons[0].text.startswith("3 ways to keep 50 %")
    assert why in found.reasons[0].text
    assert found.reasons[1].text.endswith("points against all data (no interval is known)")
    assert "nan" not in " ".join(map(str, (*found.reasons, *overall(LARGE, summary), *summary.notes)))


def test_without_a_control_no_loss_is_told():
    no_all = [row for row in sweep_rows() if row[1] != "all"]
    assert "not known: nothing was trained on all data" in overall(LARGE, summarise(trials_of(no_all)))[0].text
    assert "not known: the study compares no sizes" in overall(LARGE, summarise(trials_of(window_rows())))[0].text
    only = [row for row in sweep_rows() if row[1] == "all"]
    assert "nothing but all data was trained on" in overall(LARGE, summarise(trials_of(only)))[0].text


def test_sizes_are_fractions_kept():
    with pytest.raises(
        InputError, match=r"`keep` must be in \(0, 1\], got 30\. It is the fraction kept: write 0\.3 to keep 30 %\."
    ):
        advise(LARGE, [30])


def test_what_trials_tell_of_a_set():
    found = situation_from(trials_of(sweep_rows()))
    assert (found.n_examples, found.scores, found.n_classes, found.noise) == (1000, ("el2n", "std", "forget"), None, 0.0)


def test_advice_is_an_object_with_a_table(run_folder):
    run = dp.open_run(run_folder)
    advised = dp.advise(run, [0.5, 1])
    assert [one.keep for one in advised.sizes] == [0.5, 1]
    assert advised.situation.n_examples == len(run.ids)
    assert list(advised.to_pandas()["keep"]) == [0.5, 1]
    assert str(advised.reasons[0]) in repr(advised)
    assert dp.advise(str(run_folder), [0.5, 1]).sizes == advised.sizes
    with pytest.raises(InputError, match="go with a study"):
        dp.advise(run, run=run)
    with pytest.raises(InputError, match="NoneType"):
        dp.advise(None)


def test_command_advises_on_a_run(run_folder, cli):
    from dataprune.run.run import open_run

    code, out, err = cli("advise", run_folder, "--keep", "0.5", "--keep", "1")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    situation = situation_of((run := open_run(run_folder)).manifest, run.scores)
    assert lines[0].startswith("networks: ")
    assert lines[1].endswith(
        f"{situation.n_examples:,} examples in {situation.n_classes} classes, {situation.per_class:,.0f} a class"
    )
    assert "keep 0.5: random (balanced)" in lines
    assert "keep 1: keep all" in lines
    assert lines[-1] == f"next: dataprune prune {run_folder} --keep 0.5 --strategy random --balanced --out kept.csv"


def test_small_sets_and_wrong_labels_are_led_to_the_labels_and_uneven_classes_are_told(cli, tmp_path):
    train = vectors(120)
    np.savez(tmp_path / "few.npz", x=train.inputs, y=(train.labels > 0) ^ (np.arange(120) % 12 == 0))
    quick = ("--model", "trees", "--executor", "serial")
    code, _, err = cli("score", tmp_path / "few.npz", "--out", tmp_path / "run", *quick)
    assert code == 0, err
    lines = cli("advise", tmp_path / "run")[1].splitlines()
    counts = dp.open_run(tmp_path / "run").manifest.data.class_counts
    assert lines[1].endswith(f"2 classes, {min(counts)} to {max(counts)} a class")
    assert lines[-1] == f"next: dataprune noise find {tmp_path / 'run'}"


def test_command_refuses_what_is_neither(tmp_path, run_folder, cli):
    code, out, err = cli("advise", tmp_path)
    assert (code, out) == (2, "")
    assert "must be a folder made by `dataprune score`" in err
    code, _, err = cli("advise", run_folder, "--run", run_folder)
    assert code == 2
    assert "`--run` must go with a study" in err


def test_command_takes_the_run_inside_a_study_and_refuses_one_of_other_data(tmp_path, run_folder, cli):
    study = toy_study(tmp_path / "study", toy_spec("half"))
    code, out, err = cli("advise", study.path)
    assert (code, err) == (0, "")
    assert "120 examples in 3 classes, 40 a class" in out
    assert f"next: dataprune prune {study.path / 'run'} --keep 0.5" in out
    free = toy_study(tmp_path / "free", toy_spec("half", parts=(Sweep("hardest", (0.9, 0.5)),), seeds=3, tolerance=0.5))
    shown = cli("advise", free.path)[1].splitlines()
    assert shown[-1] == f"next: dataprune prune {free.path / 'run'} --proven {free.path} --out kept.csv"
    assert not any("down to" in line for line in shown)
    asked = cli("advise", free.path, "--keep", "0.9")[1].splitlines()
    assert asked[-1].startswith(f"next: dataprune prune {free.path / 'run'} --keep 0.9")
    code, again, _ = cli("advise", study.path, "--run", study.path / "run")
    assert (code, again) == (0, out)
    code, out, err = cli("advise", study.path, "--run", run_folder)
    assert (code, out) == (2, "")
    assert f"error: `--run` {run_folder} is of other data than the study: 24 examples with fingerprint " in err
    assert err.count("\n") == 1
