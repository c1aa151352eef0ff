"""A whole run on digits: made, found again, extended, killed and taken up, damaged and mended, refused."""

import json
import math
import os
import random
import signal
import time

import numpy as np
import pytest

from dataprune import store
from dataprune.data import from_arrays, read
from dataprune.errors import InputError, StoreError, WorkError
from dataprune.run.own_scores import known_score, score_named
from dataprune.run.run import SCORES_FILE, open_run, verify
from dataprune.run.score import Progress, score
from dataprune.scores import SCORES, score_trace
from dataprune.training.fit import Fit
from dataprune.training.plan import plan
from dataprune.training.recipes import Recipe
from dataprune.training.settings import Hardware, Settings
from fork_kit import Forks

QUICK = Settings(folds=0, members=2, epochs=2, model="linear", recipe="fast-gray")
SERIAL = Hardware(executor="serial")


@pytest.fixture(scope="module")
def digits():
    return read("digits").take(np.arange(300))


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    return score(digits, tmp_path_factory.mktemp("runs") / "run", QUICK, SERIAL)


def test_a_run_holds_every_score_for_every_example_in_source_order(run, digits):
    assert set(run.scores) == {*(name for name, spec in SCORES.items() if spec.usual), "median_distance"}
    assert run.scores.absent == {}
    assert run.ids.tolist() == digits.ids.tolist()
    np.testing.assert_array_equal(run.labels, digits.labels)
    assert run.scores["aum"].harder == -1
    assert run.scores["el2n"].harder == 1
    assert run.failed == []


def test_scores_are_those_of_the_trace(run):
    p = np.stack([run.trace.member_probabilities(m) for m in range(2)])
    onehot = np.eye(10)[run.labels]
    np.testing.assert_allclose(run.scores["el2n"].values, np.linalg.norm(p - onehot, axis=2).mean(0), atol=2e-3)
    hits = (run.trace.last("predicted") == run.labels).sum(0)
    np.testing.assert_array_equal(run.scores["pred_sum"].values, hits)


def test_the_same_call_returns_at_once_and_hears_nothing(run, digits):
    heard = []
    before = (run.path / "run.json").stat().st_mtime_ns
    again = score(digits, run.path, QUICK, SERIAL, listener=heard.append)
    assert heard == []
    assert (again.path / "run.json").stat().st_mtime_ns == before


def test_equal_runs_are_equal_bytes(run, digits, tmp_path):
    other = score(digits, tmp_path / "other", QUICK, Hardware(executor="processes", workers=2))
    for name in [SCORES_FILE, "spec.json", *(str(member.file) for member in run.manifest.members)]:
        assert (run.path / name).read_bytes() == (other.path / name).read_bytes(), name


def test_extending_keeps_the_members_and_equals_a_run_made_so(digits, tmp_path):
    run = score(digits, tmp_path / "run", QUICK, SERIAL)
    first = (run.path / "trace/member-000.safetensors").stat().st_mtime_ns
    three = Settings(folds=0, members=3, epochs=2, model="linear", recipe="fast-gray")
    with pytest.raises(InputError, match="members 2 there, 3 asked"):
        score(digits, run.path, three, SERIAL)
    grown = score(digits, run.path, three, SERIAL, extend=True)
    assert (run.path / "trace/member-000.safetensors").stat().st_mtime_ns == first
    made = score(digits, tmp_path / "made", three, SERIAL)
    assert (grown.path / SCORES_FILE).read_bytes() == (made.path / SCORES_FILE).read_bytes()


def test_progress_tells_the_price_first_and_then_every_epoch(digits, tmp_path):
    heard: list[Progress] = []
    score(digits, tmp_path / "run", QUICK, SERIAL, listener=heard.append)
    assert heard[0].cost.examples_seen == 4 * len(digits)
    assert math.isnan(heard[0].cost.seconds), "too short to ask about"
    assert [(h.done, h.total) for h in heard[1:]] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_long_work_is_timed_before_it_begins(digits):
    planned = plan(digits, Settings(folds=0, members=2, epochs=1_000_000))
    one, two = (planned.timed_cost(2, "cpu", gain).seconds for gain in (1, 2))
    assert one > 0
    assert two > 0


