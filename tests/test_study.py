"""Whole studies of toy data: made, found, shared between presets, killed and taken up, damaged and mended, refused."""

import json
import os
import random
import signal
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from dataprune import store
from dataprune.data import Splits
from dataprune.errors import InputError, MachineError, StoreError, WorkError
from dataprune.run.score import score
from dataprune.scores import Score
from dataprune.study.conditions import StudyInputs
from dataprune.study.presets import PRESETS
from dataprune.study.spec import Sweep
from dataprune.study.study import MANIFEST, SPEC, SUMMARY, TRIALS, open_study, verify_study
from dataprune.study.trial import TrialResult, read_trial, sound_trial, write_trial
from dataprune.tables import read_table
from dataprune.training.recipes import RECIPES
from dataprune.training.settings import Hardware
from dataprune.training.staged import Stage, packed
from fork_kit import Forks
from machine_kit import give_room
from study_toys import SCORING, SERIAL, toy_spec, toy_splits, toy_study, toy_trial, vectors

COLUMNS = (
    "trial, score, strategy, keep, start, n_train, seed, epochs, steps, validation_accuracy, test_accuracy, n_test, train_seconds, "
    "examples_seen, flops, device, status, error, arm, order, clusters"
)


def without_times(study):
    """Return the table without its one column of times."""
    columns = read_table(study.path / TRIALS).columns
    return {name: values.tolist() for name, values in columns.items() if name != "train_seconds"}


