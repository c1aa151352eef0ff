"""One training: resuming, pairing, streams, checkpoints of every optimiser, and what it refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.errors import InputError, MachineError, WorkError
from dataprune.training.fit import Fit, Training, forward_flops
from dataprune.training.inputs import Inputs, open_device
from dataprune.training.recipes import Recipe

N = 60


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 3
    images = rng.integers(0, 120, (N, 8, 8, 3), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, :, :, label] += 100
    return images, labels


def make(pictures, recipe=None, subset=None, seed=5, model="proxy", epochs=3):
    images, labels = pictures
    recipe = recipe or Recipe("r", batch=16, rotation=10.0)
    subset = np.ones(N, bool) if subset is None else subset
    return Fit(Training(model, recipe, epochs, seed, 3), Inputs(images, recipe.normalise, "cpu"), labels, subset)


def logits_of(fit):
    return torch.cat([logits for _, logits, _ in fit.predict()]).numpy()


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("sgd", batch=16),
        Recipe("no momentum", momentum=0.0, batch=16),
        Recipe("adam", optimiser="adam", learning_rate=1e-3, batch=16, schedule="plateau", factor=0.5, patience=0),
        Recipe("adamw", optimiser="adamw", learning_rate=1e-3, batch=16, schedule="cosine"),
        Recipe("muon", optimiser="muon", batch=16),
    ],
    ids=lambda recipe: recipe.name,
)
def test_a_restored_training_goes_on_bit_for_bit(pictures, recipe):
    whole = make(pictures, recipe, epochs=4)
    for _ in range(4):
        whole.train_epoch()
    first = make(pictures, recipe, epochs=4)
    first.train_epoch()
    first.train_epoch()
    arrays, info = {k: v.copy() for k, v in first.arrays().items()}, first.info()
    second = make(pictures, recipe, epochs=4)
    second.restore(arrays, info)
    for _ in range(2):
        second.train_epoch()
    assert second.loss == whole.loss
    np.testing.assert_array_equal(logits_of(second), logits_of(whole))


def test_pictures_are_small_at_first_and_never_in_the_last_epoch():
    images = np.random.default_rng(0).integers(0, 256, (N, 32, 36, 3), dtype=np.uint8)
    recipe, labels = Recipe("r", batch=30, small_first=0.9), np.arange(N) % 3

    def fit():
        return Fit(Training("proxy", recipe, 3, 5, 3), Inputs(images, "own", "cpu"), labels, np.ones(N, bool))

    whole, seen = fit(), []
    whole.model.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[2:])))
    for _ in range(3):
        whole.train_epoch()
        last = logits_of(whole)
    assert seen == [(16, 18)] * 3 + [(24, 27)] * 3 + [(32, 36)] * 3, "two steps and a look in each epoch"
    second, third = fit(), fit()
    for _ in range(2):
        second.train_epoch()
    third.restore({k: v.copy() for k, v in second.arrays().items()}, second.info())
    third.train_epoch()
    np.testing.assert_array_equal(logits_of(third), last)
    fourth = fit()
    fourth.restore(third.arrays(), third.info())
    np.testing.assert_array_equal(logits_of(fourth), last)


def test_training_learns_and_is_the_same_twice_whatever_the_global_generator(pictures):
    torch.manual_seed(1)
    one = make(pictures, epochs=10)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    two = make(pictures, epochs=10)
    state = torch.random.get_rng_state()
    for fit in (one, two):
        for _ in range(10):
            fit.train_epoch()
    assert torch.equal(state, torch.random.get_rng_state()), "the global generator was touched"
    np.testing.assert_array_equal(logits_of(one), logits_of(two))
    assert (logits_of(one).argmax(1) == pictures[1]).mean() > 0.8
    other = make(pictures, seed=6)
    assert not np.array_equal(logits_of(other), logits_of(make(pictures)))


def test_a_subset_sees_a_subsequence_with_the_same_augmentation(pictures):
    subset = np.arange(N) % 2 == 0
    recipe = Recipe("r", batch=1_000, rotation=10.0)
    order_of, batch_of = {}, {}
    for name, rows in (("all", np.ones(N, bool)), ("half", subset)):
        fit = make(pictures, recipe, rows)
        gathered = fit.inputs.batch

        def spy(rows, draws=None, name=name, gathered=gathered, **how):
            batch_of[name] = gathered(rows, draws, **how)
            return batch_of[name]

        fit.inputs.batch = spy
        fit.train_epoch(lambda rows, logits, features, name=name: order_of.update({name: rows.numpy().copy()}))
    assert order_of["half"].tolist() == [row for row in order_of["all"].tolist() if subset[row]]
    in_all = np.flatnonzero(subset[order_of["all"]])
    torch.testing.assert_close(batch_of["half"], batch_of["all"][in_all], rtol=0, atol=0)


def test_every_example_is_seen_once_an_epoch_in_batches_of_like_size(pictures):
    fit = make(pictures, Recipe("r", batch=13))
    seen, sizes = [], []

    def note(rows, logits, features):
        seen.extend(rows.tolist())
        sizes.append(len(rows))
        assert logits.shape == (len(rows), 3)
        assert features.shape[0] == len(rows)

    fit.train_epoch(note)
    assert sorted(seen) == list(range(N))
    assert max(sizes) - min(sizes) <= 1


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Dropout(0.5), nn.Linear(16, 3))

    def forward(self, x):
        return self.body(x)


def dropping(shape, n_classes):
    return Dropping()


def test_dropout_draws_from_a_stream_too(pictures):
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        fit = make(pictures, model="test_training_fit:dropping")
        fit.train_epoch()
        runs.append(logits_of(fit))
    np.testing.assert_array_equal(*runs)


def train_three(fit):
    for _ in range(3):
        fit.train_epoch()


def test_a_training_that_diverges_says_so(pictures):
    fit = make(pictures, Recipe("wild", learning_rate=1e20, schedule="constant", batch=16))
    with pytest.raises(WorkError, match=r"diverged in epoch .* lower learning rate"):
        train_three(fit)


def test_normalisation(pictures):
    images, _ = pictures
    own = Inputs(images, "own", "cpu").batch(torch.arange(N))
    torch.testing.assert_close(own.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(own.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)
    half = Inputs(images, "half", "cpu").batch(torch.arange(N))
    torch.testing.assert_close(half, torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1, atol=1e-6, rtol=0)
    none = Inputs(images, "none", "cpu").batch(torch.arange(N))
    torch.testing.assert_close(none, torch.from_numpy(images).permute(0, 3, 1, 2) / 255, atol=1e-6, rtol=0)


def test_constant_columns_of_features_become_zero():
    features = np.stack([np.full(9, 7.0), np.arange(9.0)], 1).astype(np.float32)
    batch = Inputs(features, "own", "cpu").batch(torch.arange(9))
    assert torch.equal(batch[:, 0], torch.zeros(9))
    assert float(batch[:, 1].std(correction=0)) == pytest.approx(1.0, abs=1e-5)


def test_flops_by_hand():
    # 4 → 3 linear: 12 multiply-adds, two operations each
    assert forward_flops("linear", (4,), 3) == 24


def test_what_is_refused(pictures):
    only_one = np.zeros(N, bool)
    only_one[3] = True
    with pytest.raises(InputError, match="at least 2 examples, got 1"):
        make(pictures, subset=only_one)
    with pytest.raises(MachineError, match="--device cpu"):
        open_device("cuda" if not torch.cuda.is_available() else "nowhere")
    with pytest.raises(MachineError, match="'warp' cannot be used"):
        open_device("warp")