def test_trainings_share_a_gpu_as_far_as_its_memory_and_the_cores_go(monkeypatch):
    hardware = Hardware()
    for free, cores, workers in ((140, 16, 8), (24, 16, 2), (8, 16, 1), (140, 4, 2), (140, 1, 1)):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device, free=free: (free * 2**30, free * 2**30))
        monkeypatch.setattr("dataprune.workers.default_workers", lambda cores=cores: cores)
        config = hardware.executor_config("cuda")
        assert (config.executor, config.workers) == ("processes", workers)
        assert hardware.gain("cuda", 100) == workers**0.5
    assert hardware.executor_config("mps").executor == "serial"
    assert hardware.gain("cpu", 100) == 1


def test_it_is_timed_on_examples_of_every_class(digits, monkeypatch):
    """A folder is sorted by class; one class alone is learned at once, and its vanishing gradients take twenty times as long."""
    seen = []

    class Seen(Fit):
        def __init__(self, training, inputs, labels, trained_on):
            seen.append(set(labels.tolist()))
            super().__init__(training, inputs, labels, trained_on)

    monkeypatch.setattr("dataprune.training.fit.Fit", Seen)
    by_class = digits.take(np.argsort(digits.labels, kind="stable"))
    plan(by_class, Settings(epochs=1_000_000, batch=16)).timed_cost(1, "cpu", 1)
    assert seen == [set(range(10))]


def test_an_unknown_model_is_refused_before_the_folder_is_claimed(digits, tmp_path):
    with pytest.raises(InputError, match="Did you mean 'resnet18'"):
        score(digits, tmp_path / "run", Settings(model="resnet19"), SERIAL)
    score(digits, tmp_path / "run", QUICK, SERIAL)


def test_zero_is_not_taken_for_the_default(digits, tmp_path):
    for wrong in ("members", "epochs", "batch"):
        with pytest.raises(InputError, match=f"`{wrong}` must be at least 1, got 0"):
            score(digits, tmp_path / "run", Settings(**{wrong: 0}), SERIAL)


def test_the_price_is_written_down(run):
    train = run.manifest.cost[0]
    assert train.examples_seen == 300 * 2 * 2
    # linear: 64·10 multiply-adds forward; a training pass is three forwards, the clean pass one; N examples, E·T passes
    assert train.flops == 2 * 640 * 4 * 300 * 4
    assert train.wall_seconds > 0


def test_another_run_in_the_same_folder_is_refused_with_the_difference(run, digits):
    with pytest.raises(InputError, match="epochs 2 there, 3 asked"):
        score(digits, run.path, Settings(folds=0, members=2, epochs=3, model="linear", recipe="fast-gray"), SERIAL)
    with pytest.raises(InputError, match=r"model linear there, mlp asked.*Choose another folder"):
        score(digits, run.path, Settings(folds=0, members=2, epochs=2, model="mlp", recipe="fast-gray"), SERIAL)
    with pytest.raises(InputError, match=r"data .* there"):
        score(digits.take(np.arange(200)), run.path, QUICK, SERIAL)