def same(one, other):
    mine, theirs = without_times(one), without_times(other)
    for name, values in theirs.items():
        np.testing.assert_array_equal(mine[name], values, err_msg=name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return toy_study(tmp_path_factory.mktemp("studies") / "half", toy_spec("half"))


def test_a_study_has_a_row_for_each_cell_and_seed_in_the_columns_of_the_contract(finished):
    table = read_table(finished.path / TRIALS)
    assert ", ".join(table.columns) == COLUMNS
    cells = list(zip(*(table.columns[name].tolist() for name in ("score", "strategy", "keep", "seed")), strict=True))
    wanted = [("all", "all", 1.0), ("random", "random", 0.5), ("el2n", "hardest", 0.5), ("forget", "hardest", 0.5)]
    assert cells == [(*cell, seed) for seed in (0, 1) for cell in wanted]
    assert set(table.columns["status"]) == {"ok"}
    assert (table.columns["test_accuracy"] > 0.5).all()
    assert finished.is_finished
    assert finished.failed == []


def test_figures_are_those_of_the_trial_files(finished):
    for row, result in enumerate(finished.results):
        assert finished.trials["test_accuracy"][row] == pytest.approx(result.correct.mean())
        assert finished.trials["validation_accuracy"][row] == result.validation[-1]
        assert len(result.loss) == len(result.validation) == finished.trials["epochs"][row] == 3
        assert finished.trials["flops"][row] == 3 * 24 * finished.trials["examples_seen"][row], (
            "4 x 3 weights, 2 each, and 3 passes"
        )
    assert finished.trials["examples_seen"].tolist() == (finished.trials["n_train"] * 3).tolist()
    assert all(result.correct.shape == (45,) for result in finished.results)


def test_the_summary_is_of_these_trials(finished):
    table = read_table(finished.path / SUMMARY).columns
    at = table["strategy"].tolist().index("all")
    own = finished.trials["test_accuracy"][finished.trials["strategy"] == "all"]
    assert table["test_accuracy"][at] == pytest.approx(own.mean())


def test_a_study_shows_itself(finished):
    assert "8 trainings: 8 ok" in repr(finished)
    assert "<table>" in finished._repr_html_()
    assert len(finished.to_pandas()) == 8


def test_the_same_call_returns_at_once_and_hears_nothing(finished):
    heard = []
    before = (finished.path / MANIFEST).stat().st_mtime_ns
    toy_study(finished.path, toy_spec("half"), listener=heard.append)
    assert heard == []
    assert (finished.path / MANIFEST).stat().st_mtime_ns == before


def test_progress_counts_trials_epochs_and_examples(tmp_path):
    heard = []
    toy_study(tmp_path / "s", toy_spec("half", seeds=1), listener=heard.append)
    assert heard[0].total - heard[0].found == 4
    assert heard[0].cost.examples_seen == heard[0].to_see == heard[-1].examples
    assert [one.done for one in heard if one.ended] == [1, 2, 3, 4]
    assert sum(one.epoch is not None for one in heard) == 12


@pytest.mark.long
def test_workers_change_nothing_but_times(finished, tmp_path):
    sources = StudyInputs(run=finished.path / "run")  # that a run by workers is the same is shown where runs are tested
    other = toy_study(tmp_path / "s", toy_spec("half"), sources=sources, hardware=Hardware(executor="processes", workers=2))
    same(other, finished)
    assert (other.path / SUMMARY).read_bytes() == (finished.path / SUMMARY).read_bytes()


def test_trials_are_found_in_the_same_folder_and_in_another(finished, tmp_path):
    more = toy_spec("sweep", parts=(replace(toy_spec("half").parts[0], keep=(0.7, 0.5)),))
    heard = []
    grown = toy_study(tmp_path / "s", more, sources=StudyInputs(settings=SCORING, reuse=(finished.path,)), listener=heard.append)
    assert heard[0].found == 8
    assert heard[0].total - heard[0].found == 6
    heard.clear()
    again = toy_study(grown.path, replace(more, seeds=3), listener=heard.append)
    assert (heard[0].found, heard[0].total) == (14, 21)
    assert set(again.trials["seed"]) == {0, 1, 2}
    assert verify_study(again.path) == []


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_ends_with_a_summary(name, tmp_path):
    changes = {"seeds": 1}
    if name == "methods":
        changes |= {"scores": ("el2n", "dual", "knn_agreement"), "parts": (*PRESETS[name].parts[-4:], Sweep("hardest", (0.2,)))}
    if name in ("window", "noise-window"):
        changes["parts"] = (replace(PRESETS[name].parts[0], start=(0.0, 0.3, 0.6)),)
    if name == "clusters":
        changes |= {"clusters": ("classes", "5", "200"), "parts": (replace(PRESETS[name].parts[0], keep=(0.5,)),)}
    study = toy_study(tmp_path / "s", toy_spec(name, **changes))
    assert set(study.trials["status"]) == {"ok"}
    assert study.measure in study.summary.table
    if name == "methods":
        ranks = [(one.arm, one.name) for one in study.summary.ranks]
        assert len(ranks) == len(set(ranks)) == 2 * (3 + 3)  # d2 by each score, three without; hardest has other sizes than random
        gains = [one.gain for one in study.summary.ranks if one.arm == "given"]
        assert gains == sorted(gains, reverse=True)
        table = study.summary.table
        own = (table["score"] == "dual") & (table["strategy"] == "d2") & (table["arm"] == "given")
        found = next(one for one in study.summary.ranks if (one.arm, one.name) == ("given", "dual d2, given"))
        assert found.gain == pytest.approx(table["minus_random"][own].mean())
    if name == "noise-window":
        assert set(study.trials["arm"]) == {"given", "noise 0.1"}
        assert len(study.summary.arms["keep"])
    if name == "clusters":
        assert set(study.trials["clusters"]) == {0, 3, 5}


def test_dynamic_arms_stand_beside_random_of_the_same_cost(tmp_path):
    spec = toy_spec("dynamic", dynamic=("infobatch", "rs2:0.3"), epochs=8, recipe="fast-plain", seeds=2)
    study = toy_study(tmp_path / "s", spec)
    trials = study.trials
    seen = dict(zip(zip(trials["score"], trials["order"], trials["seed"], strict=True), trials["examples_seen"], strict=True))
    whole = seen["all", "", 0]
    for seed in (0, 1):
        assert seen["rs2:0.3", "rs2:0.3", seed] == pytest.approx(0.3 * whole, abs=8)
        assert 0.4 * whole < seen["infobatch", "infobatch", seed] < 0.95 * whole  # the last epoch is whole, and so is the first
        for name in spec.dynamic:  # as many to within a half example an epoch
            assert abs(seen["random", name, seed] - seen[name, name, seed]) <= 4
    assert set(trials["strategy"]) == {"all", "dynamic"}
    names = {cell.name for cell in study.summary.cells}
    assert names == {"all data", "infobatch", "rs2:0.3", "random at the cost of infobatch", "random at the cost of rs2:0.3"}
    assert np.isfinite(study.summary.table["minus_random"]).sum() == 2
    heard = []
    same(study, toy_study(tmp_path / "t", replace(spec, dynamic=("infobatch", "rs2:0.3")), listener=heard.append))
    flops = dict(zip(trials["trial"], trials["flops"] / trials["examples_seen"], strict=True))
    assert np.ptp(list(flops.values())) == 0  # of what was seen, not of what might have been
    for bad, says in ((("infobach",), "infobatch"), (("rs2:x",), "NAME:KEEP"), (("rs2:3",), "keep.*3"), (("rs2", "rs2"), "once")):
        with pytest.raises(InputError, match=says):
            replace(spec, dynamic=bad)
    with pytest.raises(InputError, match="budget"):
        replace(spec, budget="steps")


def test_a_run_may_be_given_and_must_fit(tmp_path):
    splits = toy_splits()
    run = score(splits.train, tmp_path / "run", SCORING, SERIAL)
    study = toy_study(tmp_path / "s", toy_spec("half", seeds=1), sources=StudyInputs(run=run.path))
    assert not (study.path / "run").exists()
    with pytest.raises(InputError, match=r"`score` must be one of .*el2n.*got 'el3n'. Did you mean 'el2n'"):
        toy_study(tmp_path / "t", toy_spec("half", scores=("el3n",)), sources=StudyInputs(run=run.path))
    other = Splits(vectors(120, 5), None, splits.test)
    with pytest.raises(InputError, match="is of other data than the study's training data: 120 examples with fingerprint "):
        toy_study(tmp_path / "u", toy_spec("half"), other, StudyInputs(run=run.path))
    relabelled = Splits(splits.train.with_labels((splits.train.labels + 1) % 3), None, splits.test)
    with pytest.raises(InputError, match="training data, with other labels: 120 examples"):
        toy_study(tmp_path / "u", toy_spec("half"), relabelled, StudyInputs(run=run.path))
    for spec in (toy_spec("half", parts=(), scores=()), toy_spec("dynamic")):  # also where no score is taken from it
        with pytest.raises(InputError, match="is of other data than the study's"):
            toy_study(tmp_path / "u", spec, other, StudyInputs(run=run.path))
    assert not (tmp_path / "u" / SPEC).exists()
    with pytest.raises(InputError, match="has seen all examples, also those"):
        toy_study(tmp_path / "v", toy_spec("half"), Splits(splits.train), StudyInputs(run=run.path))


def test_a_score_of_ones_own_is_matched_by_id(tmp_path):
    train = toy_splits().train
    values = np.random.default_rng(0).random(120)
    mixed = np.random.default_rng(1).permutation(120)
    tables = []
    for place, order in (("a", np.arange(120)), ("b", mixed)):
        own = Score("mine", values[order], 1, train.ids[order])
        tables.append(toy_study(tmp_path / place, toy_spec("half", seeds=1, scores=("mine",)), sources=StudyInputs(scores=(own,))))
    same(*tables)
    few = Score("mine", values[:9], 1, train.ids[:9])
    with pytest.raises(InputError, match="none for the id 't9'"):
        toy_study(tmp_path / "c", toy_spec("half", scores=("mine",)), sources=StudyInputs(scores=(few,)))


def test_other_settings_or_other_things_in_the_folder_are_refused(finished, tmp_path):
    with pytest.raises(InputError, match="epochs 3 there, 4 asked"):
        toy_study(finished.path, toy_spec("half", epochs=4))
    with pytest.raises(InputError, match=r"recipe.batch 16 there, 8 asked"):
        toy_study(finished.path, toy_spec("half", batch=8))
    with pytest.raises(InputError, match=r"train .* there"):
        toy_study(finished.path, toy_spec("half"), Splits(vectors(120, 9), None, toy_splits().test))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"be a new folder or a study, got .*, which holds file"):
        toy_study(tmp_path)
    with pytest.raises(InputError, match="which is a file"):
        toy_study(tmp_path / "file")
    with store.lock(finished.path), pytest.raises(InputError, match=rf"in use by process {os.getpid()}"):
        toy_study(finished.path, toy_spec("half"))


