"""Trainings that are not ours as trials: handed what is kept, judged, logged, ended, refused."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataprune.data import Splits, read_splits
from dataprune.errors import InputError
from dataprune.study.metric import Metric
from dataprune.study.outside import FOLDER, LOG, RESULT
from dataprune.study.presets import preset
from dataprune.study.spec import from_toml, read_spec, to_toml
from dataprune.study.study import open_study, verify_study
from dataprune.study.summary import summarise
from dataprune.study.trainer import Trainer
from dataprune.tables import read_table
from dataprune.training.settings import Hardware
from study_toys import toy_splits, vectors
from study_trainers import FAULTS, command, scripts, trainer_study

PLACES = "{ids} {rows} {test} {seed} {result}"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return scripts(tmp_path_factory.mktemp("trainers"))


@pytest.fixture(scope="module")
def made(place):
    return trainer_study(place / 'it\'s "one"', command(place / "good.py", PLACES), seeds=3)


def test_a_script_gets_the_kept_ids_and_its_results_are_the_studys(made):
    train, test = toy_splits().train, toy_splits().test
    assert made.is_finished
    assert made.failed == []
    for row, result in enumerate(made.results):
        folder = made.path / FOLDER / made.trials["trial"][row]
        written = (folder / RESULT).read_text()
        assert result.test_accuracy == made.trials["test_accuracy"][row] == result.correct.mean()
        assert len(result.correct) == len(test)
        assert f"seed {made.trials['seed'][row]} {made.trials['seed'][row]} 1" in (folder / LOG).read_text()
        assert not (folder / "given").exists()
        if made.trials["score"][row] == "mine":  # the hardest half of the pool: all of train, since no validation was asked for
            assert f'"rows": {list(map(str, range(60, 120)))}'.replace("'", '"') in written
            assert f'"{train.ids[60]}"' in written
    assert (made.summary.table["n_seeds"] == 3).all()
    assert "epochs" not in made.trials
    assert np.isnan(made.trials["validation_accuracy"]).all()
    assert verify_study(made.path) == []


@pytest.mark.long
def test_another_executor_gives_the_same(made, tmp_path):
    other = trainer_study(tmp_path / "two", made.spec.trainer, seeds=3, hardware=Hardware(executor="processes", workers=2))
    for name in ("trial", "test_accuracy", "n_train"):
        np.testing.assert_array_equal(made.trials[name], other.trials[name])


def test_asked_again_nothing_runs(made):
    before = {path: path.stat().st_mtime_ns for path in (made.path / FOLDER).rglob("*")}
    trainer_study(made.path, made.spec.trainer, seeds=3)
    assert before == {path: path.stat().st_mtime_ns for path in (made.path / FOLDER).rglob("*")}
    with pytest.raises(InputError, match="model"):  # another trainer in the same folder
        trainer_study(made.path, made.spec.trainer + " --more", seeds=3)


def test_what_a_trainer_does_wrong_is_one_line_with_its_log_and_the_others_go_on(place, tmp_path):
    trainer = command(place / "bad.py", "{ids} {seed} {result} {test}")
    splits = Splits(vectors(60), None, vectors(45, 1, "e"))
    spec = {"parts": (), "seeds": 17, "time_limit": 1.5}
    begun = time.monotonic()
    study = trainer_study(tmp_path / "study", trainer, splits, scores=(), **spec)
    assert time.monotonic() - begun < 30
    errors = dict(zip(study.trials["seed"].tolist(), study.trials["error"].tolist(), strict=True))
    assert errors[0] == errors[16] == ""
    for seed, words in FAULTS.items():
        assert words in errors[seed]
        assert "\n" not in errors[seed]
        log = Path(errors[seed].split("its log: ")[1])
        assert log.read_text().startswith("$ ")
    assert study.summary.table["n_seeds"].tolist() == [2]
    assert Path(errors[13].split("its log: ")[1]).read_text().count("$ ") == 3, "killed from outside, it is tried again"


@pytest.mark.parametrize("ending", ["", "sys.exit('lost')"])
def test_a_trainer_that_empties_its_folder_keeps_its_log_and_its_result(tmp_path, ending):
    script = tmp_path / "t.py"
    script.write_text(f"""
