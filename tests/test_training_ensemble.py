"""Folds, members and their checkpoints: by hand, by properties, and back ends against each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune import store
from dataprune.data import from_arrays
from dataprune.errors import InputError
from dataprune.scores import median_distance
from dataprune.trace import open_member
from dataprune.training import ensemble as ensembles
from dataprune.training.ensemble import Ensemble, MemberJob, assign_folds, train_member, train_members, training_mask
from dataprune.training.features import Built, penultimate
from dataprune.training.recipes import Recipe
from dataprune.training.settings import Settings
from dataprune.workers import ExecutorConfig

RECIPE = Recipe("r", batch=16, rotation=5.0)


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    images = rng.integers(0, 120, (48, 8, 8, 3), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, :, :, label] += 100
    return from_arrays(images, labels)


def small(**changes):
    asked = {"model": "proxy", "recipe": RECIPE, "members": 2, "epochs": 3, "n_classes": 3} | changes
    return Ensemble(**asked)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(2, 6), st.integers(0, 99))
def test_folds_are_even_and_stratified(labels, folds, seed):
    labels = np.array(labels)
    if folds > len(labels):
        with pytest.raises(InputError, match="folds"):
            assign_folds(labels, folds, seed, 0)
        return
    fold = assign_folds(labels, folds, seed, 0)
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in np.unique(labels):
        of_class = np.bincount(fold[labels == label], minlength=folds)
        assert of_class.max() - of_class.min() <= 1


def test_repeats_deal_anew_and_each_example_is_left_out_once_in_each():
    labels = np.arange(40) % 4
    spec = small(folds=4, repeats=2, members=8)
    seen = np.stack([training_mask(spec, labels, member) for member in range(8)])
    assert ((~seen[:4]).sum(0) == 1).all()
    assert ((~seen[4:]).sum(0) == 1).all()
    assert not np.array_equal(seen[:4], seen[4:])
    assert training_mask(small(), labels, 1).all()


def arrays_of(path):
    member = open_member(path)
    return {name: np.array(member.arrays[name]) for name in member.arrays}


def members_of(dataset, spec, scratch, **how):
    scratch.mkdir(exist_ok=True)
    outcomes = list(train_members(dataset, spec, range(spec.members), scratch, **how))
    assert [o.error for o in outcomes] == [None] * spec.members
    return {o.value.member: o.value for o in outcomes}


@pytest.mark.long
def test_processes_give_the_same_bytes_as_serial(dataset, tmp_path):
    spec = small(folds=2, repeats=1)
    heard = []
    serial = members_of(dataset, spec, tmp_path / "a", executor_config=ExecutorConfig("serial"), on_message=heard.append)
    processes = members_of(dataset, spec, tmp_path / "b", executor_config=ExecutorConfig("processes", 2))
    for member in range(2):
        assert serial[member].path.read_bytes() == processes[member].path.read_bytes()
    assert [(m.member, m.epoch) for m in heard] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


def test_a_member_does_not_depend_on_how_many_there_are(dataset, tmp_path):
    two = members_of(dataset, small(members=2), tmp_path / "a", executor_config=ExecutorConfig("serial"))
    three = members_of(dataset, small(members=3), tmp_path / "b", executor_config=ExecutorConfig("serial"))
    assert two[1].path.read_bytes() == three[1].path.read_bytes()
    assert three[1].path.read_bytes() != three[2].path.read_bytes()


class Stopped(Exception):
    pass


@pytest.fixture(autouse=True)
def _always_saved(monkeypatch):
    """Write a checkpoint after every epoch of these tiny trainings."""
    monkeypatch.setattr("dataprune.training.ensemble.CHECKPOINT_SECONDS", 0.0)


@pytest.mark.parametrize("when", ["clean", "online"])
@pytest.mark.parametrize(("stop", "damaged"), [(2, False), (2, True), (3, False)])
def test_an_interrupted_member_goes_on_to_the_same_bytes(dataset, tmp_path, when, stop, damaged):
    spec = small(when=when, folds=2, members=2)
    whole = members_of(dataset, spec, tmp_path / "whole", executor_config=ExecutorConfig("serial"))[0].path.read_bytes()

    from dataprune.data.handle import share

    (tmp_path / "s").mkdir()
    job = MemberJob(spec, 0, share(dataset, tmp_path / "s"), dataset.fingerprint, tmp_path / "s" / "member-000", "cpu")
    heard = []

    def listener(message):
        heard.append(message.epoch)
        if message.epoch == stop:
            raise Stopped

    with pytest.raises(Stopped):
        train_member(job, listener)
    if damaged:  # one bit turned in the checkpoint: found by checksum, the member starts anew
        path = job.scratch / store.read_json(job.scratch / "checkpoint.json")["file"]
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
    again = []
    done = train_member(job, lambda message: again.append(message.epoch))
    assert done.path.read_bytes() == whole
    assert again == [1, 2, 3][0 if damaged else stop :]
    assert done.examples_seen == 24 * 3


@pytest.mark.parametrize("when", ["clean", "online"])
def test_the_first_member_keeps_how_far_its_features_lie_from_the_median(dataset, tmp_path, when):
    done = members_of(dataset, small(members=2, when=when), tmp_path, executor_config=ExecutorConfig("serial"))
    first = open_member(done[0].path)
    looked = penultimate(dataset, first.arrays, Built("proxy", small().recipe.normalise, 3))
    assert np.allclose(first.arrays["median_distance"], median_distance(looked, dataset.labels), rtol=1e-4)
    assert "median_distance" not in open_member(done[1].path).arrays


def test_a_checkpoint_of_another_training_is_not_used(dataset, tmp_path):
    from dataprune.data.handle import share

    shared = share(dataset, tmp_path)
    first = MemberJob(small(epochs=1), 0, shared, dataset.fingerprint, tmp_path / "m", "cpu")
    train_member(first, lambda message: None)
    heard = []
    other = MemberJob(small(epochs=1, seed=1), 0, shared, dataset.fingerprint, tmp_path / "m", "cpu")
    train_member(other, lambda message: heard.append(message.epoch))
    assert heard == [1]


def test_the_trace_holds_what_the_member_said(dataset, tmp_path):
    spec = small(members=1)
    path = members_of(dataset, spec, tmp_path / "a", executor_config=ExecutorConfig("serial"))[0].path
    stored = arrays_of(path)
    from dataprune.training.fit import Fit, Training
    from dataprune.training.inputs import Inputs

    fit = Fit(Training("proxy", RECIPE, 3, 0, 3), Inputs(dataset.images, "own", "cpu"), dataset.labels, np.ones(48, bool))
    fit.restore(stored, {"epoch": 3, "loss": 0.0, "plateau": {"factor": 1.0, "best": None, "bad_epochs": 0}, "strength": None})
    for rows, logits, features in fit.predict():
        p = logits.softmax(1).numpy()
        onehot = np.eye(3)[dataset.labels[rows]]
        np.testing.assert_allclose(stored["el2n"][2, rows], np.linalg.norm(p - onehot, axis=1), atol=1e-6)
        np.testing.assert_allclose(stored["probabilities"][rows], p, atol=1e-3)
        norm = np.sqrt((features.numpy() ** 2).sum(1) + 1)
        np.testing.assert_allclose(stored["grand"][2, rows], np.linalg.norm(p - onehot, axis=1) * norm, rtol=1e-4, atol=1e-5)
    turned = Inputs(np.ascontiguousarray(dataset.images[:, :, ::-1]), "own", "cpu")
    p = np.concatenate([logits.softmax(1).numpy() for _, logits, _ in fit.predict(inputs=turned)])
    np.testing.assert_allclose(stored["mirrored"], p, atol=1e-3)
    assert np.abs(stored["mirrored"] - stored["probabilities"].astype(float)).max() > 0.01


def test_only_who_learned_from_mirror_images_is_asked_about_them(dataset, tmp_path, monkeypatch):
    def keeps(name, **changes):
        done = members_of(dataset, small(members=1, epochs=1, **changes), tmp_path / name, executor_config=ExecutorConfig("serial"))
        return "mirrored" in arrays_of(done[0].path)

    assert keeps("flip")
    assert not keeps("no flip", recipe=Recipe("still", batch=16, flip=False))
    assert not keeps("online", when="online")
    monkeypatch.setattr(ensembles, "FULL_VALUES", 100)
    assert not keeps("large")


def test_a_member_at_chance_is_marked(tmp_path):
    rng = np.random.default_rng(0)
    noise = from_arrays(rng.integers(0, 256, (200, 8, 8, 3), dtype=np.uint8), rng.integers(0, 2, 200))
    spec = small(n_classes=2, members=1, epochs=1, recipe=Recipe("still", learning_rate=1e-9, batch=50))
    done = members_of(noise, spec, tmp_path / "a", executor_config=ExecutorConfig("serial"))[0]
    assert done.status == "at chance"


def test_what_is_refused():
    for wrong, said in (
        ({"members": 10**30}, "`members` must be at most 10,000, got 1000000"),
        ({"folds": 3}, "folds × repeats × rounds = 3, got 2"),
    ):
        with pytest.raises(InputError, match=said):
            small(**wrong)
    for asked, said in (
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"members": 0}, "`members` must be at least 1"),
        ({"repeats": 0}, "`repeats` must be at least 1"),
        ({"rounds": 0}, "`rounds` must be at least 1"),
        ({"folds": 1}, "`folds` must be 0"),
        ({"folds": -1}, "`folds` must be at least 0"),
    ):
        with pytest.raises(InputError, match=said):
            Settings(**asked)


def test_a_member_that_learns_nothing_is_trained_again_at_a_tenth_of_the_rate(dataset, tmp_path, monkeypatch):
    """Interrupted in the second try, it goes on there, to the same bytes."""
    spec = small(members=1, epochs=3, recipe=Recipe("wild", learning_rate=10.0, schedule="constant", momentum=0.0, batch=16))
    done = members_of(dataset, spec, tmp_path / "a", executor_config=ExecutorConfig("serial"))[0]
    assert (done.status, done.rate) == ("ok", 0.1)
    assert done.examples_seen == 2 * 3 * len(dataset)
    calls = []

    def stops(fit, recorder, when, kept):
        calls.append(fit.training.recipe.learning_rate)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return record(fit, recorder, when, kept)

    record = ensembles._record_epoch
    monkeypatch.setattr(ensembles, "_record_epoch", stops)
    with pytest.raises(KeyboardInterrupt):
        members_of(dataset, spec, tmp_path / "b", executor_config=ExecutorConfig("serial"))
    again = members_of(dataset, spec, tmp_path / "b", executor_config=ExecutorConfig("serial"))[0]
    assert calls == [10.0] * 3 + [1.0] * 4
    assert again.path.read_bytes() == done.path.read_bytes()


def test_threshold_samples_are_learned_as_a_class_of_their_own(dataset, tmp_path):
    spec = small(members=1, threshold_samples=True)
    masks = [ensembles.threshold_mask(len(dataset), 3, 0, number) for number in (0, 1)]
    assert [mask.sum() for mask in masks] == [12, 12]  # 48 / (3 + 1), as in Pleiss et al.
    assert not (masks[0] & masks[1]).any()
    done = next(train_members(dataset, spec, [1], tmp_path, executor_config=ExecutorConfig("serial")))
    arrays = arrays_of(done.value.path)
    assert arrays["probabilities"].shape == (48, 4)
    assert arrays["trained_on"].all()
    with pytest.raises(InputError, match="`threshold_samples` must go with --folds 0"):
        small(folds=2, threshold_samples=True)