def failing(shape, n_classes):
    """Return a model that cannot be built while a flag is there."""
    from dataprune.training.models import build

    if Path(os.environ["DATAPRUNE_TEST_FLAG"]).exists():
        raise ValueError("not today")
    return build("linear", shape, n_classes)


def test_a_failed_trial_is_recorded_and_tried_again_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAPRUNE_TEST_FLAG", str(tmp_path / "flag"))
    spec = toy_spec("half", seeds=1, model="test_study:failing")
    heard = []

    def listen(progress):
        heard.append(progress)
        (tmp_path / "flag").touch() if progress.ended and progress.done == 2 else None

    study = toy_study(tmp_path / "s", spec, listener=listen)
    assert study.trials["status"].tolist() == ["ok", "ok", "failed", "failed"]
    assert study.trials["error"][2] == "'test_study:failing' failed with ValueError: not today"
    assert "test_study.py" in study.results[2].traceback
    assert np.isnan(study.trials["test_accuracy"][2])
    (tmp_path / "flag").unlink()
    assert toy_study(tmp_path / "s", spec).failed == [2, 3]
    mended = toy_study(tmp_path / "s", spec, retry_failed=True)
    assert mended.failed == []
    assert heard[-1].ended[1].status == "failed"


def deadly(shape, n_classes):
    """Return a model that kills its worker."""
    if os.environ["DATAPRUNE_TEST_DRIVER"] != str(os.getpid()):
        os._exit(9)
    from dataprune.training.models import build

    return build("linear", shape, n_classes)


