"""Training through stages: the same as a plain training where there is one stage, resumed mid-stage, counted, judged once."""

from dataclasses import replace

import numpy as np
import pytest

from dataprune.data.handle import share
from dataprune.errors import InputError, WorkError
from dataprune.study.grid import growing, scaled, stages_by
from dataprune.training.fit import Fit, Training
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import Recipe, batches_of
from dataprune.training.staged import (
    Places,
    Stage,
    StagedJob,
    epochs_of,
    examples_of,
    forget_inputs,
    packed,
    stage_of_steps,
    train_staged,
    unpacked,
    whole_stage,
)
from study_toys import vectors

RECIPE = Recipe("toy", optimiser="adamw", learning_rate=0.02, batch=16, crop=0.0, flip=False)
TRAIN, TEST = vectors(100), vectors(40, 1, "e")
HALF = np.arange(100) % 2 == 0
ALL = np.ones(100, bool)
VALIDATION = np.arange(100) % 10 == 1


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "train").mkdir()
    (folder / "test").mkdir()
    yield Places(share(TRAIN, folder / "train"), None, packed(VALIDATION), share(TEST, folder / "test"), "toy")
    forget_inputs()


def job(places, scratch, stages, epochs=4, recipe=RECIPE, checkpoint_seconds=1e9, dynamic=None):
    training = Training("linear", recipe, epochs, 3, 3)
    packs = tuple((packed(one.trained_on), one.epochs, one.steps) for one in stages)
    return StagedJob("trial", training, packs, places, scratch, checkpoint_seconds, dynamic)


def hard_half(losses, epoch, epochs, seed):
    """Keep the half of higher loss, which counts twice; all where nothing is known."""
    return np.ones(len(losses)) if np.isnan(losses).any() else 2.0 * (losses > np.median(losses))


def train(asked, report):
    """Train one alone, hear its messages, and raise what ended it."""
    (ended,) = train_staged([asked], lambda said: report(said[1]))
    if ended.exception is not None:
        raise ended.exception
    return ended.value


def ignore(message):
    """Hear nothing."""


def same(one, other):
    assert one.loss == other.loss
    assert one.validation == other.validation
    assert (one.steps, one.examples_seen) == (other.steps, other.examples_seen)
    np.testing.assert_array_equal(one.test_correct, other.test_correct)


CURRICULUM = (whole_stage(HALF, 2, 16), whole_stage(ALL, 2, 16))


def test_one_whole_stage_is_a_plain_training(places, tmp_path):
    done = train(job(places, tmp_path, [whole_stage(HALF, 4, 16)]), ignore)
    inputs = Inputs(TRAIN.inputs, "own", "cpu")
    fit = Fit(Training("linear", RECIPE, 4, 3, 3), inputs, TRAIN.labels, HALF)
    losses, seen = [], []
    for _ in range(4):
        fit.train_epoch(lambda rows, logits, features: seen.extend(rows.tolist()))
        losses.append(fit.loss)
    assert done.loss == tuple(losses)
    assert done.examples_seen == len(seen) == 200
    assert done.steps == 4 * batches_of(50, 16)
    logits = np.concatenate([one.numpy() for _, one, _ in fit.predict(None, Inputs(TEST.inputs, "own", "cpu", like=inputs))])
    np.testing.assert_array_equal(done.test_correct, logits.argmax(1) == TEST.labels)
    rows = np.flatnonzero(VALIDATION)
    of_validation = np.concatenate([one.numpy() for _, one, _ in fit.predict(rows)]).argmax(1)
    assert done.validation[-1] == (of_validation == TRAIN.labels[rows]).mean()


class Killed(BaseException):
    """What a test raises to end a training at once."""


KILLED = {
    "epochs": (CURRICULUM, None),
    "steps": ((stage_of_steps(HALF, 5, 16), stage_of_steps(ALL, 8, 16)), None),
    "dynamic": ((whole_stage(HALF, 4, 16),), hard_half),
}


@pytest.mark.parametrize(("stages", "dynamic"), KILLED.values(), ids=KILLED)
def test_a_training_killed_after_any_epoch_goes_on_bit_for_bit(places, tmp_path, stages, dynamic):
    whole = train(job(places, tmp_path / "whole", stages, dynamic=dynamic), ignore)
    assert dynamic is None or whole.examples_seen == 50 + 3 * 25
    assert len(whole.loss) == 4
    for last in range(1, 4):
        scratch = tmp_path / f"killed-{last}"

        def dying(message, last=last):
            if message.epoch == last + 1:
                raise Killed

        with pytest.raises(Killed):
            train(job(places, scratch, stages, checkpoint_seconds=0.0, dynamic=dynamic), dying)
        heard = []
        again = train(job(places, scratch, stages, checkpoint_seconds=0.0, dynamic=dynamic), heard.append)
        assert [message.epoch for message in heard] == list(range(last + 1, 5)), "it went on where it was"
        same(again, whole)


