"""Splits and grids: what is cut, what is kept, what is paired with what."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dataprune.data import Splits
from dataprune.errors import InputError
from dataprune.scores import Score
from dataprune.study.grid import Condition, grid, setup_of
from dataprune.study.spec import Sweep
from dataprune.study.splits import cut, with_noise
from study_toys import toy_spec, toy_splits, vectors

CUT = {"validation_share": 0.1, "test_share": 0.2, "seed": 0}


@pytest.fixture(scope="module")
def data():
    return cut(toy_splits(), **CUT)


def arm(data, name=""):
    draw = np.random.default_rng(0)
    ids = data.train.ids
    scores = {one: Score(one, draw.random(len(ids)).round(1), sign, ids) for one, sign in (("el2n", 1), ("forget", -1))}
    return Condition(name, data, scores, {})


def laid_out(spec, data):
    return grid(spec, [arm(data)], setup_of(spec, data.train)).trials


def masks_of(rows, **cell):
    """Return the first mask of each row whose cell is so."""
    return [row.stages[0].trained_on for row in rows if all(getattr(row.cell, name) == value for name, value in cell.items())]


def test_validation_is_cut_by_class_and_by_id_whatever_the_order(data):
    rows = data.validation_rows
    assert len(rows) == 12
    assert np.bincount(data.train.labels[rows]).tolist() == [4, 4, 4]
    assert len(data.pool) + len(rows) == 120
    mixed = Splits(data.train.take(np.random.default_rng(0).permutation(120)), None, data.test)
    again = cut(mixed, **CUT)
    assert set(again.train.ids[again.validation_rows].tolist()) == set(data.train.ids[rows].tolist())
    assert again.validation_key == data.validation_key
    assert cut(toy_splits(), **{**CUT, "seed": 1}).validation_key != data.validation_key


def test_test_is_cut_before_all_else_where_there_is_none():
    whole = vectors(120)
    found = cut(Splits(whole), **CUT)
    assert len(found.test) == 24
    assert len(found.train) == 96
    assert not set(found.test.ids.tolist()) & set(found.train.ids.tolist())
    assert found.uncut == whole.fingerprint
    assert found.cut_test == 0.2
    assert "no test split: 24 of 120" in found.notes[0]


def test_a_validation_split_of_the_source_is_taken_whole():
    found = cut(toy_splits(validation=True), **CUT)
    assert len(found.pool) == 120
    assert len(found.validation_rows) == 0
    assert found.validation_key == found.validation.fingerprint


def test_shared_examples_and_missing_classes_are_said():
    splits = toy_splits()
    leak = np.concatenate([splits.test.inputs[:-2], splits.train.inputs[:2]])
    test = replace(splits.test, features=leak, known_digest=None)
    assert "2 of the 45 test examples are in train too" in cut(Splits(splits.train, None, test), **CUT).notes[0]
    few = splits.train.take(np.flatnonzero(splits.train.labels < 2))
    assert "test has examples of class '2', train has none" in cut(Splits(few, None, splits.test), **CUT).notes[0]


def test_what_cannot_be_cut_is_refused():
    one = vectors(30)
    with pytest.raises(InputError, match="have no labels"):
        cut(Splits(one.with_labels(None)), **CUT)
    with pytest.raises(InputError, match="`test_share` must leave both"):
        cut(Splits(vectors(4)), **CUT)
    with pytest.raises(InputError, match="at least two classes"):
        cut(Splits(one.take(np.arange(0, 30, 3)), None, vectors(9, 1, "e")), **CUT)


def test_noise_moves_a_share_of_each_class_in_train_and_validation_not_in_test():
    found = cut(toy_splits(validation=True), **CUT)
    noisy = with_noise(found, 0.1, 0)
    moved = noisy.train.labels != found.train.labels
    assert [int(moved[found.train.labels == label].sum()) for label in range(3)] == [4, 4, 4]
    assert (noisy.validation.labels != found.validation.labels).sum() == 3
    assert noisy.test is found.test
    assert noisy.train.fingerprint != found.train.fingerprint


def test_kept_sets_are_of_the_asked_size_nested_and_without_validation(data):
    rows = laid_out(toy_spec("sweep"), data)
    pool = np.zeros(120, bool)
    pool[data.pool] = True
    for name in ("el2n", "forget", "random"):
        masks = masks_of(rows, score=name, **({"strategy": "hardest"} if name != "random" else {}))[:7]
        sizes = [int(mask.sum()) for mask in masks]
        assert sizes == [int(keep * 108 + 0.5) for keep in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)]
        assert all((small <= large).all() for large, small in pairwise(masks))
        assert not any((mask & ~pool).any() for mask in masks)


def test_the_hardest_are_the_hardest_of_the_pool_by_either_sign(data):
    spec = toy_spec("half", parts=(Sweep("hardest", (0.5,)),))
    made = arm(data)
    for row in grid(spec, [made], setup_of(spec, data.train)).trials:
        if row.cell.strategy == "hardest":
            difficulty, kept = made.scores[row.cell.score].difficulty[data.pool], row.stages[0].trained_on[data.pool]
            assert difficulty[kept].min() >= difficulty[~kept].max()


def test_trials_of_one_seed_are_paired_and_only_random_sets_differ_between_seeds(data):
    spec = toy_spec("half", seeds=3)
    rows = laid_out(spec, data)
    by_score = masks_of(rows, score="el2n")
    assert len(by_score) == 3
    assert all(np.array_equal(by_score[0], mask) for mask in by_score)
    at_random = masks_of(rows, score="random")
    assert not np.array_equal(at_random[0], at_random[1])
    assert sorted({row.seed for row in rows}) == [0, 1, 2]
    assert len({row.name for row in rows}) == len(rows)
    everything = masks_of(rows, score="all")
    assert all(mask.sum() == len(data.pool) for mask in everything)


def test_the_same_rows_are_the_same_trial_whoever_asks(data):
    half = {row.name for row in laid_out(toy_spec("half"), data)}
    sweep = {row.name for row in laid_out(toy_spec("sweep"), data)}
    assert half <= sweep
    whole = toy_spec("half", parts=(Sweep("hardest", (1.0,)),))
    assert len({row.name for row in laid_out(whole, data)}) == whole.seeds, "all by a score is all"


def test_every_part_of_a_trial_changes_its_name(data):
    spec = toy_spec("half", seeds=1, scores=("el2n",))
    names = [laid_out(spec, data)[-1].name]
    for changes in ({"seed": 1}, {"epochs": 4}, {"batch": 8}, {"budget": "steps"}, {"model": "mlp"}, {"recipe": "fast-vectors"}):
        names.append(laid_out(replace(spec, **changes), data)[-1].name)
    names.append(laid_out(spec, cut(toy_splits(validation=True), **CUT))[-1].name)
    assert len(set(names)) == len(names)


def test_windows_slide_from_easy_to_hard(data):
    spec = toy_spec("window", scores=("el2n",), seeds=1)
    made = arm(data)
    rows = [row for row in grid(spec, [made], setup_of(spec, data.train)).trials if row.cell.strategy == "window"]
    difficulty = made.scores["el2n"].difficulty
    means = [difficulty[row.stages[0].trained_on].mean() for row in rows]
    assert len(rows) == 16
    assert (np.diff(means) > -1e-9).all()
    assert {row.n_train for row in rows} == {43}


def test_a_curriculum_begins_at_its_end_and_ends_with_all(data):
    spec = toy_spec("curriculum", epochs=14, scores=("el2n",), seeds=1)
    made = arm(data)
    rows = grid(spec, [made], setup_of(spec, data.train)).trials
    assert [(row.cell.strategy, row.cell.order) for row in rows] == [
        ("all", ""),
        ("random", "random order"),
        ("curriculum", "easy-to-hard"),
        ("curriculum", "hard-to-easy"),
    ]
    difficulty = made.scores["el2n"].difficulty
    easy, hard = (row.stages[0].trained_on for row in rows[2:])
    assert difficulty[easy].max() <= difficulty[hard & ~easy].min()
    for row in rows[1:]:
        assert [stage.epochs for stage in row.stages] == [2, 1, 1, 1, 1, 8]
        assert row.stages[0].trained_on.sum() == 54
        assert row.stages[-1].trained_on.sum() == 108
        assert sum(stage.epochs for stage in row.stages) == 14


def test_classes_that_are_lost_are_named_and_balancing_helps(data):
    made = arm(data)
    ordered = Condition("", data, {"el2n": Score("el2n", data.train.labels.astype(float), 1, data.train.ids)}, {})
    spec = toy_spec("half", scores=("el2n",), parts=(Sweep("hardest", (0.3,)),))
    (note,) = grid(spec, [ordered], setup_of(spec, data.train)).notes
    assert "no example is kept of class '0', '1'; --balanced" in note
    assert grid(replace(spec, balanced=True), [ordered], setup_of(spec, data.train)).notes == ()
    assert made.scores


def test_what_is_refused(data):
    with pytest.raises(InputError, match=r"`start` must leave enough to keep.*0.6 \+ 0.5"):
        laid_out(toy_spec("window", parts=(Sweep("window", (0.5,), (0.6,)),)), data)
    with pytest.raises(InputError, match="at least 2 examples"):
        laid_out(toy_spec("half", parts=(Sweep("hardest", (0.001,)),)), data)
    with pytest.raises(InputError, match="`recipe` must be one of"):
        setup_of(toy_spec("half", recipe="fats"), data.train)