@pytest.mark.long
def test_a_trial_lost_with_its_workers_is_said_and_left_open(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAPRUNE_TEST_DRIVER", str(os.getpid()))
    spec = toy_spec("half", seeds=1, model="test_study:deadly", parts=(), scores=())
    with pytest.raises(WorkError, match=r"worker died .*the same command goes on"):
        toy_study(tmp_path / "s", spec, hardware=Hardware(executor="processes", workers=1))
    study = open_study(tmp_path / "s")
    assert not study.is_finished
    assert study.trials["status"].tolist() == ["open"]


def test_an_interrupted_study_opens_and_goes_on(finished, tmp_path):
    def stopping(progress):
        if progress.ended and progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_study(tmp_path / "s", toy_spec("half"), listener=stopping)
    half_done = open_study(tmp_path / "s")
    assert not half_done.is_finished
    assert half_done.trials["status"].tolist().count("ok") == 3
    assert len(half_done.summary.table["keep"]) == 3
    assert verify_study(tmp_path / "s") == []
    same(toy_study(tmp_path / "s", toy_spec("half")), finished)
    assert not (tmp_path / "s" / "scratch").exists()


STUDY = {"seeds": 4, "epochs": 40}
WORK = """
from study_toys import *
import dataprune.run.score, dataprune.tables.parquet

def work(out):
    toy_study(out, toy_spec("half", **{study!r}), hardware=Hardware(executor={executor!r}, workers=2))
"""


def kill_and_go_on(out, executor, kills, seed):
    """Start a study in a process of its own, kill it at random moments, then let it end."""
    draw, ends = random.Random(seed), []
    with Forks(WORK.format(study=STUDY, executor=executor)) as studies:
        for _ in range(kills):
            before, more = len(list(out.glob("trials/*.json"))), draw.randint(0, 16 // kills)
            studies.start(out)
            while not studies.has_ended() and len(list(out.glob("trials/*.json"))) < before + more:
                time.sleep(0.005)
            time.sleep(draw.random() * (0.2 if more else 1.0))
            if not studies.has_ended():
                studies.kill()
            ends.append(studies.status())
        studies.start(out)
        assert studies.status() == 0
    assert set(ends) <= {signal.SIGKILL, 0}
    assert ends.count(signal.SIGKILL) > kills // 2, "some may have been done before"
    return open_study(out)


@pytest.mark.parametrize(
    ("executor", "kills"),
    [pytest.param("serial", 3, marks=pytest.mark.long), pytest.param("processes", 10, marks=pytest.mark.slow)],
    ids=["three", "ten"],
)
def test_a_study_killed_at_random_moments_ends_as_one_never_killed(tmp_path, executor, kills):
    never = toy_study(tmp_path / "never", toy_spec("half", **STUDY))
    killed = kill_and_go_on(tmp_path / "killed", executor, kills, seed=kills)
    same(killed, never)
    assert (killed.path / SUMMARY).read_bytes() == (never.path / SUMMARY).read_bytes()
    assert verify_study(killed.path) == []


@pytest.mark.long
def test_a_worker_that_is_killed_costs_only_its_trials(finished, tmp_path):
    """The driver starts its trials again, and nothing of the others is lost."""
    killed = []

    def killing(progress):
        if progress.epoch and progress.done == 2 and not killed:
            children = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "LokyProcess"], capture_output=True, text=True, check=True
            )
            killed.extend(int(line) for line in children.stdout.split()[:1])
            os.kill(killed[0], signal.SIGKILL)

    spec, sources = toy_spec("half", epochs=10), StudyInputs(run=finished.path / "run")
    study = toy_study(tmp_path / "s", spec, sources=sources, hardware=Hardware(executor="processes", workers=2), listener=killing)
    assert killed
    same(study, toy_study(tmp_path / "t", spec, sources=sources))