import json, os, shutil, sys
ids, out, result = sys.argv[1:]
shutil.rmtree(out)
os.makedirs(out)
print("swept", flush=True)
{ending}
json.dump({{"accuracy": 0.5}}, open(result, "w"))
""")
    study = trainer_study(tmp_path / "study", command(script, "{ids} {out} {result}"))
    assert [one.endswith("log.txt") and "lost" in one for one in study.trials["error"]] == [bool(ending)] * len(
        study.trials["error"]
    )
    for trial in study.trials["trial"]:
        assert "swept" in (study.path / FOLDER / trial / LOG).read_text()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("python t.py {ids}", "{out} or {result}"),
        ("python t.py {result}", "{folder} or {ids} or {rows}"),
        ("python t.py {ids} {result} {labls}", "{labls}"),
        ("python t.py {} {ids} {result}", "{}"),
        ("python 't.py {ids} {result}", "quotes"),
        ("cd x && python t.py {ids} {result}", "no shell"),
        ("python t.py {ids} {result} > log", "no shell"),
        (" ", "command"),
    ],
)
def test_a_call_from_which_no_trial_can_come_is_refused(call, words):
    with pytest.raises(InputError) as caught:
        Trainer(call).check()
    assert words in str(caught.value)


def test_a_program_a_script_or_a_function_that_is_not_there_is_refused():
    for call, named in (("nowhere {ids} {out}", "nowhere"), (f"{sys.executable} no.py {{ids}} {{out}}", "no.py")):
        with pytest.raises(InputError, match=named):
            Trainer(call).check_there()
    with pytest.raises(InputError, match="no_such_module"):
        Trainer("no_such_module:train").check_there()


def test_what_a_trainer_fills_in_stays_one_word_and_is_quoted_for_a_shell_that_was_asked_for():
    values = {"ids": "/a b/it's.txt", "seed": "1", "result": '/a b/"r".json'}
    assert Trainer("run --ids={ids} {seed} {result}").command(values) == ["run", "--ids=/a b/it's.txt", "1", '/a b/"r".json']
    words = Trainer("sh -c 'printf %s,%s {ids} {result} '").command(values)
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == '/a b/it\'s.txt,/a b/"r".json'


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "linear"}, "model"),
        ({"epochs": 3}, "budget"),
        ({"budget": "steps"}, "budget"),
        ({"trainer": "t {ids} {budget} {out}"}, "epochs"),
        ({"noise": 0.1}, "folder"),
        ({"time_limit": -1.0}, "time_limit"),
        ({"metric": "loss"}, "metric"),
        ({"metric": "loss:up"}, "lower"),
        ({"metric": "loss:lower:2:1"}, "metric"),
        ({"metric": "seed:lower"}, "column"),
        ({"trainer": "", "metric": "loss:lower"}, "trainer"),
    ],
)
def test_a_spec_that_does_not_go_with_a_trainer_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        replace(preset("half"), **{"trainer": "t {ids} {out}", **changes})


def test_a_spec_file_names_no_trainer(tmp_path):
    spec = replace(preset("half"), trainer="t {ids} {out}", metric="loss:lower")
    assert from_toml(to_toml(spec)) == spec
    (tmp_path / "spec.toml").write_text(to_toml(spec))
    with pytest.raises(InputError, match="--trainer"):
        read_spec(tmp_path / "spec.toml")


def test_a_function_is_called_in_a_process_of_its_own(tmp_path):
    study = trainer_study(tmp_path / "study", "trainer_functions:train", epochs=4, budget="steps", seeds=1)
    row = study.trials["score"].tolist().index("mine")
    folder = study.path / FOLDER / study.trials["trial"][row]
    assert (folder / "weights.txt").read_text() == "54 54 45 8"  # half of the 108 that validation leaves, twice as often
    assert study.trials["test_accuracy"][row] == pytest.approx(0.5)
    assert study.trials["examples_seen"].tolist() == [432] * len(study.trials["seed"])
    assert study.trials["status"].tolist() == ["ok"] * len(study.trials["seed"])
    worse = trainer_study(tmp_path / "worse", "trainer_functions:raises", seeds=1, parts=())
    assert "RuntimeError: seed 0 is bad" in worse.trials["error"][0]


def test_a_folder_of_links_holds_the_kept_pictures_and_test_data_may_be_the_trainers_own(tmp_path, place):
    draw = np.random.default_rng(0)
    for number in range(24):
        path = tmp_path / "data" / "train" / f"class {number % 2}" / f"it's {number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    (place / "count.py").write_text(
        "import json, pathlib, sys\nfiles = [p.resolve().name for p in pathlib.Path(sys.argv[1]).glob('*/*')]\n"
        "ids = open(sys.argv[2]).read().split('\\n')[:-1]\n"
        "assert sorted(files) == sorted(pathlib.Path(i).name for i in ids)\n"
        "json.dump({'accuracy': len(files) / 24}, open(sys.argv[3], 'w'))"
    )
    splits = read_splits(tmp_path / "data")
    study = trainer_study(tmp_path / "study", command(place / "count.py", "{folder} {ids} {result}"), splits, seeds=1)
    assert sorted(study.trials["test_accuracy"].tolist()) == [0.5, 0.5, 1.0], "nothing is cut where nobody asks for it"
    assert any("data of its own" in note for note in study.manifest.notes)


def test_a_training_ends_with_the_process_that_started_it(tmp_path, place):
    (place / "sleep.py").write_text(
        "import os, sys, time\nos.fork()\nopen(sys.argv[2], 'a').write(f'{os.getpid()}\\n')\ntime.sleep(60)"
    )
    code = (
        "from pathlib import Path; from dataprune.study.outside import *\n"
        f"call = {command(place / 'sleep.py', '{ids} {out}/pids')!r}\n"
        f"train_outside(OutsideJob('x', Trainer(call), Path({str(tmp_path)!r}), {{'ids': ['a']}}, None, 0, 0.0, 0.0, ()), print)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code])
    pids = tmp_path / "pids"
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in pids.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_failed_trainings_are_repeated_when_asked_to_be(tmp_path, place):
    trainer = command(place / "twice.py", "{ids} {out} {result}")
    (place / "twice.py").write_text("raise SystemExit('no')")
    study = trainer_study(tmp_path / "study", trainer, seeds=1, parts=())
    assert study.failed == [0]
    (place / "twice.py").write_text("import json, sys\njson.dump({'accuracy': 0.5}, open(sys.argv[3], 'w'))")
    assert trainer_study(tmp_path / "study", trainer, seeds=1, parts=()).failed == [0]
    study = trainer_study(tmp_path / "study", trainer, seeds=1, parts=(), retry_failed=True)
    assert study.failed == []
    assert read_table(study.path / "trials.parquet").columns["error"].tolist() == [""]
    assert open_study(study.path).trials["test_accuracy"].tolist() == [0.5]
    assert [path.name for path in (study.path / FOLDER).iterdir()] == study.trials["trial"].tolist()


def test_a_metric_of_which_less_is_better_gives_the_mirror_image_of_accuracy(made, place, tmp_path):
    other = trainer_study(tmp_path / "wrong", made.spec.trainer, seeds=3, metric="wrong:lower:0:1")
    one, two = made.summary.table, other.summary.table
    assert one["verdict"].tolist() == two["verdict"].tolist()
    np.testing.assert_allclose(two["wrong"], 1 - one["test_accuracy"])
    np.testing.assert_allclose(two["minus_random"], -one["minus_random"], atol=1e-12)
    np.testing.assert_allclose(two["minus_random_low"], -one["minus_random_high"], atol=1e-12)
    mine, theirs = ([(one.name, one.keep) for one in found.summary.droppable] for found in (made, other))
    assert mine == theirs
    assert "points" in str(other.summary.notes[-2])
    assert len(set(one["verdict"])) == 3, "else nothing is compared"


def test_a_metric_without_an_end_is_told_in_its_own_units(made, place, tmp_path):
    study = trainer_study(tmp_path / "loss", made.spec.trainer, seeds=3, metric="loss:lower:0:inf", tolerance=2.0)
    table = study.summary.table
    loss = {name: study.trials["loss"][study.trials["score"] == name].mean() for name in ("all", "mine")}
    rows = {name: table["score"].tolist().index(name) for name in loss}
    assert table["loss"][rows["mine"]] == pytest.approx(loss["mine"])
    assert table["minus_all"][rows["mine"]] == pytest.approx(loss["mine"] - loss["all"])
    assert study.summary.standard_deviation == pytest.approx(np.std([0, 0.1, 0.2], ddof=1), abs=0.2) or study.summary.no_interval
    again = replace(study.spec, metric="loss:lower")  # no end at all: the same values
    np.testing.assert_allclose(summarise(study.trials, 2.0, Metric.of(again.metric)).table["loss"], table["loss"])
    with pytest.raises(InputError, match="tolerance"):
        summarise(study.trials, 1e9, Metric.of("loss:lower"))


def test_what_a_training_writes_into_the_study_is_said_and_results_are_put_back(place, tmp_path, caplog):
    (place / "vandal.py").write_text(
        "import json, pathlib, sys\nout = pathlib.Path(sys.argv[3])\n"
        "json.dump({'accuracy': 0.5 + int(sys.argv[2]) / 10}, open(out, 'w'))\n"
        "study = out.parents[2]\n(study / 'model.pt').write_text('x')\n"
        "for path in (study / 'trials').glob('*.json'): path.write_text('{}')"
    )
    trainer = command(place / "vandal.py", "{ids} {seed} {result}")
    study = trainer_study(tmp_path / "study", trainer, seeds=2, parts=(), scores=())
    assert study.trials["test_accuracy"].tolist() == [0.5, 0.6]
    assert verify_study(study.path) == []
    said = [one.getMessage() for one in caplog.records]
    assert len(said) == 2
    assert "model.pt into the study" in said[0]
    assert f"{study.trials['trial'][0]}.json" in said[1]


def test_a_script_that_changed_between_trainings_is_said(place, tmp_path):
    good = "import json, sys\njson.dump({'accuracy': 0.5}, open(sys.argv[3], 'w'))"
    (place / "edited.py").write_text(good.replace("\n", "\nassert sys.argv[2] == '0'\n"))
    asked = command(place / "edited.py", "{ids} {seed} {result}"), None
    how = {"parts": (), "scores": ()}
    assert trainer_study(tmp_path / "study", *asked, **how).failed == [1]
    (place / "edited.py").write_text(good.replace("0.5", "0.6"))
    study = trainer_study(tmp_path / "study", *asked, **how, retry_failed=True)
    assert study.trials["test_accuracy"].tolist() == [0.5, 0.6]
    assert any("2 versions" in note for note in study.manifest.notes)
