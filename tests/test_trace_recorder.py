"""A recorder stops anywhere and goes on anywhere, with the bits of one that did not."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dataprune.errors import InputError
from dataprune.integrations.clean_pass import CleanPass
from dataprune.trace import Recorder, Trace
from toys import PROBABILITIES, random_logits

LOGITS = np.random.default_rng(0).normal(size=(10, 3))


def same_bits(one, other):
    names = list(one.arrays)
    return names == list(other.arrays) and all(one.arrays[n].tobytes() == other.arrays[n].tobytes() for n in names)


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_resumed_recorder_gives_identical_bits(cut):
    labels, logits = random_logits(members=1)
    features = np.random.default_rng(0).normal(size=(20, 3))
    calls = [
        (rows, logits[0, epoch, rows], epoch, features[rows]) for epoch in range(4) for rows in (np.arange(12), np.arange(12, 20))
    ]
    straight, before, after = (Recorder(labels, 5, 4) for _ in range(3))
    for call in calls:
        straight.update(*call)
    for call in calls[:cut]:
        before.update(*call)
    state = before.state()
    for call in calls[cut:]:  # the state is a copy
        before.update(*call)
    after.restore(state)
    for call in calls[cut:]:
        after.update(*call)
    assert same_bits(after.finish(), straight.finish())


def test_a_resumed_recorder_knows_that_features_came():
    before, after = Recorder(np.zeros(10, np.int64), 3, 2), Recorder(np.zeros(10, np.int64), 3, 2)
    before.update(np.arange(10), LOGITS, 0, LOGITS)
    after.restore(before.state())
    with pytest.raises(InputError, match="`features` must be given in every call or in none"):
        after.update(np.arange(10), LOGITS, 1)


def test_state_of_something_else_is_refused():
    state = Recorder([0, 1], 2, 1).state()
    with pytest.raises(InputError, match=r"`state` must be of the same labels, got other labels. Start the member again."):
        Recorder([1, 1], 2, 1).restore(state)
    with pytest.raises(InputError, match="of at most 1 epochs and of 3 classes, got epoch 0 and 2 classes"):
        Recorder([0, 1], 3, 1).restore(state)


@pytest.mark.parametrize("announced", [None, 5])
def test_whole_epochs_are_enough_wherever_it_stops(announced, caplog):
    labels, logits = random_logits(members=1)
    whole, stopped, restored = Recorder(labels, 5), Recorder(labels, 5, announced), Recorder(labels, 5, announced)
    for epoch in range(3):
        whole.update(np.arange(20), logits[0, epoch], epoch)
        stopped.update(np.arange(20), logits[0, epoch], epoch)
    stopped.update(np.arange(7), logits[0, 3, :7], 3)
    assert stopped.n_recorded == 3
    restored.restore(stopped.state())
    assert same_bits(stopped.finish(), whole.finish())
    assert "7 of 20 rows" in caplog.text
    assert same_bits(restored.finish(), whole.finish())


def test_a_state_passes_through_the_safe_loader_of_torch(tmp_path):
    labels, logits = random_logits(members=1)
    before, after = Recorder(labels, 5), Recorder(labels, 5)
    before.update(np.arange(20), logits[0, 0], 0)
    torch.save(before.state(), tmp_path / "state.pt")
    after.restore(torch.load(tmp_path / "state.pt"))
    assert same_bits(after.finish(), before.finish())


def test_labels_may_be_names_where_their_order_is_known():
    names, labels = ("lily", "aster", "rose"), ["aster", "rose", "lily", "lily"]
    recorder = Recorder(labels, names)
    recorder.update(np.arange(4), np.log(PROBABILITIES[0, 0]), 0)
    trace = Trace([recorder.finish()], labels)
    assert (trace.labels.tolist(), trace.classes) == ([1, 2, 0, 0], names)
    for call in (lambda: Recorder(["tulip"], names), lambda: Trace([recorder.finish()], ["aster", "rose", "lily", "tulip"])):
        with pytest.raises(InputError, match=r"`labels` must be names of the classes \(lily, aster, rose\), got 'tulip' in row"):
            call()
    with pytest.raises(InputError, match="hold different names"):
        Recorder(["a"], ["a", "a"])
    with pytest.raises(InputError, match="Names need `classes`"):
        Recorder(labels, 3)


TWO = np.array([[1.0, 2.0, 0.0], [0.5, 0.1, 3.0]])


@pytest.mark.parametrize("epoch", [0.0, 1.0, "0", None])
def test_an_epoch_that_is_no_whole_number_is_refused_and_leaves_the_recorder_as_it_was(epoch):
    recorder = Recorder([0, 1], 3)
    with pytest.raises(InputError, match=r"`epoch` must be a whole number"):
        recorder.update([0, 1], TWO, epoch)
    assert recorder.n_recorded == 0
    recorder.update([0, 1], TWO, np.int64(0))
    recorder.update([0, 1], TWO, 1)
    assert recorder.finish().info["epochs"] == 2


@pytest.mark.parametrize("n_classes", [3.0, None])
def test_a_number_of_classes_that_is_none(n_classes):
    with pytest.raises(InputError, match="`n_classes` must be a whole number"):
        Recorder([0, 1], n_classes)


def test_numbers_beyond_single_precision_are_refused():
    recorder = Recorder([0, 1], 3)
    for big in (1e39, -1e39):
        with pytest.raises(InputError, match=r"`logits` are .* rows 1,"):
            recorder.update([0, 1], torch.tensor([[1.0, 2.0, 0.0], [big, 0.0, 0.0]], dtype=torch.float64), 0)
    with pytest.raises(InputError, match=r"`features` are .* rows 0,"):
        recorder.update([0, 1], TWO, 0, features=torch.tensor([[1e39, 0.0], [1.0, 1.0]], dtype=torch.float64))
    assert recorder.n_recorded == 0


def test_nothing_trained_on_has_no_accuracy():
    recorder = Recorder([0, 1], 3, trained_on=[False, False])
    recorder.update([0, 1], TWO, 0)
    for ask in (recorder.accuracy, recorder.loss):
        with pytest.raises(InputError, match="`trained_on` must"):
            ask(0)


def test_a_clean_set_in_another_order_is_refused():
    items = torch.utils.data.TensorDataset(torch.arange(4.0)[:, None])
    for loader in (DataLoader(items, 2), DataLoader(items, batch_size=None), items):
        CleanPass(Recorder([0, 1, 0, 1], 2), loader)
    for loader in (DataLoader(items, 2, shuffle=True), DataLoader(items, batch_size=None, shuffle=True)):
        with pytest.raises(InputError, match=r"`clean_set` must .*RandomSampler.*shuffle=False"):
            CleanPass(Recorder([0, 1, 0, 1], 2), loader)