def test_a_full_disk_is_said_and_the_same_call_goes_on_once_there_is_room(small_disk, tmp_path):
    run = score(toy_splits().train, tmp_path / "run", SCORING, SERIAL)
    sources, spec, place = StudyInputs(run=run.path), toy_spec("sweep"), small_disk(100)
    with pytest.raises(MachineError, match="no space left in"):
        toy_study(place / "s", spec, sources=sources)
    assert not list(place.rglob("*.tmp*")), "temporary files are gone"
    n_kept = len(list((place / "s" / "trials").glob("*.json")))
    give_room(place)
    heard = []
    study = toy_study(place / "s", spec, sources=sources, listener=heard.append)
    assert 0 < n_kept == heard[0].found
    same(study, toy_study(tmp_path / "t", spec, sources=sources))


def test_damage_is_found_said_and_mended(tmp_path):
    study = toy_study(tmp_path / "s", toy_spec("half", seeds=1))
    whole = without_times(study)
    victim = study.path / "trials" / f"{study.trials['trial'][0]}.json"
    victim.write_text(victim.read_text().replace('"status": "ok"', '"status": "OK"'))
    assert [fault for fault in verify_study(study.path) if victim.name in fault]
    with pytest.raises(StoreError, match="checksum does not fit"):
        read_trial(study.path, study.trials["trial"][0])
    heard = []
    assert without_times(toy_study(study.path, toy_spec("half", seeds=1), listener=heard.append)) == whole
    assert heard[0].total - heard[0].found == 1
    (study.path / TRIALS).write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"trials.parquet is damaged"):
        open_study(study.path)
    assert without_times(toy_study(study.path, toy_spec("half", seeds=1))) == whole
    identity = store.read_sealed(study.path / SPEC)
    for broken, message in (
        (store.sealed({"settings": 3}), "not a study of dataprune"),
        (store.sealed({**identity, "format": 9}), "format 9, this version reads format 1.*upgrade"),
        (store.sealed({**identity, "settings": None}), "settings"),
        ({**store.sealed(identity), "settings": {}}, "its checksum does not fit"),
    ):
        (study.path / SPEC).write_text(json.dumps(broken))
        for use in (open_study, lambda path: toy_study(path, toy_spec("half", seeds=1))):
            with pytest.raises(StoreError, match=message):
                use(study.path)


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"`STUDY` must be a folder made by `dataprune study`"):
        open_study(tmp_path)