def test_a_damaged_or_foreign_checkpoint_is_not_taken_up(places, tmp_path):
    def dying(message):
        if message.epoch == 3:
            raise Killed

    whole = train(job(places, tmp_path / "whole", CURRICULUM), ignore)
    for spoil in ("flip", "foreign"):
        scratch = tmp_path / spoil
        with pytest.raises(Killed):
            train(job(places, scratch, CURRICULUM, checkpoint_seconds=0.0), dying)
        if spoil == "flip":
            (file,) = scratch.glob("epoch-*.safetensors")
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
        asked = job(places, scratch, CURRICULUM, checkpoint_seconds=0.0)
        heard = []
        again = train(asked if spoil == "flip" else replace(asked, name="other"), heard.append)
        assert heard[0].epoch == 1
        same(again, whole)


def test_stages_train_their_own_rows_and_count_them(places):
    training = Training("linear", RECIPE, 4, 3, 3)
    fit = Fit(training, Inputs(TRAIN.inputs, "own", "cpu"), TRAIN.labels, HALF)
    stages = [stage_of_steps(HALF, 4, 16), whole_stage(ALL, 1, 16)]
    seen = []
    for part in epochs_of(stages, training):
        rows = []
        fit.train_epoch(lambda one, logits, features, rows=rows: rows.append(one.tolist()), part)
        seen.append(rows)
    assert [len(rows) for rows in seen] == [3, 1, 6]
    assert sorted(row for rows in seen[0] for row in rows) == np.flatnonzero(HALF).tolist()
    assert all(HALF[row] for rows in seen[1] for row in rows)
    assert len({row for rows in seen[2] for row in rows}) == 100
    assert sum(len(one) for rows in seen[:2] for one in rows) == examples_of(stages[0], 16)
    assert [(part.first_step, part.n_steps) for part in epochs_of(stages, training)] == [(0, 10), (3, 10), (4, 10)]


def test_equal_steps_are_equal_whatever_the_size():
    for part in (0.1, 0.35, 1.0):
        mask = np.arange(100) < part * 100
        (stage,) = stages_by([mask], [4], budget="steps", batch=16, n_all=100)
        assert stage.steps == 4 * batches_of(100, 16)
        (stage,) = stages_by([mask], [4], budget="epochs", batch=16, n_all=100)
        assert stage.epochs == 4


def test_milestones_count_epochs_and_with_steps_their_share():
    training = Training("linear", RECIPE, 4, 3, 3)
    assert [part.epoch for part in epochs_of([whole_stage(HALF, 4, 16)], training)] == [0, 1, 2, 3]
    assert [part.epoch for part in epochs_of([stage_of_steps(HALF, 24, 16)], training)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_schedules_scale_and_drop_what_gets_nothing():
    report = [(10, 0.5), (5, 0.6), (5, 0.7), (5, 0.8), (5, 0.9), (40, 1.0)]
    assert scaled(report, 70) == tuple(report)
    assert sum(length for length, _ in scaled(report, 7)) == 7
    assert scaled(report, 1) == ((1, 1.0),)


def test_growing_masks_are_nested_and_of_the_asked_size():
    order = np.random.default_rng(0).permutation(50)
    masks = growing(order, [0.1, 0.5, 1.0], 60)
    assert [int(mask.sum()) for mask in masks] == [5, 25, 50]
    assert (masks[0] <= masks[1]).all()
    assert masks[1][order[:25]].all()


def test_masks_travel_as_bits():
    mask = np.random.default_rng(0).random(37) < 0.3
    np.testing.assert_array_equal(unpacked(packed(mask), 37), mask)


def test_what_is_refused(places, tmp_path):
    lonely = np.arange(100) == 3
    with pytest.raises(InputError, match="at least 2 examples to train on, got 1"):
        stages_by([lonely], [4], budget="epochs", batch=16, n_all=100)
    with pytest.raises(InputError, match="at least 2 examples"):
        train(job(places, tmp_path, [whole_stage(HALF, 1, 16), Stage(lonely, 1, 1)]), ignore)
    wild = replace(RECIPE, optimiser="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(WorkError, match="diverged"):
        train(job(places, tmp_path, [whole_stage(HALF, 4, 16)], recipe=wild), ignore)