def test_a_folder_with_other_things_is_refused(digits, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds thesis\.txt"):
        score(digits, tmp_path, QUICK, SERIAL)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["thesis.txt"]


def test_manifest_holds_no_path_and_scores_no_time(run):
    text = (run.path / "run.json").read_text() + (run.path / "spec.json").read_text()
    assert str(run.path.parent) not in text
    assert os.path.expanduser("~") + "/" not in text  # noqa: PTH111


@pytest.mark.parametrize("name", [SCORES_FILE, "trace/member-001.safetensors", "spec.json"])
def test_one_bit_turned_is_found_and_mended_by_the_same_command(digits, tmp_path, name):
    run = score(digits, tmp_path / "run", QUICK, SERIAL)
    whole = (run.path / name).read_bytes()
    assert verify(run.path) == []
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 4
    (run.path / name).write_bytes(broken)
    assert any(name in fault for fault in verify(run.path))
    if name == SCORES_FILE:
        with pytest.raises(StoreError, match=r"scores\.parquet is damaged"):
            open_run(run.path)
    score(digits, run.path, QUICK, SERIAL)
    assert (run.path / name).read_bytes() == whole
    assert verify(run.path) == []


def test_a_missing_member_is_trained_again(digits, tmp_path):
    run = score(digits, tmp_path / "run", QUICK, SERIAL)
    before = (run.path / SCORES_FILE).read_bytes()
    (run.path / "trace/member-000.safetensors").unlink()
    with pytest.raises(StoreError, match=r"lacks trace/member-000\.safetensors"):
        open_run(run.path)
    again = score(digits, run.path, QUICK, SERIAL)
    assert (again.path / SCORES_FILE).read_bytes() == before


def test_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match="which is not a folder"):
        open_run(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"holds no run\.json"):
        open_run(tmp_path)
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(InputError, match="is not finished"):
        open_run(tmp_path)


def test_a_run_of_a_newer_version_is_refused(digits, tmp_path):
    run = score(digits, tmp_path / "run", QUICK, SERIAL)
    path = run.path / "run.json"
    manifest = json.loads(path.read_text())
    manifest["format"] = 999
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="999"):
        open_run(run.path)


def test_sets_that_cannot_be_scored():
    images = np.zeros((10, 4, 4, 1), np.uint8)
    with pytest.raises(InputError, match="no labels"):
        score(from_arrays(images), "nowhere", QUICK, SERIAL)
    with pytest.raises(InputError, match="at least two classes to be scored, got one"):
        score(from_arrays(images, np.zeros(10, int)), "nowhere", QUICK, SERIAL)


def wild():
    return Recipe("wild", learning_rate=1e20, schedule="constant")


def test_members_that_diverge_feed_no_score(digits, tmp_path):
    settings = Settings(folds=0, members=2, epochs=2, model="mlp", recipe="test_run_score:wild")
    with pytest.raises(WorkError, match=r"no member can be scored: .*diverged"):
        score(digits, tmp_path / "run", settings, SERIAL)