def test_a_trial_is_what_was_written(tmp_path):
    spec = toy_trial()
    right = np.random.default_rng(0).random(37) < 0.5
    result = TrialResult(spec.name, "ok", "", "", (0.1, 0.2), (0.5, 1 / 3), 37, packed(right), 6, 30, 720, 0.25, {"device": "cpu"})
    write_trial(tmp_path, spec, result)
    back = read_trial(tmp_path, spec.name)
    np.testing.assert_array_equal(back.correct, right)
    assert back == result
    first = (tmp_path / "trials" / f"{spec.name}.json").read_bytes()
    write_trial(tmp_path, spec, back)
    assert (tmp_path / "trials" / f"{spec.name}.json").read_bytes() == first


def test_a_file_under_another_name_or_version_is_not_believed(tmp_path):
    spec, other = toy_trial(), toy_trial(seed=1)
    write_trial(tmp_path, spec, TrialResult(spec.name, "ok"))
    file = tmp_path / "trials" / f"{spec.name}.json"
    (tmp_path / "trials" / f"{other.name}.json").write_bytes(file.read_bytes())
    with pytest.raises(StoreError, match="another trial"):
        read_trial(tmp_path, other.name)
    newer = store.read_sealed(file, "sha256") | {"format": 9}
    store.write_sealed(file, newer, "sha256")
    with pytest.raises(StoreError, match="format 9, this version reads format 1"):
        read_trial(tmp_path, spec.name)
    file.write_text("[")
    with pytest.raises(StoreError, match="damaged"):
        read_trial(tmp_path, spec.name)
    assert sound_trial(tmp_path, spec.name) is None
    assert read_trial(tmp_path, "none") is None


def test_a_recipe_by_another_name_is_the_same_trial_and_everything_else_another():
    assert toy_trial(recipe=replace(RECIPES["fast"], name="other")).name == toy_trial().name
    changed = [
        toy_trial(train="u"),
        toy_trial(validation="w"),
        toy_trial(test=None),
        toy_trial(stages=(Stage(np.ones(10, bool), 3, 5),)),
        toy_trial(subsets=("b" * 64,)),
        toy_trial(model="mlp"),
        toy_trial(recipe=replace(RECIPES["fast"], learning_rate=0.2)),
        toy_trial(epochs=4),
        toy_trial(seed=1),
    ]
    assert len({one.name for one in [toy_trial(), *changed]}) == 10


def test_hundreds_of_trials_open_quickly(finished, tmp_path, monkeypatch):
    """Two milliseconds each on a quiet core; processor time is what is measured, so that other work beside it does not count."""
    from dataprune.tables import write_table

    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    names = []
    for number in range(500):
        spec = toy_trial(seed=number)
        right = np.random.default_rng(number).random(10_000) < 0.5
        result = TrialResult(
            spec.name, "ok", "", "", (0.1,) * 9, (0.5,) * 9, 10_000, packed(right), 6, 30, 720, 0.25, {"device": "cpu"}
        )
        write_trial(tmp_path, spec, result)
        names.append(spec.name)
    table = read_table(finished.path / TRIALS).columns
    rows = np.zeros(500, int)
    columns = {name: values[rows] for name, values in table.items()}
    columns |= {"trial": np.array(names, object), "seed": np.arange(500)}
    write_table(tmp_path / TRIALS, columns)
    (tmp_path / SPEC).write_bytes((finished.path / SPEC).read_bytes())
    files = [SPEC, TRIALS, *(f"trials/{name}.json" for name in names)]
    store.write_manifest(tmp_path, MANIFEST, asdict(finished.manifest), files)
    begun = time.process_time()
    study = open_study(tmp_path)
    assert len(study.results) == 500
    assert time.process_time() - begun < 1.0


def test_the_driver_costs_little(tmp_path):
    """A hundredth of a second or so of its own for each trial: 2 % of five seconds would be 0.1."""
    heard = []
    begun = time.process_time()
    study = toy_study(tmp_path / "s", toy_spec("sweep", seeds=1, epochs=1), listener=heard.append)
    spent = time.process_time() - begun
    assert spent < 0.1 * len(study.trials["trial"]) + 3.0, "3 seconds for scoring and imports"
