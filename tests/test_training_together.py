"""Softmax regressions trained together: each as if alone, whichever it is with, also after a stop and where one diverges."""

from dataclasses import replace

import numpy as np
import pytest

from dataprune.data import from_arrays
from dataprune.data.handle import share
from dataprune.errors import WorkError
from dataprune.study import run_trials
from dataprune.study.spec import Sweep
from dataprune.training.fit import Fit, Training
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import PROBE
from dataprune.training.staged import (
    Places,
    StagedJob,
    epochs_of,
    forget_inputs,
    packed,
    stage_of_steps,
    train_staged,
    whole_stage,
    width_of,
)
from study_toys import toy_spec, toy_study

N = 600
RECIPE = replace(PROBE, batch=16)
DRAW = np.random.default_rng(5)
TRUTH = DRAW.integers(0, 3, N)
VECTORS = (DRAW.normal(size=(3, 24))[TRUTH] + 1.5 * DRAW.normal(size=(N, 24))).astype(np.float32)
MIRRORED = VECTORS + 0.3 * DRAW.normal(size=VECTORS.shape).astype(np.float32)
TRAIN = replace(from_arrays(VECTORS, TRUTH), mirrored=MIRRORED)
TEST = from_arrays(VECTORS[:200] + 0.1, TRUTH[:200])
RANK = DRAW.permutation(N)
STAGES = {
    "all": (whole_stage(RANK >= 0, 4, 16),),
    "half": (whole_stage(RANK < 300, 4, 16),),
    "few": (whole_stage(RANK < 64, 4, 16),),
    "equal steps": (stage_of_steps(RANK < 160, 75, 16),),
    "growing": (whole_stage(RANK < 320, 2, 16), whole_stage(RANK >= 0, 2, 16)),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "train").mkdir()
    (folder / "test").mkdir()
    handles = share(TRAIN, folder / "train"), None, packed(RANK < 60), share(TEST, folder / "test")
    yield Places(*handles, "together")
    forget_inputs()


def jobs(places, names, scratch=None, seconds=1e9, recipe=RECIPE):
    asked = []
    for seed, name in enumerate(names):
        stages = tuple((packed(one.trained_on), one.epochs, one.steps) for one in STAGES[name])
        own = None if scratch is None else scratch / name
        asked.append(StagedJob(name, Training("linear", recipe, 4, seed, 3), stages, places, own, seconds))
    return asked


def ended(asked, report=lambda said: None):
    return {one.key: one for one in train_staged(asked, report)}


def test_each_is_what_it_is_alone(places):
    found = ended(jobs(places, STAGES))
    inputs = Inputs(VECTORS, "ball", "cpu", mirrored=MIRRORED)
    test = Inputs(TEST.inputs, "ball", "cpu", like=inputs)
    for seed, (name, stages) in enumerate(STAGES.items()):
        training = Training("linear", RECIPE, 4, seed, 3)
        fit = Fit(training, inputs, TRUTH, np.any([stage.trained_on for stage in stages], axis=0))
        losses = []
        for part in epochs_of(list(stages), training):
            fit.train_epoch(None, part)
            losses.append(fit.loss)
        done = found[name].value
        np.testing.assert_allclose(done.loss, losses, rtol=1e-4)
        right = np.concatenate([logits.numpy() for _, logits, _ in fit.predict(None, test)]).argmax(1) == TEST.labels
        assert (done.test_correct != right).sum() <= 1
        assert done.steps == sum(stage.steps for stage in stages)
        assert done.train_seconds > 0


def same(one, other):
    assert (one.loss, one.validation, one.steps, one.examples_seen) == (
        other.loss,
        other.validation,
        other.steps,
        other.examples_seen,
    )
    np.testing.assert_array_equal(one.test_correct, other.test_correct)


def test_each_comes_out_the_same_whichever_it_is_trained_with(places):
    whole = jobs(places, STAGES)
    together = ended(whole)
    assert {width_of(stages, 16) for stages in STAGES.values()} == {16}
    for lot in ([one] for one in whole):
        same(ended(lot)[lot[0].name].value, together[lot[0].name].value)
    pair = ended(whole[3:0:-1])
    for name in pair:
        same(pair[name].value, together[name].value)


class Killed(BaseException):
    """What a test raises to end a training at once."""


def test_killed_they_go_on_where_each_was(places, tmp_path):
    names = ("half", "growing", "equal steps")
    whole = ended(jobs(places, names))

    def dying(said):
        if said == ("growing", said[1]) and said[1].epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        train_staged(jobs(places, names, tmp_path, 0.0), dying)
    heard = []
    again = ended(jobs(places, names, tmp_path, 0.0), heard.append)
    assert [said.epoch for name, said in heard if name == "growing"] == [3, 4]
    for name in names:
        same(again[name].value, whole[name].value)


def test_one_that_diverges_leaves_the_others_alone(places):
    asked = jobs(places, ("half", "all"))
    wild = replace(asked[0].training, recipe=replace(RECIPE, learning_rate=1e38))
    found = ended([replace(asked[0], training=wild), asked[1]])
    assert isinstance(found["half"].exception, WorkError)
    assert "diverged" in found["half"].error
    same(found["all"].value, ended([asked[1]])["all"].value)


def test_without_momentum_and_with_decay_of_its_own(places):
    for recipe in (replace(RECIPE, momentum=0.0), replace(RECIPE, nesterov=False, weight_decay=0.01, learning_rate=0.5)):
        (done,) = ended(jobs(places, ["half"], recipe=recipe)).values()
        fit = Fit(Training("linear", recipe, 4, 0, 3), Inputs(VECTORS, "ball", "cpu", mirrored=MIRRORED), TRUTH, RANK < 300)
        losses = []
        for _ in range(4):
            fit.train_epoch()
            losses.append(fit.loss)
        np.testing.assert_allclose(done.value.loss, losses, rtol=1e-4)


def test_a_study_finds_the_same_whatever_was_trained_before(tmp_path, monkeypatch):
    sizes, lots = (0.9, 0.7, 0.5), []
    spec = toy_spec(recipe="probe", parts=(Sweep("hardest", sizes),), scores=("el2n",), epochs=4)
    monkeypatch.setattr(run_trials, "MOST_TOGETHER", 4)
    trained = run_trials.staged.train_staged
    monkeypatch.setattr(run_trials.staged, "train_staged", lambda jobs, report: lots.append(len(jobs)) or trained(jobs, report))
    whole = toy_study(tmp_path / "whole", spec)
    assert sum(lots) == 14
    assert set(lots) <= {1, 2, 3, 4}
    assert max(lots) > 1
    few = replace(spec, parts=(Sweep("hardest", sizes[1:2]),))
    toy_study(tmp_path / "grown", few)
    before = len(lots)
    grown = toy_study(tmp_path / "grown", spec)
    assert sum(lots[before:]) == 14 - 6
    for one, other in zip(whole.results, grown.results, strict=True):
        for name in ("trial", "loss", "validation", "test_correct"):
            assert getattr(one, name) == getattr(other, name)