def test_features_are_scored_too(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    features = rng.normal(size=(200, 6)).astype(np.float32) + 3 * np.eye(6, dtype=np.float32)[labels]
    run = score(from_arrays(features, labels), tmp_path / "run", Settings(folds=0, members=2, epochs=8), SERIAL)
    assert run.manifest.spec.model == "linear"
    assert (run.trace.probabilities().argmax(1) == labels).mean() > 0.8


def test_folds_give_out_of_sample_probabilities(digits, tmp_path):
    run = score(digits, tmp_path / "run", Settings(folds=2, epochs=2, model="linear", recipe="fast-gray"), SERIAL)
    assert run.manifest.spec.members == 2
    out = run.trace.probabilities("out")
    seen = run.trace.trained_on
    np.testing.assert_allclose(out[~seen[0]], run.trace.member_probabilities(0)[~seen[0]], atol=1e-6)
    with pytest.raises(InputError, match="folds"):
        score(digits, tmp_path / "other", Settings(folds=2, members=3), SERIAL)


KILLED = """
import tempfile
import numpy as np
from dataprune.data import read
from dataprune.scores import SCORES, score_trace
from dataprune.run.score import score
from dataprune.training.settings import Hardware, Settings
from kill_everywhere import killed_at

data, settings = read("digits").take(np.arange(150)), Settings(folds=0, members=2, epochs=6, model="proxy")

def work(asked):
    executor, number, later, out = asked.split(" ", 3)
    machine = Hardware(executor=executor, workers=2)
    _, events = killed_at(int(number), out, lambda: score(data, out, settings, machine), float(later))
    print(events, file=open(out + "-events", "w"))

with tempfile.TemporaryDirectory() as folder:  # what is imported late is imported now
    score(data.take(np.arange(30)), folder + "/run", settings, Hardware(executor="serial"))
"""


@pytest.mark.long
def test_a_run_killed_at_any_moment_resumes_to_identical_bytes(tmp_path):
    """Right before a file event, drawn from each fifth of them; a little after one, amid a file; while workers are at work."""
    data, settings, draw = (
        read("digits").take(np.arange(150)),
        Settings(folds=0, members=2, epochs=6, model="proxy"),
        random.Random(),
    )
    whole = tmp_path / "whole"

    def is_taken_up(folder):
        score(data, folder, settings, SERIAL)
        for name in [SCORES_FILE, "trace/member-000.safetensors", "trace/member-001.safetensors"]:
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
        assert verify(folder) == []
        assert not list(folder.rglob("*.tmp*")), "temporary files are left"

    with Forks(KILLED) as forks:
        forks.start(f"serial 0 0 {whole}")
        assert forks.status() == 0
        events = int((tmp_path / "whole-events").read_text())
        for fifth in range(5):
            at, later = 1 + int(events * (fifth + draw.random()) / 5), draw.random() * 0.01 if fifth % 2 else 0
            forks.start(f"serial {at} {later} {tmp_path / f'killed-{at}'}")
            assert forks.status() in ({signal.SIGALRM, 0} if later else {signal.SIGKILL})
            is_taken_up(tmp_path / f"killed-{at}")
        folder = tmp_path / "workers"
        forks.start(f"processes 0 0 {folder}")
        while not list(folder.glob("scratch/member-*")) and not forks.has_ended():
            time.sleep(0.01)
        time.sleep(draw.random() * 0.5)
        forks.kill()
        assert forks.status() in {signal.SIGKILL, 0}
        is_taken_up(folder)


def test_two_processes_on_one_run_the_second_says_so(digits, tmp_path):
    folder = tmp_path / "run"
    store.check_writable(folder)
    with store.lock(folder), pytest.raises(InputError, match=f"process {os.getpid()}"):
        score(digits, folder, QUICK, SERIAL)


class TestScoresThatAreAskedFor:
    """Scores that are no column are computed from the run's trace, and read in other ways where that is asked for."""

    def test_by_name_and_by_another_word(self, run):
        for name in ("dyn_unc", "Dyn-Unc"):
            assert np.array_equal(score_named(run, name).values, score_trace(run.trace, ["dyn_unc"])["dyn_unc"].values)
        assert score_named(run, "forgetting").name == "forget_toneva"
        with pytest.raises(InputError, match="Did you mean 'forgetting'"):
            score_named(run, "forgeting")

    def test_read_anew(self, run):
        found = score_named(run, "el2n", until=1)
        assert found.name == "el2n (until epoch 1)"
        np.testing.assert_allclose(found.values, run.trace.channel("el2n")[:, 0].mean(axis=0), rtol=1e-6)
        with pytest.raises(InputError, match="evidence 'out' is not there"):
            score_named(run, "el2n", evidence="out")
        for other in ("median_distance", "scores.csv:mine"):
            with pytest.raises(InputError, match="a score of the trace"):
                score_named(run, other, until=1)

    def test_of_features_that_are_not_there(self, run):
        for name in ("zcore", "km", "simifeat"):
            with pytest.raises(InputError, match=r"scored without features. Add them: .* --features"):
                score_named(run, name)
        with pytest.raises(InputError, match="must be one of"):
            known_score(run, "os:getcwd")  # code is only followed where a person names it
